"""Reads any picture of a drawing, a file or in memory, as the networks were trained on it."""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from tune_sketch.data.formats.base import Drawing
from tune_sketch.data.formats.gray import convert_to_gray
from tune_sketch.data.formats.images import open_gray
from tune_sketch.data.formats.registry import read_content
from tune_sketch.data.names import written_name
from tune_sketch.data.pictures import SUFFIXES, left_out_text, list_pictures
from tune_sketch.data.pixels import BadDrawingError, prepare_ink

Picture = str | Path | Image.Image | np.ndarray


def find_pictures(paths: list[Path]) -> list[Path]:
    """The given files, and the pictures in given folders at any depth, as training finds them.

    Files of other kinds in a folder are counted on stderr. Raises ValueError when there are none.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            pictures, left_out = list_pictures(path)
            if left_out:
                print(f"{written_name(str(path))}: {left_out_text(left_out)}", file=sys.stderr)
            if not pictures:
                raise ValueError(f"the folder {path} holds no image ({', '.join(SUFFIXES)})")
            found += pictures
        elif path.is_file():
            found.append(path)
        else:
            raise ValueError(f"there is no file or folder {path}")
    return found


def read_picture(picture: Picture, image_px: int, invert: bool) -> np.ndarray:
    """uint8 [image_px, image_px] of any picture. Raises ValueError with the reason, and with the path of a file."""
    name = f"{picture}: " if isinstance(picture, str | Path) else ""
    try:
        if isinstance(picture, str | Path):
            drawing = Drawing(str(picture), "", "images", str(picture), 0)
            gray = open_gray(read_content(drawing), drawing.path)
        else:
            gray = gray_of(picture if isinstance(picture, Image.Image) else image_of(picture))
        ink = prepare_ink(gray, image_px).ink
        return ink if invert else 255 - ink
    except BadDrawingError as error:
        raise ValueError(f"{name}{error}") from error
    except ModuleNotFoundError as error:
        raise ValueError(f"{name}reading .svg needs {error.name}; install it with: pip install '.[svg]'") from error


def gray_of(picture: Image.Image) -> Image.Image:
    """The same for a picture in memory. Raises BadDrawingError."""
    try:
        return convert_to_gray(picture)
    except OSError as error:  # Pillow reads a file's pixels late
        raise BadDrawingError(f"damaged: {error}") from error


def image_of(array: np.ndarray) -> Image.Image:
    """The picture in an array. Raises BadDrawingError when it is not uint8 [H, W], [H, W, 3] or [H, W, 4]."""
    rule = "an image must be a path, a PIL image or a uint8 array [H, W], [H, W, 3] or [H, W, 4]"
    if not isinstance(array, np.ndarray):
        raise BadDrawingError(f"{rule}, got {type(array).__name__}")
    is_picture = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))
    if array.dtype != np.uint8 or not is_picture or not array.size:
        raise BadDrawingError(f"{rule}, got {array.dtype} {list(array.shape)}")
    return Image.fromarray(np.ascontiguousarray(array))

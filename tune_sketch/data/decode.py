"""Turns one drawing, however it is stored, into a uint8 square; runs in workers too."""

import io
import json
import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from tune_sketch.data.doodles import GENERATOR_VERSION, render_doodle
from tune_sketch.data.pictures import FORMATS, register_heif
from tune_sketch.data.pixels import BadDrawingError, prepare_ink
from tune_sketch.data.sources import Drawing, open_bitmaps
from tune_sketch.data.strokes import render_strokes

MAX_IMAGE_PIXELS = 64_000_000


@dataclass(frozen=True)
class DecodeSettings:
    """Everything besides the drawing that its pixels depend on."""

    image_px: int
    invert: bool
    pen_width_px: float | None
    seed: int


@dataclass(frozen=True)
class Decoded:
    """One drawing as it is trained on, and what its file was like."""

    square: np.ndarray  # uint8 [image_px, image_px]; ink 255 on 0, or 0 on 255 when not inverted
    side_px: int = 0  # the original's longer side, 0 where there is none
    paper: int | None = None  # the original's paper, 0 to 255, None where there is none


def read_bytes(drawing: Drawing) -> bytes:
    """The content of one drawing as it is stored. Raises OSError."""
    if drawing.kind == "doodles":
        return f"{GENERATOR_VERSION}/{drawing.class_name}/{drawing.position}".encode()
    if drawing.kind == "bitmaps":
        row: np.ndarray = _open_bitmaps_once(drawing.path)[drawing.position]
        return row.tobytes()
    with open(drawing.path, "rb") as file:
        if drawing.kind == "images":
            return file.read()
        file.seek(drawing.position)
        return file.readline().rstrip(b"\r\n")


@lru_cache(maxsize=16)
def _open_bitmaps_once(path: str) -> np.ndarray:
    return open_bitmaps(path)


def decode_drawing(drawing: Drawing, settings: DecodeSettings) -> Decoded:
    """The drawing as it is trained on. Raises BadDrawingError."""
    side_px, paper = 0, None
    if drawing.kind == "doodles":
        ink = render_doodle(
            drawing.class_name,
            drawing.position,
            seed=settings.seed,
            image_px=settings.image_px,
            pen_width_px=settings.pen_width_px,
        )
    elif drawing.kind == "strokes":
        points = parse_strokes(read_drawing_bytes(drawing), drawing.class_name)
        ink = render_strokes(points, settings.image_px, settings.pen_width_px)
    else:
        picture = open_gray(drawing)
        prepared = prepare_ink(picture, settings.image_px, may_be_photo=drawing.kind == "images")
        side_px, ink, paper = max(picture.size), prepared.ink, prepared.paper
    return Decoded(ink if settings.invert else 255 - ink, side_px, paper)


def read_drawing_bytes(drawing: Drawing) -> bytes:
    """`read_bytes`, with BadDrawingError for a file that is unreadable or empty."""
    try:
        content = read_bytes(drawing)
    except OSError as error:
        raise BadDrawingError(f"unreadable: {error.strerror or error}") from error
    if not content:
        raise BadDrawingError("zero bytes")
    return content


def open_gray(drawing: Drawing) -> Image.Image:
    """The whole picture in mode L, any size, as `convert_to_gray` makes it. Raises BadDrawingError."""
    content = read_drawing_bytes(drawing)
    if drawing.kind == "bitmaps":
        side = math.isqrt(len(content))
        picture = Image.fromarray(np.frombuffer(content, np.uint8).reshape(side, side))
    elif drawing.path.lower().endswith(".svg"):
        picture = _open_image(_draw_svg(content))
    else:
        picture = _open_image(content)
    return picture


def _open_image(content: bytes) -> Image.Image:
    try:
        heif = ("HEIF",) if content[4:8] == b"ftyp" and register_heif() else ()
        with Image.open(io.BytesIO(content), formats=(*FORMATS, *heif)) as image:
            return convert_to_gray(image)
    except BadDrawingError:
        raise
    except Exception as error:  # Pillow's decoders raise almost anything on damaged bytes
        reason = "not an image" if isinstance(error, UnidentifiedImageError) else f"damaged: {error}"
        raise BadDrawingError(reason) from error


def convert_to_gray(image: Image.Image) -> Image.Image:
    """Any picture upright and in mode L. Raises BadDrawingError for a huge one.

    Transparent paper is white, or black where the ink on it is light.
    """
    if image.width * image.height > MAX_IMAGE_PIXELS:
        raise BadDrawingError(f"too large: {image.width} x {image.height} px, more than {MAX_IMAGE_PIXELS:,}")
    image.load()
    upright = ImageOps.exif_transpose(image)
    if "transparency" in upright.info or upright.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        rgba = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", rgba.size, find_paper(rgba)), rgba)
    if upright.mode.startswith("I"):  # 16 bit grey, which convert would clip
        grey = np.asarray(upright).astype(np.float64)
        return Image.fromarray((grey / 257 if grey.max() > 255 else grey).clip(0, 255).astype(np.uint8))
    return upright.convert("L")


def find_paper(rgba: Image.Image) -> str:
    """The paper to put behind a transparent picture: what its ink can be seen on."""
    pixels = np.asarray(rgba, np.float64)
    coverage = pixels[..., 3] / 255
    if not 0 < coverage.mean() < 0.5:  # mostly opaque: it has paper of its own
        return "white"
    shade = (pixels[..., :3].mean(axis=2) * coverage).sum() / coverage.sum()
    return "white" if shade < 128 else "black"


def _draw_svg(content: bytes) -> bytes:
    """PNG bytes, 1024 px wide so that resampling has enough to average. Linked files are not read."""
    import cairosvg  # needs the extra `svg`; prepare_data has checked that it is installed

    try:
        png: bytes = cairosvg.svg2png(bytestring=content, output_width=1024, background_color="white")
    except Exception as error:  # the errors of an XML parser and of a renderer
        raise BadDrawingError(f"damaged: {error}") from error
    return png


def parse_strokes(content: bytes, class_name: str) -> list[np.ndarray]:
    """Strokes, each float [num_points, 2], of one line of Quick, Draw! (simplified, or raw with times).

    Format: {"word": ..., "drawing": [[[x, ...], [y, ...], [milliseconds, ...]], ...]}. Raises BadDrawingError.
    """
    try:
        values = json.loads(content)
        drawing = values["drawing"]
        points = [np.array(stroke[:2], np.float64).reshape(2, -1).T for stroke in drawing]
    except (ValueError, KeyError, TypeError, IndexError, OverflowError, RecursionError) as error:
        raise BadDrawingError(f"not a Quick, Draw! drawing: {error!r}") from error
    if values.get("word", class_name) != class_name:
        raise BadDrawingError(f"its word is {values['word']!r}, its file is of {class_name!r}")
    if not all(np.isfinite(stroke).all() for stroke in points):
        raise BadDrawingError("not a Quick, Draw! drawing: a coordinate is not finite")
    if not sum(len(stroke) for stroke in points):
        raise BadDrawingError("blank: no point in it")
    return points

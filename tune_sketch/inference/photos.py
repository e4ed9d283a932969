"""Prepares any picture of a drawing for a network: polarity, shadows, transparency, frame."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from scipy import ndimage

from tune_sketch.data.decode import BadDrawingError, convert_to_gray, open_gray, refuse_blank, resample_to_square
from tune_sketch.data.sources import IMAGE_SUFFIXES, Drawing

Picture = str | Path | Image.Image | np.ndarray

CLEAN_DEVIATION = 6  # grey values by which the paper of a clean file may vary
PHOTO_SIDE_PX = 1024  # photos are worked on at this size
MIN_CONTRAST = 12.0  # grey values by which ink must differ from the paper around it
MIN_INK_FRACTION = 3e-4  # of a photo's area: a drawing has more
MARGIN_FRACTION = 0.08  # of free paper around a drawing that was cut out of a photo


def find_pictures(paths: list[Path]) -> list[Path]:
    """The given image files, and those in given folders at any depth. Raises ValueError when there are none."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = (p for p in path.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())
            pictures = sorted(p for p in inside if not p.name.startswith("."))
            if not pictures:
                raise ValueError(f"the folder {path} holds no image ({', '.join(IMAGE_SUFFIXES)})")
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
            gray = open_picture(Path(picture))
        else:
            gray = gray_of(picture if isinstance(picture, Image.Image) else image_of(picture))
        return square_of(gray, image_px, invert)
    except BadDrawingError as error:
        raise ValueError(f"{name}{error}") from error
    except ModuleNotFoundError as error:
        raise ValueError(f"{name}reading .svg needs {error.name}; install it with: pip install '.[svg]'") from error


def open_picture(path: Path) -> Image.Image:
    """The file's picture in mode L. Transparent paper is white, or black where the ink on it is light."""
    if path.suffix.lower() != ".svg":
        try:
            with Image.open(path) as image:
                light = paint_light_ink(image)
                if light is not None:
                    return light
        except (OSError, ValueError, Image.DecompressionBombError):
            pass  # open_gray names the problem
    return open_gray(Drawing(path.name, "", "images", str(path), 0))


def gray_of(picture: Image.Image) -> Image.Image:
    """The same for a picture in memory. Raises BadDrawingError."""
    try:
        light = paint_light_ink(picture)
        if light is not None:
            return light
        gray = convert_to_gray(picture)
    except OSError as error:  # Pillow reads a file's pixels late
        raise BadDrawingError(f"damaged: {error}") from error
    refuse_blank(gray)
    return gray


def image_of(array: np.ndarray) -> Image.Image:
    """The picture in an array. Raises BadDrawingError when it is not uint8 [H, W], [H, W, 3] or [H, W, 4]."""
    rule = "an image must be a path, a PIL image or a uint8 array [H, W], [H, W, 3] or [H, W, 4]"
    if not isinstance(array, np.ndarray):
        raise BadDrawingError(f"{rule}, got {type(array).__name__}")
    is_picture = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))
    if array.dtype != np.uint8 or not is_picture or not array.size:
        raise BadDrawingError(f"{rule}, got {array.dtype} {list(array.shape)}")
    return Image.fromarray(np.ascontiguousarray(array))


def paint_light_ink(picture: Image.Image) -> Image.Image | None:
    """Light ink on transparent paper as light ink on black; None when the ink is dark or the paper opaque."""
    if "A" not in picture.getbands() and "transparency" not in picture.info:
        return None
    upright = ImageOps.exif_transpose(picture).convert("RGBA")
    rgba = np.asarray(upright, np.float64)
    coverage = rgba[..., 3] / 255
    if not 0 < coverage.mean() < 0.5:
        return None
    shade = (rgba[..., :3].mean(axis=2) * coverage).sum() / coverage.sum()
    if shade < 128:
        return None
    return Image.alpha_composite(Image.new("RGBA", upright.size, "black"), upright).convert("L")


def square_of(picture: Image.Image, image_px: int, invert: bool) -> np.ndarray:
    """uint8 [image_px, image_px] from a grey picture: as in training when the paper is clean, else as a photo."""
    grey = np.asarray(picture)
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    paper = float(np.median(border))
    even = np.abs(grey.astype(np.int16) - paper) <= CLEAN_DEVIATION
    if even.mean() > 0.5 and (paper >= 255 - CLEAN_DEVIATION or paper <= CLEAN_DEVIATION):
        square = resample_to_square(picture, image_px)
        ink = square if paper < 128 else 255 - square
    else:
        ink = resample_to_square(Image.fromarray(find_ink(picture)), image_px)
    strongest = int(ink.max())
    if 0 < strongest < 200:  # a faint pencil: as strong as the ink of the training drawings
        ink = np.rint(ink * (255.0 / strongest)).astype(np.uint8)
    return ink if invert else 255 - ink


def find_ink(picture: Image.Image) -> np.ndarray:
    """uint8 [side, side]: the ink of a photo of paper or of a board, 255 on 0, cut out with a margin.

    The paper's shade is estimated locally, which removes shadows and vignettes. Marks no stronger than the paper's
    grain are dropped, and so is a table behind the paper. The ink is dark or light, whichever looks more like a
    drawing. Raises BadDrawingError when nothing is left.
    """
    picture = picture.copy()
    picture.thumbnail((PHOTO_SIDE_PX, PHOTO_SIDE_PX))
    grey = ndimage.gaussian_filter(np.asarray(picture, np.float32), 0.8)  # less grain, lines as they are
    ink, threshold, strokes = max((find_strokes(grey, is_dark) for is_dark in (True, False)), key=rate_likeness)
    if not strokes.any():
        raise BadDrawingError("no drawing found")
    full = max(threshold + 1, float(np.percentile(ink[strokes], 75)))
    ink = np.where(
        ndimage.binary_dilation(strokes, iterations=2), np.clip((ink - threshold / 2) / (full - threshold / 2), 0, 1), 0
    )
    rows, columns = np.flatnonzero(strokes.any(axis=1)), np.flatnonzero(strokes.any(axis=0))
    cut = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    side = round(max(cut.shape) * (1 + 2 * MARGIN_FRACTION)) + 2
    square = np.zeros((side, side), np.float32)
    top, left = (side - cut.shape[0]) // 2, (side - cut.shape[1]) // 2
    square[top : top + cut.shape[0], left : left + cut.shape[1]] = cut
    rounded: np.ndarray = np.rint(255 * square).astype(np.uint8)
    return rounded


def find_strokes(grey: np.ndarray, is_dark: bool) -> tuple[np.ndarray, float, np.ndarray]:
    """Contrast to the paper (float [H, W]), the contrast from which it is ink, the drawing's mask (bool [H, W])."""
    difference = grey - estimate_paper(grey, 75 if is_dark else 25)
    ink = np.maximum(0, -difference if is_dark else difference)
    grain = 1.4826 * float(np.median(np.abs(difference - np.median(difference))))
    threshold = max(MIN_CONTRAST, 4 * grain)
    return ink, threshold, keep_drawing(ink > threshold)


def rate_likeness(found: tuple[np.ndarray, float, np.ndarray]) -> tuple[bool, float]:
    """A sort key, higher if more like a drawing: first by lying inside the picture, then by the amount of ink."""
    ink, _, strokes = found
    num_sides = sum(bool(side.any()) for side in (strokes[0], strokes[-1], strokes[:, 0], strokes[:, -1]))
    return num_sides < 2 and bool(strokes.any()), float(ink[strokes].sum())


def estimate_paper(grey: np.ndarray, percentile: int) -> np.ndarray:
    """The paper's shade at each pixel, float32 like `grey`: a percentile over a sixth of the picture around it.

    75 for dark ink, 25 for light ink. The median would fail where a thick pen covers half.
    """
    small = Image.fromarray(grey.clip(0, 255).astype(np.uint8))
    small.thumbnail((96, 96))
    shades = ndimage.percentile_filter(np.asarray(small, np.float32), percentile, size=17)
    height, width = grey.shape
    smooth = ndimage.gaussian_filter(shades, 2)
    return np.asarray(Image.fromarray(smooth).resize((width, height), Image.Resampling.BICUBIC), np.float32)


def keep_drawing(mask: np.ndarray) -> np.ndarray:
    """The mask without specks and without regions that touch the picture's edge.

    A region that touches two sides is a table, a fold or the paper's end, however large. One that touches one side may
    be a drawing that was cut off: it stays if it is most of the rest.
    """
    labels, num_labels = ndimage.label(mask, structure=np.ones((3, 3)))
    if not num_labels:
        return mask
    sizes = np.bincount(labels.ravel(), minlength=num_labels + 1)
    sizes[0] = 0
    keep = sizes >= max(6, 2e-5 * mask.size, 0.004 * sizes.sum())
    sides = [np.unique(side) for side in (labels[0], labels[-1], labels[:, 0], labels[:, -1])]
    at_edge, num_sides = np.unique(np.concatenate(sides), return_counts=True)
    without_table = keep.copy()
    without_table[at_edge[num_sides > 1]] = False
    if sizes[without_table].sum() >= MIN_INK_FRACTION * mask.size:
        keep = without_table
    inside = keep.copy()
    inside[at_edge] = False
    if sizes[inside].sum() >= 0.2 * sizes[keep].sum():
        keep = inside
    kept: np.ndarray = keep[labels]
    return kept

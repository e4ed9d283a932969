"""Turns any picture of a drawing into the square that a network knows: polarity, shadows, transparency, frame."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from scipy import ndimage

from tune_sketch.data.decode import BadDrawingError, open_gray, resample_to_square
from tune_sketch.data.sources import IMAGE_SUFFIXES, Drawing

CLEAN_DEVIATION = 6  # grey values by which the paper of a clean file may vary
PHOTO_SIDE_PX = 1024  # photos are worked on at this size
LEAST_CONTRAST = 12.0  # grey values by which ink must differ from the paper around it
LEAST_INK = 3e-4  # of a photo's area: a drawing has more
MARGIN_FRACTION = 0.08  # of free paper around a drawing that was cut out of a photo


def find_pictures(paths: list[Path]) -> list[Path]:
    """The image files that are named or lie in named folders, at any depth. Raises ValueError when there are none."""
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


def read_picture(path: Path, image_px: int, invert: bool) -> np.ndarray:
    """uint8 [image_px, image_px] of any image file. Raises ValueError with the path and the reason."""
    try:
        return square_of(open_picture(path), image_px, invert)
    except BadDrawingError as error:
        raise ValueError(f"{path}: {error}") from error
    except ModuleNotFoundError as error:
        raise ValueError(f"{path}: reading .svg needs {error.name}; install it with: pip install '.[svg]'") from error


def open_picture(path: Path) -> Image.Image:
    """The picture in mode L. Transparent paper is white, or black where the ink on it is light."""
    if path.suffix.lower() != ".svg":
        try:
            with Image.open(path) as image:
                if "A" in image.getbands() or "transparency" in image.info:
                    light = paint_light_ink(ImageOps.exif_transpose(image).convert("RGBA"))
                    if light is not None:
                        return light
        except (OSError, ValueError, Image.DecompressionBombError):
            pass  # open_gray says what is wrong with the file
    return open_gray(Drawing(path.name, "", "images", str(path), 0))


def paint_light_ink(picture: Image.Image) -> Image.Image | None:
    """Light ink without paper on black; None when the ink is dark or the picture has paper of its own."""
    rgba = np.asarray(picture, np.float64)
    coverage = rgba[..., 3] / 255
    if not 0 < coverage.mean() < 0.5:
        return None
    shade = (rgba[..., :3].mean(axis=2) * coverage).sum() / coverage.sum()
    if shade < 128:
        return None
    return Image.alpha_composite(Image.new("RGBA", picture.size, "black"), picture).convert("L")


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

    The paper is what most of the surroundings look like, so that shadows and vignettes go; what is no stronger than
    its grain is dropped, and so is a table behind the paper; the ink is dark or light, whichever looks more like a
    drawing. Raises BadDrawingError when nothing is left.
    """
    picture = picture.copy()
    picture.thumbnail((PHOTO_SIDE_PX, PHOTO_SIDE_PX))
    grey = ndimage.gaussian_filter(np.asarray(picture, np.float32), 0.8)  # less grain, lines as they are
    ink, least, strokes = max((find_strokes(grey, is_dark) for is_dark in (True, False)), key=likeness)
    if not strokes.any():
        raise BadDrawingError("no drawing is to be seen on it")
    full = max(least + 1, float(np.percentile(ink[strokes], 75)))
    ink = np.where(
        ndimage.binary_dilation(strokes, iterations=2), np.clip((ink - least / 2) / (full - least / 2), 0, 1), 0
    )
    rows, columns = np.flatnonzero(strokes.any(axis=1)), np.flatnonzero(strokes.any(axis=0))
    cut = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    side = round(max(cut.shape) * (1 + 2 * MARGIN_FRACTION)) + 2
    square = np.zeros((side, side), np.float32)
    top, left = (side - cut.shape[0]) // 2, (side - cut.shape[1]) // 2
    square[top : top + cut.shape[0], left : left + cut.shape[1]] = cut
    return np.rint(255 * square).astype(np.uint8)


def find_strokes(grey: np.ndarray, is_dark: bool) -> tuple[np.ndarray, float, np.ndarray]:
    """(float [H, W] how much darker or lighter than the paper, the least that is ink, bool [H, W] the drawing)."""
    difference = grey - estimate_paper(grey, 75 if is_dark else 25)
    ink = np.maximum(0, -difference if is_dark else difference)
    grain = 1.4826 * float(np.median(np.abs(difference - np.median(difference))))
    least = max(LEAST_CONTRAST, 4 * grain)
    return ink, least, keep_drawing(ink > least)


def likeness(found: tuple[np.ndarray, float, np.ndarray]) -> tuple[bool, float]:
    """How much like a drawing what was found is: within the picture rather than across it, then with much ink."""
    ink, _, strokes = found
    num_sides = sum(bool(side.any()) for side in (strokes[0], strokes[-1], strokes[:, 0], strokes[:, -1]))
    return num_sides < 2 and bool(strokes.any()), float(ink[strokes].sum())


def estimate_paper(grey: np.ndarray, percentile: int) -> np.ndarray:
    """float32 like `grey`: the paper's shade at each place, the percentile of the surroundings, a sixth of the picture.

    Not the median, because a thick pen may cover half: 75 where ink is dark, 25 where it is light.
    """
    small = Image.fromarray(grey.clip(0, 255).astype(np.uint8))
    small.thumbnail((96, 96))
    shades = ndimage.percentile_filter(np.asarray(small, np.float32), percentile, size=17)
    height, width = grey.shape
    smooth = ndimage.gaussian_filter(shades, 2)
    return np.asarray(Image.fromarray(smooth).resize((width, height), Image.Resampling.BICUBIC), np.float32)


def keep_drawing(mask: np.ndarray) -> np.ndarray:
    """The mask without specks, and without what touches the picture's edge.

    What touches two sides of the picture is a table, a fold or the paper's end, however large. What touches one may be
    a drawing that was cut off, and stays when it is most of the rest.
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
    if sizes[without_table].sum() >= LEAST_INK * mask.size:
        keep = without_table
    inside = keep.copy()
    inside[at_edge] = False
    if sizes[inside].sum() >= 0.2 * sizes[keep].sum():
        keep = inside
    return keep[labels]

"""Prepares a grey picture of a drawing for a network, in one way for training, prediction and the Python API."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

CLEAN_DEVIATION = 6  # grey values by which the paper of a clean file may vary
CLEAN_BORDER_FRACTION = 0.9  # of the outermost pixels of a clean file are paper
PHOTO_SIDE_PX = 1024  # photos are worked on at this size
MIN_CONTRAST = 12.0  # grey values by which ink must differ from the paper around it
MIN_INK_FRACTION = 3e-4  # of a photo's area: a drawing has more
MARGIN_FRACTION = 0.08  # of free paper around a drawing that was cut out of a photo
FAINT_INK = 200  # of 255; ink whose strongest pixel is weaker is made as strong as that of other drawings
NUM_SAMPLED = 500  # drawings of which lines are measured
BLANK_RANGE = 16  # a picture with a smaller range of grey values shows nothing


class BadDrawingError(ValueError):
    """This drawing cannot be used; the message is the reason."""


@dataclass(frozen=True)
class Prepared:
    """A drawing as networks see it."""

    ink: np.ndarray  # uint8 [image_px, image_px], 255 where the pen was, 0 on paper
    paper: int  # grey value of the paper before, 0 to 255


def prepare_ink(picture: Image.Image, image_px: int, *, may_be_photo: bool = True) -> Prepared:
    """The ink of a picture in mode L, whatever its polarity, paper and pencil. Raises BadDrawingError.

    A picture on even paper is resampled as it is framed, dark ink or light, decided for each drawing by itself. Of a
    photo in uneven light the drawing is cut out. Paper becomes 0, and faint ink as strong as other ink.
    """
    refuse_blank(picture)
    grey = np.asarray(picture)
    if may_be_photo and not is_clean(grey):
        paper = measure_border(picture)
        ink = resample_to_square(Image.fromarray(find_ink(picture)), image_px, 0)
    else:
        paper = find_clean_paper(grey)
        ink = resample_to_square(Image.fromarray(lift_ink(grey, round(paper))), image_px, 0)
    return Prepared(ink, round(paper))


def lift_ink(grey: np.ndarray, paper: int) -> np.ndarray:
    """uint8 [H, W]: the ink on even paper, from 0 on the paper to 255. Of grey paper the grain is left behind."""
    if paper in (0, 255):  # most drawings by far
        ink = grey if paper == 0 else 255 - grey
    else:
        ink = np.maximum(0, paper - grey.astype(np.int16) if paper >= 128 else grey.astype(np.int16) - paper)
    if CLEAN_DEVIATION < paper < 255 - CLEAN_DEVIATION:
        ink[ink <= 2 * CLEAN_DEVIATION] = 0
    strongest = int(ink.max())
    if 0 < strongest < FAINT_INK:
        ink = np.rint(ink * (255.0 / strongest))
    return ink.astype(np.uint8)


def is_clean(grey: np.ndarray) -> bool:
    """Whether the paper is even, as a program draws it or a scanner sees it: no photo in uneven light."""
    border = ring_of(grey, 0).astype(np.int16)
    is_extreme = (border <= CLEAN_DEVIATION) | (border >= 255 - CLEAN_DEVIATION)
    if is_extreme.mean() >= CLEAN_BORDER_FRACTION:  # a drawing may touch the edge, or be framed
        return True
    paper = float(np.median(border))
    is_white_or_black = not CLEAN_DEVIATION < paper < 255 - CLEAN_DEVIATION
    border_is_even = (np.abs(border - paper) <= CLEAN_DEVIATION).mean() >= CLEAN_BORDER_FRACTION
    is_even = (np.abs(grey.astype(np.int16) - paper) <= CLEAN_DEVIATION).mean() > 0.5
    return bool(is_even and (is_white_or_black or border_is_even))


def find_clean_paper(grey: np.ndarray) -> float:
    """The shade of the paper of a clean picture: that of its border, unless the border is a frame that was drawn."""
    paper = float(np.median(ring_of(grey, 0)))
    inside = float(np.median(ring_of(grey, max(2, min(grey.shape) // 12))))
    is_light = grey >= 255 - CLEAN_DEVIATION
    if paper < 128 and inside >= 255 - CLEAN_DEVIATION and is_light.mean() > 0.5:
        return inside
    return paper


def ring_of(grey: np.ndarray, inset_px: int) -> np.ndarray:
    """The pixels along the picture's edge, or along a smaller frame inside it."""
    height, width = grey.shape
    inset_px = min(inset_px, (min(height, width) - 1) // 2)
    cut = grey[inset_px : height - inset_px, inset_px : width - inset_px]
    return np.concatenate([cut[0], cut[-1], cut[:, 0], cut[:, -1]])


def refuse_blank(picture: Image.Image) -> None:
    """Raises BadDrawingError for a picture in mode L that shows nothing."""
    low, high = picture.getextrema()
    if high - low < BLANK_RANGE:  # type: ignore[operator]
        raise BadDrawingError("blank: one shade only")


def resample_to_square(picture: Image.Image, image_px: int, paper: int | None = None) -> np.ndarray:
    """uint8 [image_px, image_px]: anti-aliased, proportions kept, centred, padded with the picture's own paper.

    paper: its grey value; None takes that of the border.
    """
    scale = image_px / max(picture.size)
    width, height = (max(1, round(side * scale)) for side in picture.size)
    if (width, height) != picture.size:
        # Filters with negative lobes overshoot on thin lines and are clipped: Lanczos adds a fifth to the ink of a 5 px
        # line from 1111 to 64 px and rings beside it. Hamming has none, and is sharper than bilinear.
        how = Image.Resampling.HAMMING if scale < 1 else Image.Resampling.BICUBIC
        picture = picture.resize((width, height), how, reducing_gap=3.0)
    if width == height:
        return np.asarray(picture)
    paper = round(measure_border(picture)) if paper is None else paper
    square = np.full((image_px, image_px), paper, np.uint8)
    top, left = (image_px - height) // 2, (image_px - width) // 2
    square[top : top + height, left : left + width] = np.asarray(picture)
    return square


def measure_border(picture: Image.Image) -> float:
    """Median grey value of the outermost pixels: the paper."""
    return float(np.median(ring_of(np.asarray(picture), 0)))


def find_ink(picture: Image.Image) -> np.ndarray:
    """uint8 [side, side]: the ink of a photo of paper or of a board, 255 on 0, cut out with a margin.

    The paper's shade is estimated locally, which removes shadows and vignettes. Marks no stronger than the paper's
    grain are dropped, and so is a table behind the paper. The ink is dark or light, whichever looks more like a
    drawing. Raises BadDrawingError when nothing is left.
    """
    from scipy import ndimage  # 0.3 s, which only photos should pay

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
    from scipy import ndimage  # see find_ink

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
    from scipy import ndimage  # see find_ink

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


def measure_lines(images: np.ndarray, rows: np.ndarray, invert: bool) -> dict[str, float | list[float]]:
    """How drawings, some rows of uint8 [N, H, W], were drawn, by a part of them, so that others can be drawn alike.

    pen_width_fraction, extent_fraction: medians of `measure_pen` and of `measure_extent`, over the picture's side;
    extent_range: quartiles of the latter; ink_strength: median of `measure_strength`.
    """
    sample = images[np.sort(rows)[:: max(1, len(rows) // NUM_SAMPLED)]]
    inks = sample if invert else 255 - sample
    smaller, middle, larger = np.quantile([measure_extent(ink) for ink in inks], (0.25, 0.5, 0.75))
    return {
        "pen_width_fraction": round(float(np.median([measure_pen(ink) for ink in inks])) / images.shape[1], 5),
        "extent_fraction": round(float(middle), 4),
        "extent_range": [round(float(smaller), 4), round(float(larger), 4)],
        "ink_strength": round(float(np.median([measure_strength(ink) for ink in inks])), 4),
    }


def measure_pen(ink: np.ndarray) -> float:
    """The mean width of the lines in px: twice their area over the length of their outline.

    ink: uint8 [H, W]. The outline's length is the total variation of the coverage, so soft edges count as they should.
    """
    coverage = np.pad(ink.astype(np.float64) / 255, 1)
    down, right = np.diff(coverage, axis=0)[:, :-1], np.diff(coverage, axis=1)[:-1]
    outline = float(np.hypot(down, right).sum())
    return float(2 * coverage.sum() / outline) if outline else 0.0


def measure_strength(ink: np.ndarray) -> float:
    """How dark the lines are, from 0 to 1: the mean coverage of a bit of ink. Lines thinner than a pixel are pale."""
    coverage = ink.astype(np.float64) / 255
    total = float(coverage.sum())
    return float((coverage**2).sum()) / total if total else 0.0


def measure_extent(ink: np.ndarray) -> float:
    """The longer side of the drawing over that of the picture; 0 for an empty one."""
    extent = find_extent(ink)
    return 0.0 if extent is None else float(max(ink[extent].shape) / max(ink.shape))


def find_extent(ink: np.ndarray) -> tuple[slice, slice] | None:
    """The rows and columns of the smallest frame that holds the drawing; None for an empty picture."""
    is_ink = ink > 64
    rows, columns = np.flatnonzero(is_ink.any(axis=1)), np.flatnonzero(is_ink.any(axis=0))
    if not len(rows):
        return None
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)

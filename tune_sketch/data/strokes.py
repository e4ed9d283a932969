"""Turns strokes (polylines) into an anti-aliased picture of any size and pen width."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Bound the memory of one pass: distances computed at once (float32, a handful of such arrays), and parts of segments.
_MAX_DISTANCES = 1 << 20
_MAX_PARTS = 1 << 16
_SMALLEST_EXTENT, _ENLARGEMENT = 1e-290, 2.0**200  # of a drawing, in its own unit


def default_pen_width_px(image_px: int) -> float:
    """Pen width in px used when none is given: 1/40 of the side, at least 1.5 px so that it stays visible."""
    return max(1.5, image_px / 40)


def render_strokes(
    strokes: Sequence[ArrayLike],
    image_px: int,
    pen_width_px: float | None = None,
    margin: float = 0.05,
    fit_to_box: bool = True,
    box: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0),
) -> NDArray[np.uint8]:
    """Draw strokes with a round pen.

    strokes: polylines, each [num_points, 2] of x (right) and y (down) in any unit; further columns, such as
        time, are ignored. One point is a dot; a stroke without points is nothing.
    image_px: side of the picture in px.
    pen_width_px: None means `default_pen_width_px(image_px)`. Pens thinner than 1 px give paler lines.
    fit_to_box: True scales the ink (aspect ratio kept) and centres it, so that it fills the picture up to
        `margin`, a fraction of the side left free on each side. False maps `box` (x_min, y_min, x_max, y_max)
        onto the picture instead and clips the ink outside of it; `margin` then does not count.

    Returns uint8 [image_px, image_px], ink 255 on 0; a pixel's value is the share of it that the pen covers,
    by the distance of its centre to the nearest segment. Raises ValueError for wrong shapes, numbers that are
    not finite and sizes that are not positive.
    """
    if image_px < 1:
        raise ValueError(f"image_px must be at least 1, got {image_px}")
    pen_px = default_pen_width_px(image_px) if pen_width_px is None else float(pen_width_px)
    if not (math.isfinite(pen_px) and pen_px > 0):
        raise ValueError(f"pen_width_px must be a positive number, got {pen_width_px}")
    if not 0 <= margin < 0.5:
        raise ValueError(f"margin must be in [0, 0.5), got {margin}")
    points, is_break = _join_strokes(strokes)
    if not len(points):
        return np.zeros((image_px, image_px), np.uint8)
    if fit_to_box:
        points = _fit_points(points, image_px, pen_px, margin)
    else:
        x_min, y_min, x_max, y_max = box
        if not (x_max > x_min and y_max > y_min):
            raise ValueError(f"box must be (x_min, y_min, x_max, y_max) with a positive area, got {box}")
        points = (points - (x_min, y_min)) * (image_px / (x_max - x_min), image_px / (y_max - y_min))
    distances = np.full((image_px, image_px), pen_px / 2 + 0.5, np.float32)
    for starts, ends in _cut_segments(points, is_break, longest_px=pen_px + 2):
        np.minimum(distances, _measure_distances(starts, ends, image_px, pen_px / 2 + 0.5), out=distances)
    coverage = np.clip(pen_px / 2 + 0.5 - distances, 0, min(1.0, pen_px))
    ink: NDArray[np.uint8] = np.rint(coverage * 255).astype(np.uint8)
    return ink


def _join_strokes(strokes: Sequence[ArrayLike]) -> tuple[np.ndarray, np.ndarray]:
    """All points in one float64 array [num_points, 2], and bool [num_points]: the stroke ends here."""
    arrays = []
    for number, stroke in enumerate(strokes):
        points = np.asarray(stroke, dtype=np.float64)
        if points.size == 0:
            continue
        if points.ndim != 2 or points.shape[1] < 2:
            raise ValueError(f"stroke {number} must have shape [num_points, 2], got {list(points.shape)}")
        arrays.append(points[:, :2])
    if not arrays:
        return np.zeros((0, 2)), np.zeros(0, bool)
    joined = np.concatenate(arrays)
    if not np.isfinite(joined).all():
        raise ValueError("strokes must hold finite numbers, got NaN or infinity")
    is_break = np.zeros(len(joined), bool)
    is_break[np.cumsum([len(points) for points in arrays]) - 1] = True
    return joined, is_break


def _fit_points(points: np.ndarray, image_px: int, pen_px: float, margin: float) -> np.ndarray:
    low, high = points.min(axis=0), points.max(axis=0)
    # The pen's own half width must stay inside too; a pen wider than the picture still draws one dot.
    room_px = max(image_px * (1 - 2 * margin) - pen_px, 0.0)
    extent = float((high - low).max())
    if 0 < extent < _SMALLEST_EXTENT:  # its inverse would be infinite; a power of two changes no digit
        return _fit_points(points * _ENLARGEMENT, image_px, pen_px, margin)
    scale = room_px / extent if extent > 0 else 0.0
    fitted: np.ndarray = (points - (low + high) / 2) * scale + image_px / 2
    return fitted


def _cut_segments(
    points: np.ndarray, is_break: np.ndarray, longest_px: float
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Segments (starts, ends), none longer than longest_px, so that each one's window of pixels is small.

    A stroke of one point becomes one segment without length. They come in batches, each of bounded size.
    """
    is_start = np.empty_like(is_break)
    is_start[0], is_start[1:] = True, is_break[:-1]
    dots = np.flatnonzero(is_start & is_break)
    lines = np.flatnonzero(~is_break)
    starts = np.concatenate([points[lines], points[dots]])
    ends = np.concatenate([points[lines + 1], points[dots]])
    steps = ends - starts
    num_parts = np.ceil(np.hypot(steps[:, 0], steps[:, 1]) / longest_px).astype(np.int64).clip(min=1)
    batches = (np.cumsum(num_parts) - 1) // _MAX_PARTS
    for batch in np.split(np.arange(len(starts)), np.flatnonzero(np.diff(batches)) + 1):
        if num_parts[batch].max() == 1:
            yield starts[batch], ends[batch]
            continue
        part_of = np.repeat(batch, num_parts[batch])
        part_number = np.arange(len(part_of)) - np.repeat(
            np.cumsum(num_parts[batch]) - num_parts[batch], num_parts[batch]
        )
        part_steps = steps[part_of] / num_parts[part_of, None]
        part_starts = starts[part_of] + part_steps * part_number[:, None]
        yield part_starts, part_starts + part_steps


def _measure_distances(starts: np.ndarray, ends: np.ndarray, image_px: int, reach_px: float) -> np.ndarray:
    """Distances of the pixels' centres to the nearest segment (at most reach_px), [image_px, image_px]."""
    corner = np.floor(np.minimum(starts, ends) - reach_px)
    window_px = int(np.ceil((np.maximum(starts, ends) + reach_px - corner).max())) + 1
    # A border as wide as the window takes the ink outside of the picture, so that no index needs a test.
    side_px = image_px + 2 * window_px
    seen = ((corner > -window_px) & (corner < image_px)).all(axis=1)
    starts, ends, corner = starts[seen], ends[seen], corner[seen]
    distances = np.full(side_px * side_px, reach_px * reach_px, np.float32)
    offsets = np.arange(window_px)
    chunk = max(1, _MAX_DISTANCES // window_px**2)
    for first in range(0, len(starts), chunk):
        part = slice(first, first + chunk)
        origin = corner[part]
        start = (starts[part] - origin - 0.5).astype(np.float32)
        step = (ends[part] - starts[part]).astype(np.float32)
        x = offsets.astype(np.float32) - start[:, :1]  # [num_segments, window_px]
        y = offsets.astype(np.float32) - start[:, 1:]
        square = np.maximum((step * step).sum(axis=1, keepdims=True), np.float32(1e-12))
        # Position of the nearest point along each segment, 0 at its start and 1 at its end.
        along = (y * (step[:, 1:] / square))[:, :, None] + (x * (step[:, :1] / square))[:, None, :]
        np.clip(along, 0, 1, out=along)
        across = x[:, None, :] - along * step[:, :1, None]
        np.multiply(along, step[:, 1:, None], out=along)
        np.subtract(y[:, :, None], along, out=along)
        across *= across
        along *= along
        across += along
        index = origin.astype(np.int64) + window_px
        flat = (index[:, 1:] + offsets)[:, :, None] * side_px + (index[:, :1] + offsets)[:, None, :]
        np.minimum.at(distances, flat.ravel(), across.ravel())
    inside = distances.reshape(side_px, side_px)[window_px:-window_px, window_px:-window_px]
    return np.sqrt(inside)

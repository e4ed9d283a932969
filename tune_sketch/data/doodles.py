"""Generates free-hand drawings of everyday things, as strokes and as pictures of any size.

They are synthetic: nobody drew them. How hard they are, one seed each, 41 categories (chance 0.024); the
network has four 3x3 convolutions (16-32-64-128, batch norm), AdamW, mirroring and shifts; the linear classifier is
scikit-learn's logistic regression on pixels (the better one of C = 0.001 and 0.01):

    px   training drawings   test drawings   epochs   network top-1   linear top-1
    48   60 per category     20 (n = 820)    24       0.794           0.113
    32   160 per category    40 (n = 1640)   16       0.810           0.134

Speed at 64 px: 611 to 663 drawings per second on one core of an AMD EPYC (numpy 2.4, one thread).
"""

import math
import zlib
from collections.abc import Callable

import numpy as np

from tune_sketch.data.doodle_animals import ANIMALS
from tune_sketch.data.doodle_household import HOUSEHOLD
from tune_sketch.data.doodle_nature import NATURE
from tune_sketch.data.doodle_vehicles import VEHICLES
from tune_sketch.data.strokes import default_pen_width_px, render_strokes

# Part of the fingerprint of decoded doodles: give it another value when any drawing changes (tests/data/test_doodles.py
# notices). This value is the SHA-256 of the sources that first drew them.
GENERATOR_VERSION = "04b1eb373e0a06bf79bed33b387af3659e50fa735045864099f11e37aeb76ae6"

# Each function returns the clean strokes of one variant in about [-1, 1]; `draw_doodle` adds the human hand.
CATEGORIES: dict[str, Callable[[np.random.Generator], list[np.ndarray]]] = dict(
    sorted({**ANIMALS, **HOUSEHOLD, **NATURE, **VEHICLES}.items())
)

# Strength of the variation; tuned so that pixels alone do not tell the category (see the module's docstring).
_DROP_CHANCE = 0.08  # a stroke is missing (never one of the first two)
_SHORTEN_CHANCE = 0.1  # a stroke ends before its time
_DOUBLE_CHANCE = 0.08  # a stroke is drawn twice
_OVERSHOOT_CHANCE = 0.35  # a stroke goes on beyond its end
_POINT_SPACING = 0.07
_KNOT_SPACING = 0.22  # of the wobble, along the stroke


def draw_doodle(category: str, index: int, seed: int) -> list[np.ndarray]:
    """Strokes, each float64 [num_points, 2], of drawing `index` of a category; the paper is [0, 1] x [0, 1], y down.

    The drawing depends on (seed, category, index) alone, not on how many others are drawn. Raises ValueError for an
    unknown category.
    """
    return _draw(category, index, seed)[0]


def render_doodle(
    category: str, index: int, *, seed: int, image_px: int, pen_width_px: float | None = None
) -> np.ndarray:
    """Drawing `index` of a category as uint8 [image_px, image_px], ink 255 on 0; the same drawing at every size.

    pen_width_px None gives each drawing a pen of its own, 0.6 to 1.7 times the default width. Raises ValueError for
    an unknown category and sizes that are not positive.
    """
    strokes, pen_factor = _draw(category, index, seed)
    pen_px = default_pen_width_px(image_px) * pen_factor if pen_width_px is None else pen_width_px
    return render_strokes(strokes, image_px, pen_px, fit_to_box=False)


def _draw(category: str, index: int, seed: int) -> tuple[list[np.ndarray], float]:
    """Strokes on the paper, and the width of the pen relative to the default."""
    if category not in CATEGORIES:
        raise ValueError(f"unknown doodle category {category!r}; known: {', '.join(CATEGORIES)}")
    rng = np.random.default_rng([seed, zlib.crc32(category.encode()), index])
    pen_factor = math.exp(rng.uniform(math.log(0.6), math.log(1.7)))
    clumsiness = rng.uniform(0.55, 1.9)
    points, num_points = _draw_by_hand(CATEGORIES[category](rng), clumsiness, rng)
    points = _place_on_paper(points, clumsiness, rng)
    ends = np.cumsum(num_points).tolist()
    return [points[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)], pen_factor


def _draw_by_hand(
    strokes: list[np.ndarray], clumsiness: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Strokes as a hand draws them: missing, doubled, cut short, too long, misplaced, wobbling.

    Returns the points of all strokes [num_points, 2], and how many each stroke has [num_strokes].
    """
    chances = rng.random((len(strokes), 2))
    drawn = [stroke for number, stroke in enumerate(strokes) if number < 2 or chances[number, 0] >= _DROP_CHANCE]
    drawn += [stroke for number, stroke in enumerate(strokes) if chances[number, 1] < _DOUBLE_CHANCE]
    if rng.random() < 0.15 * clumsiness:
        drawn.append(_draw_stray(rng))
    extra = rng.random((len(drawn), 2))
    stretch = np.where(extra[:, 0] < _OVERSHOOT_CHANCE, rng.exponential(0.05 * clumsiness, len(drawn)), 0)
    keep = np.where(extra[:, 1] < _SHORTEN_CHANCE, rng.uniform(0.6, 0.95, len(drawn)), 1)
    points, lengths = _resample(drawn, keep, stretch)
    stroke_of = np.repeat(np.arange(len(lengths)), lengths)
    # Misplaced parts: each stroke is shifted, scaled and turned a little around its own middle.
    num_strokes = len(lengths)
    first = np.cumsum(lengths) - lengths
    middle = np.add.reduceat(points, first, axis=0) / lengths[:, None]
    angle = rng.normal(0, 0.06 * clumsiness, num_strokes)
    scale = np.exp(rng.normal(0, 0.07 * clumsiness, (num_strokes, 2)))
    cosine, sine = np.cos(angle)[stroke_of], np.sin(angle)[stroke_of]
    offset = (points - middle[stroke_of]) * scale[stroke_of]
    points = (middle + rng.normal(0, 0.035 * clumsiness, (num_strokes, 2)))[stroke_of]
    points[:, 0] += cosine * offset[:, 0] - sine * offset[:, 1]
    points[:, 1] += sine * offset[:, 0] + cosine * offset[:, 1]
    # Wobble: one smooth noise along all strokes; they are far enough apart in it to be independent.
    position = (np.arange(len(points)) + 8 * stroke_of) * (_POINT_SPACING / _KNOT_SPACING)
    points += clumsiness * 0.028 * _interpolate_noise(position, rng)
    return points, lengths


def _resample(strokes: list[np.ndarray], keep: np.ndarray, stretch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points at equal distances along all strokes [num_points, 2], and how many each stroke has [num_strokes].

    Of each stroke the share `keep` is drawn; `stretch` is added at its end before. All strokes are measured at once,
    one after another on a common ruler with gaps of 1, because calls per stroke would cost most of the time.
    """
    num_points = np.array([len(points) for points in strokes])
    points = np.concatenate(strokes)
    last = np.cumsum(num_points) - 1
    first = last - num_points + 1
    steps = points[last] - points[last - 1]
    step_lengths = np.maximum(np.hypot(steps[:, 0], steps[:, 1]), 1e-9)
    # Strokes have at least two points; a last step without length has no direction to go on in.
    points[last] += steps * (np.where(step_lengths > 1e-6, stretch, 0) / step_lengths)[:, None]
    ruler = np.zeros(len(points))
    steps = points[1:] - points[:-1]
    ruler[1:] = np.hypot(steps[:, 0], steps[:, 1])
    ruler[first] = 1
    ruler = np.cumsum(ruler)
    drawn_length = (ruler[last] - ruler[first]) * keep
    num_wanted = 2 + (drawn_length / _POINT_SPACING).astype(np.int64)
    part = np.arange(num_wanted.sum()) - np.repeat(np.cumsum(num_wanted) - num_wanted, num_wanted)
    wanted = np.repeat(ruler[first], num_wanted) + part * np.repeat(drawn_length / (num_wanted - 1), num_wanted)
    resampled = np.stack([np.interp(wanted, ruler, column) for column in points.T], axis=1)
    return resampled, num_wanted


def _interpolate_noise(position: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Smooth noise of unit variance at its knots, float64 [num_positions, 2]; knots are at whole positions."""
    knots = rng.standard_normal((int(position[-1]) + 2, 2))
    left = position.astype(np.int64)
    part = position - left
    part = (part * part * (3 - 2 * part))[:, None]
    return knots[left] * (1 - part) + knots[left + 1] * part


def _draw_stray(rng: np.random.Generator) -> np.ndarray:
    """A stroke that means nothing: a scribble, or a line of ground."""
    if rng.random() < 0.5:
        return np.array([[-1.1, 1.05], [1.1, 1.05]])
    return rng.uniform(-1, 1, 2) + np.cumsum(rng.normal(0, 0.12, (5, 2)), axis=0)


def _place_on_paper(points: np.ndarray, clumsiness: float, rng: np.random.Generator) -> np.ndarray:
    """Points warped, slanted, turned, perhaps mirrored, and put somewhere on the paper at some size."""
    x, y = points[:, 0], points[:, 1]
    bend = rng.normal(0, 0.09 * clumsiness, (2, 3))
    warped = points + np.stack([x * x, x * y, y * y], axis=1) @ bend.T
    angle, slant, aspect = rng.normal(0, [0.26, 0.14, 0.18])
    rotation = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    shape = np.array([[math.exp(aspect), slant], [0, math.exp(-aspect)]])
    if rng.random() < 0.5:
        shape[:, 0] *= -1
    warped = warped @ (rotation @ shape).T
    low, high = warped.min(axis=0), warped.max(axis=0)
    size = rng.uniform(0.4, 0.92) / max(float((high - low).max()), 1e-6)
    room = 0.94 - (high - low) * size
    corner = 0.03 + rng.uniform(0.15, 0.85, 2) * room
    placed: np.ndarray = (warped - low) * size + corner
    return placed

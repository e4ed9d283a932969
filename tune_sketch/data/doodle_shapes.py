"""Lines, curves and arcs of which the doodles are composed; x goes right, y goes down, objects lie in [-1, 1]."""

import math

import numpy as np

Stroke = np.ndarray  # float64 [num_points, 2]
Strokes = list[np.ndarray]

_CURVE_STEPS = np.arange(6) / 6
# Catmull-Rom basis at the steps, [6, 4]: weights of the points before, at, after and after the next.
_CURVE_BASIS = np.stack([_CURVE_STEPS**power for power in range(4)], axis=1) @ (
    np.array([[0, 2, 0, 0], [-1, 0, 1, 0], [2, -5, 4, -1], [-1, 3, -3, 1]]) / 2
)


def line(*points: tuple[float, float], closed: bool = False, mirrored: bool = False) -> Stroke:
    """A polyline through points; mirrored: it goes on through their mirror images to the right, last one first."""
    points = _mirror(points) if mirrored else points
    return np.array([*points, points[0]] if closed else points, dtype=np.float64)


def curve(*points: tuple[float, float], closed: bool = False, mirrored: bool = False) -> Stroke:
    """A smooth (Catmull-Rom) curve through points; mirrored: as in `line`."""
    points = _mirror(points) if mirrored else points
    if closed:
        padded = np.array([points[-1], *points, points[0], points[1]], dtype=np.float64)
    else:
        padded = np.array([points[0], *points, points[-1]], dtype=np.float64)
    windows = np.stack([padded[:-3], padded[1:-2], padded[2:-1], padded[3:]], axis=1)
    return np.concatenate([(_CURVE_BASIS @ windows).reshape(-1, 2), padded[-2:-1]])


def _mirror(points: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
    # A point on the axis is its own mirror image and must not come twice.
    return points + tuple((-x, y) for x, y in reversed(points) if x != 0)


def arc(
    x: float,
    y: float,
    width: float,
    height: float | None = None,
    start: float = 0,
    end: float = 360,
    tilt: float = 0,
) -> Stroke:
    """An arc of an ellipse around (x, y): half width, half height (None: a circle), degrees clockwise from right."""
    angles = np.linspace(math.radians(start), math.radians(end), 5 + int(abs(end - start) / 20))
    across = width * np.cos(angles)
    down = (width if height is None else height) * np.sin(angles)
    if tilt:
        cosine, sine = math.cos(math.radians(tilt)), math.sin(math.radians(tilt))
        across, down = across * cosine - down * sine, across * sine + down * cosine
    return np.stack([x + across, y + down], axis=1)


def box(left: float, top: float, right: float, bottom: float) -> Stroke:
    """A rectangle in one stroke."""
    return line((left, top), (right, top), (right, bottom), (left, bottom), closed=True)


def eye(rng: np.random.Generator, x: float, y: float, size: float) -> Stroke:
    """A small eye: a dot, or a circle of the given half width."""
    return line((x, y), (x, y + size / 4)) if rng.random() < 0.5 else arc(x, y, size)


def is_chosen(rng: np.random.Generator, chance: float) -> bool:
    """True with this probability: whether a drawing has an optional detail or a style."""
    return rng.random() < chance

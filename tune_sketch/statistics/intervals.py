"""95 % intervals of an accuracy: Wilson's for one run, Student's t over several seeds."""

import math
from collections.abc import Sequence

from scipy import stats

LEVEL = 0.95


def wilson_interval(fraction: float, num_images: int) -> tuple[float, float]:
    """Interval of a fraction of correct answers among `num_images` (Wilson 1927): chance of the images alone."""
    if num_images < 1 or not 0 <= fraction <= 1:
        raise ValueError(f"wilson_interval needs a fraction in [0, 1] of images, got {fraction} of {num_images}")
    z = float(stats.norm.ppf(0.5 + LEVEL / 2))
    scale = 1 + z * z / num_images
    centre = (fraction + z * z / (2 * num_images)) / scale
    half = z * math.sqrt(fraction * (1 - fraction) / num_images + z * z / (4 * num_images**2)) / scale
    return max(0.0, centre - half), min(1.0, centre + half)


def t_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Interval of the mean over seeds (Student's t): chance of training. None for fewer than two values."""
    if len(values) < 2:
        return None
    mean = math.fsum(values) / len(values)
    half = float(stats.t.ppf(0.5 + LEVEL / 2, len(values) - 1)) * standard_deviation(values) / math.sqrt(len(values))
    return mean - half, mean + half


def paired_interval(num_gained: int, num_lost: int, num_images: int) -> tuple[float, float]:
    """Interval of the difference of two fractions right on the same images: chance of the images alone.

    num_gained are right only by the first, num_lost only by the second. Wald's interval after half an image was added
    to each of the four cells (Agresti and Min 2005): unlike the plain one it is not empty where both always agree.
    """
    if num_images < 1 or min(num_gained, num_lost) < 0 or num_gained + num_lost > num_images:
        raise ValueError(f"paired_interval needs counts within {num_images} images, got {num_gained} and {num_lost}")
    number, gained, lost = num_images + 2, num_gained + 0.5, num_lost + 0.5
    centre = (gained - lost) / number
    half = float(stats.norm.ppf(0.5 + LEVEL / 2)) * math.sqrt(gained + lost - (gained - lost) ** 2 / number) / number
    return max(-1.0, centre - half), min(1.0, centre + half)


def standard_deviation(values: Sequence[float]) -> float:
    """Sample standard deviation (n - 1). Raises ValueError for fewer than two values."""
    if len(values) < 2:
        raise ValueError(f"a standard deviation needs at least two values, got {len(values)}")
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))

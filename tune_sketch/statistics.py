"""Intervals of accuracies and comparisons of networks: what lies within chance, and how sure a choice is."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

# SciPy's distributions take half a second to import, which no trial need wait for: each function imports its own.

LEVEL = 0.95  # of all intervals
Z = statistics.NormalDist().inv_cdf(0.5 + LEVEL / 2)  # normal quantile of the two-sided level
NUM_DRAWS = 10_000


def wilson_interval(fraction: float, num_images: int) -> tuple[float, float]:
    """Interval of a fraction of correct answers among `num_images` (Wilson 1927): chance of the images alone."""
    if num_images < 1 or not 0 <= fraction <= 1:
        raise ValueError(f"wilson_interval needs a fraction in [0, 1] of images, got {fraction} of {num_images}")
    # Not scipy's binomtest, which needs a whole number of right answers: a mean over seeds is none.
    scale = 1 + Z * Z / num_images
    centre = (fraction + Z * Z / (2 * num_images)) / scale
    half = Z * math.sqrt(fraction * (1 - fraction) / num_images + Z * Z / (4 * num_images**2)) / scale
    return max(0.0, centre - half), min(1.0, centre + half)


def t_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Interval of the mean over seeds (Student's t): chance of training. None for fewer than two values."""
    if len(values) < 2:
        return None
    from scipy.stats import t as student

    mean = math.fsum(values) / len(values)
    half = float(student.ppf(0.5 + LEVEL / 2, len(values) - 1)) * statistics.stdev(values) / math.sqrt(len(values))
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
    half = Z * math.sqrt(gained + lost - (gained - lost) ** 2 / number) / number
    return max(-1.0, centre - half), min(1.0, centre + half)


def chances_of_best(values: Mapping[int, Sequence[float]]) -> dict[int, float] | None:
    """{finalist: chance that its mean over all possible seeds is the highest}, from its values on some seeds.

    A hierarchical normal model (Gelman et al., Bayesian Data Analysis, 3rd ed. 2013, section 5.4): one standard
    deviation between seeds for all finalists, and the finalists' true means are normal too, so that a lead which may be
    luck is not taken at its face value. How far the finalists lie apart is not known either: in units of the deviation
    between seeds it is half-Cauchy before anything is seen (Gelman 2006, Prior distributions for variance parameters).
    10,000 weighted draws with a fixed seed. A finalist without values has no chance. None where no finalist has two
    values: then the noise between seeds is not known.
    """
    chances = dict.fromkeys(values, 0.0)
    known = {number: list(own) for number, own in sorted(values.items()) if own}  # whatever order they came in
    degrees = sum(len(own) - 1 for own in known.values())
    if degrees < 1:
        return None
    means = np.array([math.fsum(own) / len(own) for own in known.values()])
    counts = np.array([len(own) for own in known.values()])
    squares = math.fsum((v - m) ** 2 for own, m in zip(known.values(), means, strict=True) for v in own)
    true_means, weights = draw_true_means(means, counts, squares, degrees)
    is_best = true_means == true_means.max(axis=1, keepdims=True)
    shares = weights @ (is_best / is_best.sum(axis=1, keepdims=True))
    return chances | {number: float(share) for number, share in zip(known, shares, strict=True)}


def draw_true_means(
    means: np.ndarray, counts: np.ndarray, squares: float, degrees: int
) -> tuple[np.ndarray, np.ndarray]:
    """(true means of the finalists [draws, finalists], weights of the draws [draws]) given what was seen.

    means, counts: of each finalist's values; squares: their squared distances from the means, with that many degrees of
    freedom.
    """
    if squares == 0:
        return means[None], np.ones(1)  # seeds make no difference
    rng = np.random.default_rng(0)
    between_seeds = squares / rng.chisquare(degrees, (NUM_DRAWS, 1))  # variances [draws, 1], as are the next
    between_finalists = between_seeds * rng.standard_cauchy((NUM_DRAWS, 1)) ** 2
    of_means = between_seeds / counts  # [draws, finalists]
    total = between_finalists + of_means
    of_centre = 1 / (1 / total).sum(axis=1, keepdims=True)
    centre = of_centre * (means / total).sum(axis=1, keepdims=True)
    distances = (means - centre) ** 2 / total
    logarithms = 0.5 * (np.log(of_centre[:, 0]) - (np.log(total) + distances).sum(axis=1))
    weights = np.exp(logarithms - logarithms.max())  # how likely the means are with these variances
    centre = centre + np.sqrt(of_centre) * rng.standard_normal((NUM_DRAWS, 1))
    kept = between_finalists / total  # of a finalist's distance from the centre
    spread = np.sqrt(kept * of_means) * rng.standard_normal((NUM_DRAWS, len(means)))
    return centre + kept * (means - centre) + spread, weights / weights.sum()


@dataclass(frozen=True)
class SelectionBias:
    """By how much the search overestimated a configuration; the interval needs two seeds."""

    bias: float
    low: float | None
    high: float | None


def measure_selection_bias(search_value: float, retrained: Sequence[float]) -> SelectionBias:
    """How much better the search saw a configuration than fresh seeds do at the same epoch.

    The best of many looks better than it is. The 95 % interval is that of the retrained mean (Student's t over seeds).
    """
    mean, interval = math.fsum(retrained) / len(retrained), t_interval(retrained)
    low, high = (search_value - interval[1], search_value - interval[0]) if interval else (None, None)
    return SelectionBias(search_value - mean, low, high)


@dataclass(frozen=True)
class McNemar:
    """Of the same drawings: recognised by the first network alone, by the second alone, by both; and the p value."""

    only_first: int
    only_second: int
    both: int
    p: float


def mcnemar(right_a: np.ndarray, right_b: np.ndarray) -> McNemar:
    """McNemar's test, exact: do two networks differ in how many of the same drawings they recognise?

    right_a, right_b: bool [num_images]. Only drawings that one alone recognises tell them apart; were the networks
    equally good, each would be as likely to be that one (McNemar 1947; the binomial probability is two-sided).
    """
    if right_a.shape != right_b.shape:
        raise ValueError(f"McNemar's test needs the same drawings, got {right_a.shape} and {right_b.shape}")
    only_a, only_b = int(np.sum(right_a & ~right_b)), int(np.sum(right_b & ~right_a))
    from scipy.stats import binomtest

    p = float(binomtest(only_a, only_a + only_b, 0.5).pvalue) if only_a + only_b else 1.0
    return McNemar(only_a, only_b, int(np.sum(right_a & right_b)), p)


def holm(p_values: Sequence[float]) -> list[float]:
    """p values of several tests made at once, so adjusted that 5 % is the chance of any false alarm (Holm 1979)."""
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted

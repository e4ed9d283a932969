"""Compares retrained finalists and networks: the chance of being best, the search's optimism, McNemar's test."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

from analysis.intervals import t_interval

NUM_DRAWS = 20_000


def chances_of_best(values: Mapping[int, Sequence[float]]) -> dict[int, float] | None:
    """{finalist: chance that its mean over all possible seeds is the highest}, from its values on some seeds.

    Normal values with one standard deviation for all finalists and no prior knowledge: then the means have Student's t
    distributions with the pooled degrees of freedom (Gelman et al., Bayesian Data Analysis, 3rd ed. 2013, section 3.2;
    pooled over groups as in the analysis of variance). 20,000 draws with a fixed seed. A finalist without values has
    no chance. None where no finalist has two values: then the noise between seeds is not known.
    """
    chances = dict.fromkeys(values, 0.0)
    known = {number: list(own) for number, own in values.items() if own}
    degrees = sum(len(own) - 1 for own in known.values())
    if degrees < 1:
        return None
    means = np.array([math.fsum(own) / len(own) for own in known.values()])
    counts = np.array([len(own) for own in known.values()])
    squares = math.fsum((v - m) ** 2 for own, m in zip(known.values(), means, strict=True) for v in own)
    rng = np.random.default_rng(0)
    deviations = np.sqrt(squares / rng.chisquare(degrees, (NUM_DRAWS, 1)))  # [draws, 1]
    drawn = means + deviations * rng.standard_normal((NUM_DRAWS, len(known))) / np.sqrt(counts)  # [draws, finalists]
    is_best = drawn == drawn.max(axis=1, keepdims=True)
    shares = (is_best / is_best.sum(axis=1, keepdims=True)).mean(axis=0)
    return chances | {number: float(share) for number, share in zip(known, shares, strict=True)}


def measure_optimism(search_value: float, retrained: Sequence[float]) -> dict[str, float | None]:
    """How much better the search saw a configuration than fresh seeds do at the same epoch: {optimism, low, high}.

    The best of many looks better than it is. The 95 % interval is that of the retrained mean (Student's t over seeds).
    """
    mean, interval = math.fsum(retrained) / len(retrained), t_interval(retrained)
    low, high = (search_value - interval[1], search_value - interval[0]) if interval else (None, None)
    return {"optimism": search_value - mean, "optimism_low": low, "optimism_high": high}


def mcnemar(right_a: np.ndarray, right_b: np.ndarray) -> dict[str, Any]:
    """McNemar's test, exact: do two networks differ in how many of the same drawings they recognise?

    right_a, right_b: bool [num_images]. Only drawings that one alone recognises tell them apart; were the networks
    equally good, each would be as likely to be that one (McNemar 1947; the binomial probability is two-sided).
    """
    if right_a.shape != right_b.shape:
        raise ValueError(f"McNemar's test needs the same drawings, got {right_a.shape} and {right_b.shape}")
    only_a, only_b = int(np.sum(right_a & ~right_b)), int(np.sum(right_b & ~right_a))
    p = float(stats.binomtest(only_a, only_a + only_b, 0.5).pvalue) if only_a + only_b else 1.0
    return {"only_first": only_a, "only_second": only_b, "both": int(np.sum(right_a & right_b)), "p": p}


def holm(p_values: Sequence[float]) -> list[float]:
    """p values of several tests made at once, so adjusted that 5 % is the chance of any false alarm (Holm 1979)."""
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = highest
    return adjusted

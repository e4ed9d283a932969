"""Intervals and comparisons against published values, by hand, by quadrature, and in many simulated races."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tune_sketch.statistics import (
    chances_of_best,
    holm,
    mcnemar,
    measure_selection_bias,
    paired_interval,
    t_interval,
    wilson_interval,
)


def test_intervals_against_published_values():
    # The paper's ResNet50: 82.2 % of 1,000, by Wilson's formula by hand 79.71 to 84.45.
    low, high = wilson_interval(0.822, 1000)
    assert (round(low, 4), round(high, 4)) == (0.7971, 0.8445)
    assert wilson_interval(0.0, 10)[0] == pytest.approx(0.0, abs=1e-12)
    assert wilson_interval(1.0, 10)[1] == pytest.approx(1.0)
    interval = t_interval([0.7, 0.8, 0.9])
    # t(0.975, 2) = 4.3027, standard error 0.1 / sqrt(3)
    assert interval == pytest.approx((0.8 - 4.3027 * 0.1 / math.sqrt(3), 0.8 + 4.3027 * 0.1 / math.sqrt(3)), rel=1e-4)
    assert t_interval([0.7]) is None
    with pytest.raises(ValueError, match="got 1\\.5"):
        wilson_interval(1.5, 10)


def test_the_interval_of_a_paired_difference():
    low, high = paired_interval(0, 0, 10)
    assert (low, high) == pytest.approx((-1.96 / 12, 1.96 / 12), abs=1e-4), "not empty where both always agree"
    low, high = paired_interval(30, 10, 100)
    assert low < 0.2 < high
    assert low > 0, "three times as many gained as lost is no chance"
    assert paired_interval(10, 30, 100) == pytest.approx((-high, -low))
    with pytest.raises(ValueError, match="counts within 10 images"):
        paired_interval(6, 5, 10)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_wilsons_interval_holds_the_fraction_within_zero_and_one(data):
    num_images = data.draw(st.integers(1, 10_000))
    fraction = data.draw(st.integers(0, num_images)) / num_images
    low, high = wilson_interval(fraction, num_images)
    assert -1e-12 <= low <= fraction + 1e-12
    assert fraction - 1e-12 <= high <= 1 + 1e-12


def test_chances_of_two_agree_with_quadrature():
    """Two finalists with equally many values: for given variances the chance is a normal probability."""
    a, b = np.array([0.50, 0.53, 0.52]), np.array([0.52, 0.55, 0.54])
    difference, num_seeds, degrees = b.mean() - a.mean(), 3, 4
    squares = ((a - a.mean()) ** 2).sum() + ((b - b.mean()) ** 2).sum()
    # Evenly spaced probabilities of the chi-squared and of the half-Cauchy distribution.
    places = (np.arange(1000) + 0.5) / 1000
    between_seeds = squares / stats.chi2.ppf(places, degrees)[:, None]
    between_finalists = between_seeds * stats.halfcauchy.ppf(places) ** 2
    kept = between_finalists / (between_finalists + between_seeds / num_seeds)
    likelihood = stats.norm.pdf(difference, scale=np.sqrt(2 * (between_finalists + between_seeds / num_seeds)))
    chance = stats.norm.cdf(np.sqrt(kept) * difference / np.sqrt(2 * between_seeds / num_seeds))
    expected = (likelihood * chance).sum() / likelihood.sum()
    chances = chances_of_best({1: list(a), 2: list(b)})
    assert chances[2] == pytest.approx(expected, abs=0.01)
    assert sum(chances.values()) == pytest.approx(1.0)


def test_leaders_of_a_wide_field_agree_with_students_t():
    """Where finalists lie far apart, a lead counts fully: a t probability of the difference (pooled variance)."""
    a, b = [0.50, 0.53, 0.52], [0.51, 0.55, 0.54, 0.53]
    others = {number: [0.05 * number, 0.05 * number + 0.02] for number in range(6)}
    chances = chances_of_best({**others, 11: a, 12: b})
    squares = sum(np.var(own) * len(own) for own in (a, b, *others.values()))
    degrees = 2 + 3 + len(others)
    lead = (np.mean(b) - np.mean(a)) / np.sqrt(squares / degrees * (1 / 3 + 1 / 4))
    assert chances[12] == pytest.approx(stats.t.cdf(lead, degrees), abs=0.02)


def test_chances_are_calibrated():
    """Of many races in which the finalists lie as far apart as is assumed, the stated chance comes true."""
    rng = np.random.default_rng(3)
    stated, came_true = [], []
    for _ in range(400):
        truth = rng.normal(0.5, 0.03 * abs(rng.standard_cauchy()), 3)
        values = {n: list(rng.normal(truth[n], 0.03, 3)) for n in range(3)}
        chances = chances_of_best(values)
        chosen = max(chances, key=chances.get)
        stated.append(chances[chosen])
        came_true.append(chosen == int(np.argmax(truth)))
    # 400 races give the share to +-.04 (two errors).
    assert np.mean(came_true) == pytest.approx(np.mean(stated), abs=0.04)


def test_chances_do_not_depend_on_the_order_of_the_finalists():
    """The terminal lists them by trial, the report the chosen one first: both must say the same."""
    values = {0: [0.333, 0.361], 3: [0.424, 0.413], 5: [0.38, 0.40]}
    assert chances_of_best(values) == chances_of_best(dict(reversed(values.items())))


def test_chances_without_noise_or_without_values():
    assert chances_of_best({0: [0.5], 1: [0.6]}) is None, "one seed each tells nothing of the noise"
    assert chances_of_best({0: [], 1: []}) is None
    assert chances_of_best({0: [0.5, 0.5], 1: [0.6, 0.6], 2: []}) == {0: 0.0, 1: 1.0, 2: 0.0}
    assert chances_of_best({0: [0.5, 0.5], 1: [0.5, 0.5]}) == {0: 0.5, 1: 0.5}


def test_selection_bias_by_hand():
    found = measure_selection_bias(0.90, [0.84, 0.86])
    # mean 0.85, standard error 0.01, t(0.975, 1) = 12.706
    assert found.bias == pytest.approx(0.05)
    assert found.low == pytest.approx(0.05 - 0.12706, abs=1e-4)
    assert found.high == pytest.approx(0.05 + 0.12706, abs=1e-4)
    assert measure_selection_bias(0.9, [0.85]).low is None


def test_mcnemar_by_hand():
    a = np.array([True] * 10 + [True] * 9 + [False] * 1 + [False] * 5)
    b = np.array([True] * 10 + [False] * 9 + [True] * 1 + [False] * 5)
    found = mcnemar(a, b)
    assert (found.both, found.only_first, found.only_second) == (10, 9, 1)
    # 2 * (C(10, 0) + C(10, 1)) / 2^10
    assert found.p == pytest.approx(2 * 11 / 1024)
    assert mcnemar(a, a).p == 1.0
    with pytest.raises(ValueError, match="same drawings"):
        mcnemar(a, b[:-1])


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.7]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []

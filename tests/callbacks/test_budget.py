"""Budgets end a search; what more of it would bring is computed right and errs to the careful side."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from tests.support.facts import make_session
from tests.support.trials import make_ended_trials
from tune_sketch.callbacks.budget import (
    HORIZON,
    Budget,
    expected_gain,
    forecast,
    training_seconds,
    wall_seconds,
)


def make_budget(trials, *, gpus=0.0, gpu_hours=None, min_gain=None, can_forecast=True):
    said, ended = [], []
    budget = Budget(
        trials,
        {"baseline": [1, 3, 9]},
        gpus=gpus,
        gpu_hours=gpu_hours,
        min_gain=min_gain,
        can_forecast=can_forecast,
        end_search=ended.append,
        say=said.append,
    )
    return budget, said, ended


def test_the_expected_gain_is_the_mean_loss_without_any_ten():
    """Against all choices, one by one: of all trials where the best is old, else of the later half."""
    rng = np.random.default_rng(0)
    values = rng.random(20)

    def mean_loss(some):
        losses = []
        for left_out in itertools.combinations(some, HORIZON):
            kept = [value for index, value in enumerate(values) if index not in left_out]
            losses.append(values.max() - max(kept))
        return np.mean(losses)

    for best_at, some in ((4, range(20)), (15, range(10, 20))):
        values[best_at] = values.max() + 0.1
        gain = expected_gain(make_ended_trials(values), [1, 3, 9])
        assert gain == pytest.approx(mean_loss(some))
        assert gain == pytest.approx(max(mean_loss(range(20)), mean_loss(range(10, 20))))


def test_the_forecast_is_the_higher_of_now_and_ten_trials_ago():
    values = np.random.default_rng(0).random(30)
    for at in (12, 25):
        values[at] += 1
        trials = make_ended_trials(values)
        found = forecast(trials, [1, 3, 9])
        gains = [expected_gain(trials[:number], [1, 3, 9]) for number in (20, 30)]
        assert gains[0] != gains[1]
        assert found.gain == max(gains)
        assert (found.num_trials, found.num_ended) == (10, 30)
        assert found.worker_seconds == pytest.approx(20.0)


def test_an_old_best_does_not_make_it_sure_that_nothing_is_to_come():
    """A real search at its twentieth trial: "at most 0.00 points" from the later half; it gained 8 more."""
    values = [0.498, 0.05, 0.05, 0.536, 0.08, 0.25, 0.28, 0.04, 0.08, 0.05, 0.03, 0.02, 0.444, 0.512, 0.07, 0.29]
    values += [0.19, 0.459, 0.3, 0.37]
    assert 0.01 < expected_gain(make_ended_trials(values), [1, 3, 9]) < 0.04


def test_first_configurations_were_not_drawn_so_nothing_follows_from_them():
    """The recipe may be far ahead of all that is found beside it: ten more proposals bring no second recipe."""
    values = [0.3, 0.9, *np.linspace(0.5, 0.52, 30)]
    assert forecast(make_ended_trials(values, num_given=2), [1, 3, 9]).gain < 0.02
    assert forecast(make_ended_trials(values[:-1], num_given=2), [1, 3, 9]) is None, "too few were proposed"


@pytest.mark.parametrize("draw", ["random", "standard_normal", "standard_exponential"])
def test_for_trials_that_are_alike_the_forecast_is_not_too_low(draw):
    """On average over many searches, next to what the next ten trials gained."""
    rng = np.random.default_rng(1)
    expected, gained = [], []
    for _ in range(400):
        values = getattr(rng, draw)(40)
        expected.append(forecast(make_ended_trials(values), [1, 3, 9]).gain)
        gained.append(max(0.0, getattr(rng, draw)(10).max() - values.max()))
    standard_error = np.std(gained) / 20
    assert np.mean(expected) > np.mean(gained) - 2 * standard_error
    assert np.mean(expected) < 7 * np.mean(gained), "the higher of two, but not so high that it says nothing"


def test_no_forecast_from_few_trials_or_values():
    assert forecast(make_ended_trials([0.5] * 29), [1, 3, 9]) is None
    assert forecast(make_ended_trials([0.5] * 40, epochs=0), [1, 3, 9]) is None
    assert forecast(make_ended_trials([0.5] * 30), [1, 3, 9]).gain == 0.0


def test_only_values_of_the_deepest_rung_are_compared():
    trials = make_ended_trials([0.9] * 17) + make_ended_trials([0.1, 0.2, 0.4], epochs=3)
    trials = [replace(trial, number=number, ended_at=float(number)) for number, trial in enumerate(trials)]
    # All three at epoch 3 are recent: of the choices of all 10 recent ones there is one, and it loses 0.3 at least.
    assert expected_gain(trials, [1, 3, 9]) == pytest.approx((0.4 - 0.2) + (0.2 - 0.1))


def test_it_says_once_that_more_is_unlikely_to_help():
    trials = make_ended_trials([0.9, *[0.5] * 30], num_given=1)
    budget, said, ended = make_budget(trials)
    budget.on_end(trials[-1])
    budget.on_end(trials[-1])
    assert len(said) == 1
    assert "at most 0.00 points" in said[0]
    assert "20 s of worker time (estimated from 30 trials)" in said[0]
    assert not ended
    assert make_budget(trials, can_forecast=False)[1:] == ([], [])
    assert make_budget(make_ended_trials(np.linspace(0, 0.9, 35)))[1] == [], "it still rises"


def test_min_gain_ends_the_search_also_when_it_is_resumed():
    trials = make_ended_trials([0.9, *[0.5] * 30], num_given=1)
    _, _, ended = make_budget(trials, min_gain=0.002)
    assert len(ended) == 1
    assert "--min-gain 0.002" in ended[0]
    budget, _, ended = make_budget(trials[:18], min_gain=0.002)
    assert not ended
    budget.trials = trials
    budget.on_end(trials[-1])
    budget.on_end(trials[-1])
    assert len(ended) == 1


@pytest.mark.parametrize(("gpus", "unit", "trials_paid"), [(0.0, "worker-hours", 6), (0.5, "GPU-hours", 12)])
def test_gpu_hours_count_training_and_a_workers_share_of_a_gpu(gpus, unit, trials_paid):
    trials = make_ended_trials([0.5] * 20, seconds=600.0)
    budget, _, ended = make_budget(trials[: trials_paid - 1], gpus=gpus, gpu_hours=1.0, can_forecast=False)
    assert not ended
    budget.trials = trials[:trials_paid]
    budget.on_epoch(trials[0])
    budget.on_epoch(trials[0])
    assert len(ended) == 1
    assert f"budget of 1 {unit} is spent" in ended[0]
    assert training_seconds(trials) == 12_000


def test_wall_clock_counts_each_session_to_its_last_epoch():
    trials = make_ended_trials([0.5] * 4)  # epochs recorded at 1, 11, 21, 31
    sessions = [make_session(started_at) for started_at in (0.0, 20.0, 100.0)]
    assert wall_seconds(sessions, trials) == pytest.approx(11 + 11)

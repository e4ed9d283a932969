"""Budgets end a search; what more of it would bring is computed right and errs to the careful side."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from tests.support.facts import make_session
from tests.support.trials import make_metrics
from tune_sketch.callbacks.budget import HORIZON, Budget, forecast, training_seconds, wall_seconds
from tune_sketch.events import Epoch, Trial


def make_trials(values, seconds=2.0, epochs=1):
    """Trials that have ended after these numbers of epochs with these values, in this order."""
    return [
        Trial(
            f"trial-{number:04d}",
            number,
            {"epochs": 9},
            seed=0,
            status="stopped",
            epochs=tuple(
                Epoch(epoch, make_metrics(value, epoch_seconds=seconds), recorded_at=10.0 * number + epoch)
                for epoch in range(1, epochs + 1)
            ),
            ended_at=10.0 * number + epochs,
        )
        for number, value in enumerate(values)
    ]


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


def test_the_forecast_is_the_mean_loss_without_any_ten_recent_trials():
    """Against all choices, one by one."""
    rng = np.random.default_rng(0)
    values = rng.random(26)
    found = forecast(make_trials(values), [1, 3, 9])
    recent = range(13, 26)
    losses = []
    for left_out in itertools.combinations(recent, HORIZON):
        kept = [value for index, value in enumerate(values) if index not in left_out]
        losses.append(values.max() - max(kept))
    assert found.gain == pytest.approx(np.mean(losses))
    assert (found.num_trials, found.num_recent) == (10, 13)
    assert found.worker_seconds == pytest.approx(20.0)


@pytest.mark.parametrize("draw", ["random", "standard_normal", "standard_exponential"])
def test_for_trials_that_are_alike_the_forecast_is_not_too_low(draw):
    """On average over many searches, next to what the next ten trials gained."""
    rng = np.random.default_rng(1)
    expected, gained = [], []
    for _ in range(400):
        values = getattr(rng, draw)(30)
        expected.append(forecast(make_trials(values), [1, 3, 9]).gain)
        gained.append(max(0.0, getattr(rng, draw)(10).max() - values.max()))
    standard_error = np.std(gained) / 20
    assert np.mean(expected) > np.mean(gained) - 2 * standard_error
    assert np.mean(expected) < 5 * np.mean(gained), "nor so high that it says nothing"


def test_no_forecast_from_few_trials_or_values():
    assert forecast(make_trials([0.5] * 19), [1, 3, 9]) is None
    assert forecast(make_trials([0.5] * 30, epochs=0), [1, 3, 9]) is None
    assert forecast(make_trials([0.5] * 20), [1, 3, 9]).gain == 0.0


def test_only_values_of_the_deepest_rung_are_compared():
    trials = make_trials([0.9] * 17) + make_trials([0.1, 0.2, 0.4], epochs=3)
    trials = [replace(trial, number=number, ended_at=float(number)) for number, trial in enumerate(trials)]
    found = forecast(trials, [1, 3, 9])
    # All three at epoch 3 are recent: of the choices of all 10 recent ones there is one, and it loses 0.3 at least.
    assert found.gain == pytest.approx((0.4 - 0.2) + (0.2 - 0.1))


def test_it_says_once_that_more_is_unlikely_to_help():
    trials = make_trials([0.9, *[0.5] * 24])
    budget, said, ended = make_budget(trials)
    budget.on_end(trials[-1])
    budget.on_end(trials[-1])
    assert len(said) == 1
    assert "at most 0.00 points" in said[0]
    assert "20 s of worker time" in said[0]
    assert not ended
    assert make_budget(trials, can_forecast=False)[1:] == ([], [])
    assert make_budget(make_trials(np.linspace(0, 0.9, 25)))[1] == [], "it still rises"


def test_min_gain_ends_the_search_also_when_it_is_resumed():
    trials = make_trials([0.9, *[0.5] * 24])
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
    trials = make_trials([0.5] * 20, seconds=600.0)
    budget, _, ended = make_budget(trials[: trials_paid - 1], gpus=gpus, gpu_hours=1.0, can_forecast=False)
    assert not ended
    budget.trials = trials[:trials_paid]
    budget.on_epoch(trials[0])
    budget.on_epoch(trials[0])
    assert len(ended) == 1
    assert f"budget of 1 {unit} is spent" in ended[0]
    assert training_seconds(trials) == 12_000


def test_wall_clock_counts_each_session_to_its_last_epoch():
    trials = make_trials([0.5] * 4)  # epochs recorded at 1, 11, 21, 31
    sessions = [make_session(started_at) for started_at in (0.0, 20.0, 100.0)]
    assert wall_seconds(sessions, trials) == pytest.approx(11 + 11)

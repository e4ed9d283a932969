"""One factor at a time, as the paper did it: its steps, what they compare, and what they keep."""

import math

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from tests.support.searching import make_journal, make_sampler, suggest
from tests.support.trials import make_metrics
from tune_sketch.events import Epoch, Source
from tune_sketch.samplers.base import SearchTask
from tune_sketch.samplers.one_factor import OneFactorSampler, spread
from tune_sketch.search_spaces import SPACES, SpaceLimits

LIMITS = SpaceLimits(max_epochs=27, pretrained=False)


@pytest.fixture
def journal():
    return make_journal()


@pytest.fixture
def sampler():
    return make_one_factor()


def make_one_factor(**task):
    return make_sampler("one-factor", limits=LIMITS, **task)


def quality_of(config):
    """Best with rmsprop, 1e-4 and a decay of 1e-3."""
    quality = 0.9 - 0.1 * abs(math.log10(config["learning_rate"]) + 4) - 0.1 * (config["optimizer"] != "rmsprop")
    return quality - 0.02 * abs(math.log10(config["decay"] or 1e-6) + 3)


def record_epoch(journal, trial, number, value, loss):
    return journal.record_epoch(trial.key, Epoch(number, make_metrics(value, val_loss=loss)))


def train(journal, trial, num_epochs=None, peak=None):
    """A curve to the trial's end, or to `num_epochs`; with `peak`, best at that epoch."""
    quality = quality_of(trial.config)
    for epoch in range(len(trial.epochs) + 1, (num_epochs or trial.config["epochs"]) + 1):
        value = quality * (1 - math.exp(-epoch / 3)) - (0.01 * abs(epoch - peak) if peak else 0.0)
        trial = record_epoch(journal, trial, epoch, value, 3 - 3 * value)
    if len(trial.epochs) == trial.config["epochs"]:
        journal.end(trial.key, "completed")


def run_to_the_end(journal, sampler, **how):
    while (trial := suggest(sampler, journal)) is not None:
        train(journal, trial, **how)
    return [trial for trial in journal.trials if trial.source.kind == "one-factor"]


def test_it_goes_through_the_papers_steps(journal, sampler):
    trials = run_to_the_end(journal, sampler)
    # Trial 0 is the paper's adam: its first epochs are the curve of adam. The number of epochs is the most already.
    assert [(trial.source.step, trial.config["epochs"]) for trial in trials] == [
        *[("optimizer", 6)] * 3,
        *[("learning_rate", 6)] * 4,
        *[("decay_kind", 27)] * 2,
        *[("decay", 27)] * 5,
    ]
    assert {trial.config["optimizer"] for trial in trials[:3]} == {"sgd", "rmsprop", "adamw"}
    assert all(trial.config["learning_rate"] == 1e-3 for trial in trials[:3])
    assert {trial.config["optimizer"] for trial in trials[3:]} == {"rmsprop"}, "the best optimizer is kept"
    rates = [trial.config["learning_rate"] for trial in trials[3:7]]
    assert set(rates) | {1e-3} == {1e-5, 1e-4, 1e-3, 1e-2, 1e-1}
    assert all(trial.config["learning_rate"] == 1e-4 for trial in trials[7:]), "the best learning rate is kept"
    assert trials[0].source.compared_with == (0,), "trial 0 is part of the comparison"
    best = max(trials, key=lambda trial: trial.epochs[-1].val_top1)
    assert best.config["decay"] == 1.78e-3
    assert len(journal.trials) <= OneFactorSampler.most_trials
    names = set(SPACES["baseline"].PAPER) - {"optimizer", "learning_rate", "epochs", "decay", "decay_kind"}
    for name in names:
        assert len({trial.config.get(name) for trial in journal.trials}) == 1, f"{name} must stay as it is"


def test_each_trial_says_its_step_and_what_it_is_compared_by(journal, sampler):
    trials = run_to_the_end(journal, sampler)
    assert trials[0].source == Source(
        "one-factor",
        step="optimizer",
        number_of_pass=1,
        num_epochs=6,
        compared_by="val_loss",
        compared_with=(0,),
    )
    last = trials[-1].source
    assert (last.step, last.num_epochs, last.compared_by) == ("decay", 27, "val_top1")


def test_curves_are_judged_by_loss_and_full_trainings_by_top1(journal, sampler):
    while len(journal.trials) < 4:
        trial = suggest(sampler, journal)
        best_loss = trial.config["optimizer"] == "sgd"
        for epoch in range(1, 7):
            trial = record_epoch(journal, trial, epoch, 0.1 if best_loss else 0.8, 0.5 if best_loss else 2.0)
    assert suggest(sampler, journal).config["optimizer"] == "sgd"
    assert 0.5 < journal.trials[-1].config["momentum"] < 0.99


def test_it_waits_for_its_step_and_runs_the_steps_trainings_at_once(journal, sampler):
    trials = [suggest(sampler, journal) for _ in range(6)]
    assert [trial is not None for trial in trials] == [True] * 4 + [False] * 2
    for trial in journal.trials[:3]:
        train(journal, trial, 6)
    assert suggest(sampler, journal) is None, "one curve is still running"
    journal.end(journal.trials[3].key, "diverged")
    assert suggest(sampler, journal).source.step == "learning_rate"


def test_the_number_of_epochs_is_read_off_the_best_curve(journal, sampler):
    trials = run_to_the_end(journal, sampler, peak=15)
    assert (trials[-1].source.step, trials[-1].config["epochs"]) == ("epochs", 15)
    assert trials[-1].params["epochs"] == 15
    assert trials[-1].distributions["epochs"] == IntDistribution(1, 27)


def test_the_current_value_is_kept_when_all_fail(journal, sampler):
    while (trial := suggest(sampler, journal)) is not None:
        journal.end(trial.key, "failed")
    assert {trial.config["optimizer"] for trial in journal.trials if trial.source.step != "optimizer"} == {"adam"}


def test_a_second_pass_looks_closer(journal):
    trials = run_to_the_end(journal, make_one_factor(passes=2))
    second = [t for t in trials if t.source.number_of_pass == 2 and t.source.step == "learning_rate"]
    rates = {trial.config["learning_rate"] for trial in second}
    assert {1e-5, 3.16e-5, 3.16e-4} <= rates
    assert max(rates) <= 1e-3
    with_more = run_to_the_end(journal, make_one_factor(passes=3))
    assert {t.source.number_of_pass for t in with_more} == {1, 2, 3}, "a finished search goes on with more passes"


def test_it_runs_on_any_space_that_is_named(journal):
    """As the simulations do: other names, no paper's configuration."""

    def space(trial, limits):
        return {
            "learning_rate": trial.suggest_float("learning_rate", 1e-4, 1.0, log=True),
            "units": trial.suggest_int("units", 64, 1024, log=True),
            "epochs": 27,
        }

    task = SearchTask(space, LIMITS, [27], num_samples=99)
    sampler = OneFactorSampler(task, factors=("units", "learning_rate"))
    while (trial := suggest(sampler, journal)) is not None:
        for epoch in range(1, trial.config["epochs"] + 1):
            value = 1 / (1 + abs(math.log10(trial.config["learning_rate"]) + 3)) - trial.config["units"] / 1e5
            record_epoch(journal, trial, epoch, value, 1 - value)
        journal.end(trial.key, "completed")
    assert journal.trials[-1].config == {"learning_rate": 1e-3, "units": 64, "epochs": 27}


def test_values_are_spread_over_the_range_on_its_scale():
    assert spread(FloatDistribution(1e-5, 1e-1, log=True), None, 1) == [1e-5, 1e-4, 1e-3, 1e-2, 1e-1]
    assert spread(FloatDistribution(0.0, 0.4), None, 1) == [0.0, 0.1, 0.2, 0.3, 0.4]
    assert spread(FloatDistribution(0.0, 0.4), 0.4, 2) == [0.2, 0.25, 0.3, 0.35, 0.4]
    assert spread(IntDistribution(1, 3), None, 1) == [1, 2, 3]
    assert spread(IntDistribution(16, 256, log=True), None, 1) == [16, 32, 64, 128, 256]
    assert spread(CategoricalDistribution(("a", "b")), "b", 3) == ["a", "b"]

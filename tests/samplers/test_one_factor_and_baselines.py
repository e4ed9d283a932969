"""The strategies: each a pure function of the journal, one factor at a time as the study did it."""

import math

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from tests.samplers.test_incumbent import MemoryJournal
from tests.storage.test_journal import make_metrics
from tune_sketch.config import settings
from tune_sketch.samplers.base import JobSearcher
from tune_sketch.samplers.one_factor import OneFactorSearcher, spread
from tune_sketch.samplers.strategies import STRATEGIES, LastValueSearcher
from tune_sketch.schedulers.rungs import rung_epochs
from tune_sketch.search_spaces import SPACES, configuration_of, study_configuration
from tune_sketch.search_spaces.common import SpaceLimits
from tune_sketch.storage.journal import Journal

LIMITS = SpaceLimits(max_epochs=27, pretrained=False)
SHORT = SpaceLimits(max_epochs=3, pretrained=False)


def make_searcher(strategy, journal, model="baseline", *, limits=LIMITS, num_samples=1000, seed=0, **more):
    rungs = rung_epochs(1, limits.max_epochs, 3)
    first = [study_configuration(model, limits)]
    more = {"first": first, "job": lambda record: {"key": record.key}} | more
    return STRATEGIES[strategy](journal, SPACES[model], limits, rungs, seed=seed, num_samples=num_samples, **more)


def quality_of(config):
    """Best with rmsprop, 1e-4 and a decay of 1e-3."""
    quality = 0.9 - 0.1 * abs(math.log10(config["learning_rate"]) + 4) - 0.1 * (config["optimizer"] != "rmsprop")
    return quality - 0.02 * abs(math.log10(config["decay"] or 1e-6) + 3)


def record_epoch(journal, record, metrics):
    if isinstance(journal, Journal):
        journal.record_epoch(record, metrics)
    else:
        record.epochs.append(metrics | {"recorded_at": float(sum(len(r.epochs) for r in journal.trials))})


def end(journal, record, status):
    if isinstance(journal, Journal):
        journal.end(record, status)
    else:
        record.status = status


def train(journal, record, num_epochs=None, peak=None):
    """A curve to the trial's end, or to `num_epochs`; with `peak`, best at that epoch."""
    quality = quality_of(record.config)
    for epoch in range(len(record.epochs) + 1, (num_epochs or record.config["epochs"]) + 1):
        value = quality * (1 - math.exp(-epoch / 3)) - (0.01 * abs(epoch - peak) if peak else 0.0)
        record_epoch(journal, record, make_metrics(epoch, value) | {"val_loss": 3 - 3 * value})
    if len(record.epochs) == record.config["epochs"]:
        end(journal, record, "completed")


def run_to_the_end(journal, searcher, **how):
    while (record := searcher.suggest_new()) is not None:
        train(journal, record, **how)
    return [record for record in journal.trials if record.origin["kind"] == "one-factor"]


def test_names_and_descriptions_agree():
    assert list(STRATEGIES) == list(settings.STRATEGIES)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_begins_with_the_study_and_is_a_function_of_the_journal(strategy, tmp_path):
    journal = Journal(f"sqlite:///{tmp_path / 'study.db'}", "s", create=True)
    searcher = make_searcher(strategy, journal, limits=SHORT)
    assert isinstance(searcher, JobSearcher)
    for place in range(14):
        record = searcher.suggest_new()
        if place == 0:
            assert record.config == configuration_of("baseline", study_configuration("baseline", SHORT), SHORT)
            assert record.origin["kind"] == "study"
        train(journal, record)
    reopened = Journal(journal.url, "s")
    assert [r.config for r in reopened.trials] == [r.config for r in journal.trials]
    anew = make_searcher(strategy, reopened, limits=SHORT)
    for number in range(14, 18):
        if strategy != "one-factor":
            assert searcher.sample(number) == anew.sample(number)
    first, second = searcher.suggest_new(), anew.sample(14)
    assert (first.config, first.origin) == (second[0], second[3])


def test_random_ignores_what_it_saw():
    journals = MemoryJournal(), MemoryJournal()
    configs = []
    for journal, num_epochs in zip(journals, (1, 9), strict=True):
        searcher = make_searcher("random", journal)
        for _ in range(20):
            train(journal, searcher.suggest_new(), num_epochs)
        configs.append([record.config for record in journal.trials])
    assert configs[0] == configs[1]
    rates = [config["learning_rate"] for config in configs[0][1:]]
    assert min(rates) < 1e-4
    assert max(rates) > 1e-2


def test_tpe_is_told_last_values_of_any_epoch():
    journal = MemoryJournal()
    searcher = make_searcher("tpe", journal)
    for place in range(12):
        record = searcher.suggest_new()
        train(journal, record, min((1, 3, 9)[place % 3], record.config["epochs"]))
        if record.is_unfinished:
            end(journal, record, "stopped")
    suggestion = searcher.sample(12)
    assert isinstance(searcher, LastValueSearcher)
    assert suggestion[3] == {"kind": "model", "rung": None, "num_values": 12}
    told = [trial.value for trial in searcher.study.trials if trial.value is not None]
    assert told == [record.last_value for record in journal.trials]


def test_one_factor_goes_through_the_studys_steps():
    journal = MemoryJournal()
    searcher = make_searcher("one-factor", journal)
    trials = run_to_the_end(journal, searcher)
    steps = [(record.origin["step"], record.config["epochs"]) for record in trials]
    # Trial 0 is the study's adam: its first epochs are the curve of adam. The number of epochs is the most already.
    assert steps == [
        *[("optimizer", 6)] * 3,
        *[("learning_rate", 6)] * 4,
        *[("decay_kind", 27)] * 2,
        *[("decay", 27)] * 5,
    ]
    assert {record.config["optimizer"] for record in trials[:3]} == {"sgd", "rmsprop", "adamw"}
    assert all(record.config["learning_rate"] == 1e-3 for record in trials[:3])
    assert {record.config["optimizer"] for record in trials[3:]} == {"rmsprop"}, "the best optimizer is kept"
    rates = [record.config["learning_rate"] for record in trials[3:7]]
    assert set(rates) | {1e-3} == {1e-5, 1e-4, 1e-3, 1e-2, 1e-1}
    assert all(record.config["learning_rate"] == 1e-4 for record in trials[7:]), "the best learning rate is kept"
    assert trials[0].origin["beside"] == [0], "trial 0 is part of the comparison"
    best = max(trials, key=lambda record: record.epochs[-1]["val_top1"])
    assert best.config["decay"] == 1.78e-3
    assert len(journal.trials) <= settings.MOST_TRIALS_OF_A_PASS
    names = set(SPACES["baseline"].STUDY) - {"optimizer", "learning_rate", "epochs", "decay", "decay_kind"}
    for name in names:
        assert len({record.config.get(name) for record in journal.trials}) == 1, f"{name} must stay as it is"


def test_one_factor_judges_curves_by_loss_and_full_trainings_by_top1():
    journal = MemoryJournal()
    searcher = make_searcher("one-factor", journal)
    while len(journal.trials) < 4:
        record = searcher.suggest_new()
        best_loss = record.config["optimizer"] == "sgd"
        for epoch in range(1, 7):
            value = 0.1 if best_loss else 0.8
            record_epoch(journal, record, make_metrics(epoch, value) | {"val_loss": 0.5 if best_loss else 2.0})
    assert searcher.suggest_new().config["optimizer"] == "sgd"
    assert 0.5 < journal.trials[-1].config["momentum"] < 0.99


def test_one_factor_waits_for_its_step_and_runs_the_steps_trainings_at_once():
    journal = MemoryJournal()
    searcher = make_searcher("one-factor", journal)
    jobs = [searcher.suggest(name) for name in "abcdef"]
    assert [job is not None for job in jobs] == [True] * 4 + [False] * 2
    for record in journal.trials[:3]:
        train(journal, record, 6)
    assert searcher.suggest_new() is None, "one curve is still running"
    end(journal, journal.trials[3], "diverged")
    assert searcher.suggest_new().origin["step"] == "learning_rate"


def test_one_factor_reads_the_number_of_epochs_off_the_best_curve():
    journal = MemoryJournal()
    trials = run_to_the_end(journal, make_searcher("one-factor", journal), peak=15)
    assert (trials[-1].origin["step"], trials[-1].config["epochs"]) == ("epochs", 15)
    assert trials[-1].params["epochs"] == 15
    assert trials[-1].distributions["epochs"] == IntDistribution(1, 27)


def test_one_factor_keeps_the_current_value_when_all_fail():
    journal = MemoryJournal()
    searcher = make_searcher("one-factor", journal)
    while (record := searcher.suggest_new()) is not None:
        end(journal, record, "failed")
    assert {record.config["optimizer"] for record in journal.trials if record.origin.get("step") != "optimizer"} == {
        "adam"
    }


def test_a_second_pass_looks_closer():
    journal = MemoryJournal()
    trials = run_to_the_end(journal, make_searcher("one-factor", journal, passes=2))
    second = [r for r in trials if r.origin["pass"] == 2 and r.origin["step"] == "learning_rate"]
    rates = [record.config["learning_rate"] for record in second]
    assert set(rates) == {1e-5, 3.16e-5, 3.16e-4} | set(rates)
    assert max(rates) <= 1e-3
    with_more = run_to_the_end(journal, make_searcher("one-factor", journal, passes=3))
    assert {record.origin["pass"] for record in with_more} == {1, 2, 3}, "a finished search goes on with more passes"


def test_curves_are_shorter_where_full_trainings_are():
    lengths = {}
    for max_epochs in (1, 2, 9, 15, 80):
        rungs = rung_epochs(1, max_epochs, 3)
        limits = SpaceLimits(max_epochs, pretrained=False)
        searcher = OneFactorSearcher(
            MemoryJournal(), SPACES["baseline"], limits, rungs, seed=0, num_samples=9, first=[], job=dict
        )
        lengths[max_epochs] = searcher.curve_epochs
    assert lengths == {1: 1, 2: 1, 9: 3, 15: 5, 80: 6}


def test_one_factor_runs_on_any_space_that_is_named():
    """As the simulations do: other names, no study's configuration."""

    class Space:
        @staticmethod
        def space(trial, limits):
            return {
                "learning_rate": trial.suggest_float("learning_rate", 1e-4, 1.0, log=True),
                "units": trial.suggest_int("units", 64, 1024, log=True),
                "epochs": 27,
            }

    journal = MemoryJournal()
    searcher = OneFactorSearcher(
        journal, Space, LIMITS, [27], seed=0, num_samples=99, first=[], job=dict, factors=("units", "learning_rate")
    )
    while (record := searcher.suggest_new()) is not None:
        for epoch in range(1, record.config["epochs"] + 1):
            value = 1 / (1 + abs(math.log10(record.config["learning_rate"]) + 3)) - record.config["units"] / 1e5
            record_epoch(journal, record, make_metrics(epoch, value) | {"val_loss": 1 - value})
        end(journal, record, "completed")
    last = journal.trials[-1]
    assert last.config == {"learning_rate": 1e-3, "units": 64, "epochs": 27}


def test_values_are_spread_over_the_range_on_its_scale():
    assert spread(FloatDistribution(1e-5, 1e-1, log=True), None, 1) == [1e-5, 1e-4, 1e-3, 1e-2, 1e-1]
    assert spread(FloatDistribution(0.0, 0.4), None, 1) == [0.0, 0.1, 0.2, 0.3, 0.4]
    assert spread(FloatDistribution(0.0, 0.4), 0.4, 2) == [0.2, 0.25, 0.3, 0.35, 0.4]
    assert spread(IntDistribution(1, 3), None, 1) == [1, 2, 3]
    assert spread(IntDistribution(16, 256, log=True), None, 1) == [16, 32, 64, 128, 256]
    assert spread(CategoricalDistribution(("a", "b")), "b", 3) == ["a", "b"]

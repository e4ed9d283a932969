"""The recorded learning curves: which configurations they are of, and the rules that are tried on them."""

import re
from dataclasses import replace

import numpy as np
import pytest
from optuna.trial import FixedTrial

from benchmarks.curves.record import RECORDINGS, draw_configuration, list_jobs
from benchmarks.curves.table import TABLES, load_table
from benchmarks.curves.tasks import PretrainedTable
from benchmarks.slow_starters import RULES, ByTrend, KeepsBestOfStratum, WithinStrata, search
from tests.support.trials import make_trial
from tune_sketch.schedulers.asha import ASHA
from tune_sketch.search_spaces import paper_configuration, recipe_configuration

PRETRAINED = RECORDINGS["pretrained"]
RULE = ASHA([2, 6, 18], 3)


def test_a_table_begins_with_what_a_search_begins_with():
    network, limits = PRETRAINED.network, PRETRAINED.limits
    assert draw_configuration(PRETRAINED, 0)[0] == paper_configuration(network, limits)
    recipe = recipe_configuration(network, limits)
    assert draw_configuration(PRETRAINED, 1)[0] == recipe
    for number, is_like_recipe in ((3, False), (4, True), (5, True), (6, False)):
        params = draw_configuration(PRETRAINED, number)[0]
        num_kept = sum(params.get(name) == value for name, value in recipe.items())
        assert (num_kept > len(recipe) / 3) == is_like_recipe, number


@pytest.mark.parametrize("name", RECORDINGS)
def test_any_beginning_of_the_trainings_has_all_tasks_and_second_seeds(name):
    jobs = list_jobs(RECORDINGS[name])
    assert len(set(jobs)) == len(jobs)
    beginning = jobs[: len(jobs) // 3]
    assert {job.task for job in beginning} == set(RECORDINGS[name].tasks)
    assert any(job.repeat for job in beginning)


@pytest.mark.skipif(not TABLES["pretrained"].exists(), reason="the table is recorded by benchmarks/curves/record.py")
@pytest.mark.parametrize("name", ["quickdraw", "sketchy"])
def test_the_pretrained_table_gives_its_own_curves_back(name):
    table, task = load_table(TABLES["pretrained"])[name], PretrainedTable(name)
    said = (TABLES["pretrained"].parent / "README.md").read_text().partition("## The pretrained table")[2]
    assert re.search(rf"\| `{name}` \|.*\| {(table.repeat == 0).sum()} \| {(table.repeat == 1).sum()} \|\n", said)
    assert TABLES["pretrained"].stat().st_size < 1_000_000
    for row in (0, 1, 7):  # the paper's, the recipe, and another
        config = task.space(FixedTrial(task.params[row]), task.limits)
        curve = task.curve(config | {"epochs": task.max_epochs}, seed=0)
        assert curve.true_final == pytest.approx(float(task.values[row][-1]), abs=1e-3)
    assert task.params[0] == task.first[0]
    assert task.params[1] == task.recipe
    assert (task.recipe["freeze"], task.recipe["layer_rate_factor"]) == ("none", 0.1)  # as when it was recorded
    best, median, seconds = task.scale()
    assert best > median
    assert seconds > 0


@pytest.mark.skipif(not TABLES["pretrained"].exists(), reason="the table is recorded by benchmarks/curves/record.py")
def test_a_search_that_stops_nothing_keeps_its_best():
    task = PretrainedTable("sketchy")
    rows = {
        name: search(task, RULES[name].make(task.max_epochs), seed=3) for name in list(RULES)[:1] + list(RULES)[-1:]
    }
    shipped, never = rows.values()
    assert never["stopped_at"] == 0
    assert never["hours"] > 1.5 * shipped["hours"]


def trial_with(number: int, freeze: str, values: list[float]):
    """A trial with a recorded value at each epoch."""
    trial = make_trial(number, values)
    return replace(trial, config=trial.config | {"freeze": freeze})


def test_strata_are_compared_among_themselves():
    frozen = [trial_with(number, "head_only", [0.2, 0.3]) for number in range(3)]
    slow = trial_with(3, "none", [0.0, 0.1])
    assert RULE.decide(slow, frozen).verdict == "stop"
    assert WithinStrata(RULE).decide(slow, frozen).verdict == "continue"
    assert KeepsBestOfStratum(RULE).decide(slow, frozen).verdict == "continue"
    better = trial_with(4, "none", [0.0, 0.2])
    assert WithinStrata(RULE).decide(slow, [*frozen, better]).verdict == "stop"
    assert KeepsBestOfStratum(RULE).decide(slow, [*frozen, better]).verdict == "stop"
    assert KeepsBestOfStratum(RULE).decide(better, [*frozen, slow]).verdict == "continue"


def test_a_trend_lets_those_go_on_who_still_gain():
    flat = [trial_with(number, "none", [0.2, 0.2, 0.2, 0.2, 0.2, 0.2]) for number in range(3)]
    rising = trial_with(3, "none", [0.0, 0.0, 0.0, 0.1, 0.15, 0.19])
    assert RULE.decide(rising, flat).verdict == "stop"
    assert ByTrend(RULE).decide(rising, flat).verdict == "continue"
    assert ByTrend(RULE).decide(trial_with(4, "none", [0.1] * 6), flat).verdict == "stop"
    assert ByTrend(RULE).decide(trial_with(4, "none", [0.1] * 5), flat) is None
    assert np.isfinite(ByTrend(RULE).expected(rising, 6))

"""The table of ways to search with few trainings, by hand, and the one that changes the first configuration."""

import pytest

from benchmarks import few_trainings
from benchmarks.curves.tasks import load_tasks
from benchmarks.few_trainings import BASE, SHIPPED, VARIANTS, judge, table
from benchmarks.opponents import METHODS
from benchmarks.search_quality import run_one
from tune_sketch.samplers.incumbent import IncumbentSampler


def make_rows(of_base, of_shipped):
    both = [(BASE, of_base), (SHIPPED, of_shipped)]
    common = {"task": "a", "workers": 2.0, "t": 4.0, "best": 1.0, "median": 0.0, "by_rung": 0.0}
    return [
        common | {"method": method, "seed": float(seed), "by_best": value}
        for method, values in both
        for seed, value in enumerate(values)
    ]


def test_the_advantage_is_of_the_same_seeds_and_a_certain_loss_is_an_exit_status():
    lines = table(make_rows([0.5, 0.7], [0.6, 0.9]))
    assert lines[-2] == f"| {BASE} | 2 | 0.400 | 2 |"
    assert lines[-1].startswith(f"| {SHIPPED} | 2 | 0.250 (+0.150 [")
    assert judge(make_rows([0.5, 0.7], [0.6, 0.9])) == 0
    assert judge(make_rows([0.6, 0.9], [0.5, 0.7])) == 1


def test_what_is_called_shipped_is_the_sampler():
    names = ("min_values", "kept_fraction", "num_strata")
    shipped = VARIANTS[SHIPPED].make_sampler
    assert [getattr(shipped, name) for name in names] == [getattr(IncumbentSampler, name) for name in names]


@pytest.mark.parametrize("name", ["changes of the first by steps", BASE])
def test_a_variant_searches(name, monkeypatch):
    monkeypatch.setitem(METHODS, name, VARIANTS[name])
    task = load_tasks("report", ("sketch",))["sketch-sketchy"]
    (found,) = run_one(task, name, 2, 0, times=(2.0,))
    assert found["num_trials"] > 4
    assert few_trainings.WORKERS == (2, 4)

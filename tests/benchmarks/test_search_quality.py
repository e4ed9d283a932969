"""The benchmark of samplers: its simulation, its curves and its arithmetic, on a task that needs no data."""

from typing import Any

import numpy as np
import pytest

from benchmarks import search_quality
from benchmarks.curves.table import METRICS, TABLES, load_table, pack_rows
from benchmarks.curves.tasks import Curve, SketchTable, Task
from benchmarks.opponents import METHODS, factors_of
from benchmarks.search_quality_report import compute_regrets, interval, judge, pair, rank_methods
from benchmarks.simulated_search import simulate
from tune_sketch.samplers.incumbent import IncumbentSampler
from tune_sketch.schedulers.rungs import rung_epochs
from tune_sketch.search_spaces import SPACES


class Hill(Task):
    """Best at a learning rate of 1e-3; a second for every epoch."""

    group, name, max_epochs, factors = "toy", "hill", 9, ("learning_rate", "momentum")

    def space(self, trial, limits):
        rate = trial.suggest_float("learning_rate", 1e-5, 1e-1, log=True)
        return {"learning_rate": rate, "momentum": trial.suggest_float("momentum", 0.0, 1.0), "epochs": 9}

    def curve(self, config, seed):
        quality = 1 - abs(np.log10(config["learning_rate"]) + 3) / 2
        values = quality * (1 - np.exp(-np.arange(1, config["epochs"] + 1) / 3))
        return Curve(values, -values, np.ones(len(values)), quality)


class Clock:
    """Stands still but for what a slow sampler takes: how fast this machine is must not matter."""

    def __init__(self):
        self.seconds = 0.0

    def thread_time(self):
        return self.seconds


CLOCK = Clock()


class SlowSampler(IncumbentSampler):
    """Takes 5 ms of processor time for each proposal."""

    def propose(self, number, history):
        CLOCK.seconds += 0.005
        return super().propose(number, history)


def search(method="incumbent", **more):
    task = Hill()
    rungs = rung_epochs(1, 9, 3)
    options: dict[str, Any] = {"num_workers": 4, "times": [9.5, 36.0], "seed": 0, "first": []} | more
    return simulate(
        task,
        lambda search_task: METHODS[method].make_sampler(search_task, **factors_of(method, task)),
        rungs=rungs,
        scheduler_rungs=METHODS[method].rungs(task),
        reduction_factor=3,
        passes=METHODS[method].passes,
        **options,
    )


def test_the_first_configuration_alone_is_one_training():
    first = {"optimizer": "sgd", "momentum": 0.9, "learning_rate": 0.01}
    outcome = search("first-alone", first=[first])
    assert outcome.by_best == pytest.approx([0.5, 0.5])
    assert outcome.num_trials == 1


@pytest.mark.parametrize("method", [method for method in METHODS if method != "first-alone"])
def test_every_method_finds_something_in_the_time_it_has(method):
    outcome = search(method)
    assert len(outcome.by_rung) == len(outcome.by_best) == 2
    assert max(outcome.by_rung) > 0.4
    # Four workers and 36 epochs each; what is trained fully takes 9 of them.
    if METHODS[method].reduction_factor is None and not method.startswith("one-factor"):
        assert outcome.num_trials in (16, 17, 18, 19, 20)
    elif not method.startswith("one-factor"):
        assert outcome.num_trials > 30


def test_the_samplers_own_time_passes(monkeypatch):
    monkeypatch.setattr("tune_sketch.backend.simulated.time", CLOCK)
    monkeypatch.setitem(METHODS, "slow", METHODS["incumbent"]._replace(make_sampler=SlowSampler))
    slow = search("slow", num_workers=100, times=[1.2])
    # The hundredth worker waits half a second for its first suggestion.
    assert slow.sampler_seconds >= 0.5
    assert slow.num_suggestions < 160 < search("incumbent", num_workers=100, times=[1.2]).num_suggestions


def test_a_simulated_search_is_the_same_each_time_where_its_driver_takes_no_time():
    assert search(driver_speed=0.0).by_best == search(driver_speed=0.0).by_best


def make_rows(**regrets_of):
    """Rows of two tasks and two seeds; regret of each method as given, best 1.0, median 0.0."""
    return [
        {"group": "g", "task": task, "method": method, "workers": 8.0, "seed": float(seed), "t": t}
        | {"by_rung": 1.0 - regret, "by_best": 1.0 - regret, "best": 1.0, "median": 0.0}
        | {"num_trials": 10.0, "sampler_ms": 2.0}
        for method, regret in regrets_of.items()
        for task in ("a", "b")
        for seed in range(2)
        for t in (4.0, 8.0)
    ]


def test_regrets_and_intervals():
    rows = make_rows(**{"incumbent": 0.1, "random+asha": 0.3})
    regrets = compute_regrets(rows)
    assert regrets["incumbent", 8.0, 4.0]["a"] == pytest.approx({0: 0.1, 1: 0.1})
    pairs = pair(regrets["incumbent", 8.0, 4.0], regrets["random+asha", 8.0, 4.0])
    assert interval(pairs) == pytest.approx((0.2, 0.2, 0.2))
    assert rank_methods(regrets, 8.0, 4.0, ["incumbent", "random+asha"]) == ({"incumbent": 1.0, "random+asha": 2.0}, 4)
    mean, low, high = interval([np.array([0.0, 1.0]), np.array([0.5, 0.5])])
    assert low < mean == 0.5 < high


def test_a_missed_target_is_named():
    assert judge(make_rows(**{"incumbent": 0.1, "random+asha": 0.3}))[1] == []
    _, missed, last = judge(make_rows(**{"incumbent": 0.3, "random+asha": 0.1}))
    assert any("random+asha, W = 8, t = 4: -0.200" in text for text in missed)
    assert any("random + ASHA is better on g" in text for text in missed)
    assert "random+asha W=8 t=8 -0.200 [-0.200, -0.200] n=4" in last


def test_rows_are_resumed(tmp_path, monkeypatch):
    path = tmp_path / "rows.csv"
    monkeypatch.setattr(search_quality, "TIMES", {4: (1.0, 2.0)})
    searches = list(search_quality.list_searches([Hill()], ["random"], [4], [0, 1]))
    assert search_quality.run_missing(path, searches, seconds=-1.0) == 2
    assert search_quality.run_missing(path, searches, seconds=60.0) == 0
    before = path.read_text()
    assert search_quality.run_missing(path, searches, seconds=60.0) == 0
    assert path.read_text() == before
    rows = search_quality.read_rows(path)
    assert len(rows) == 4
    assert {row["seed"] for row in rows} == {0.0, 1.0}


def test_the_table_comes_back_as_it_was_packed(tmp_path):
    epochs = [dict.fromkeys(METRICS, 0.25), dict.fromkeys(METRICS, 0.5)]
    row = {"task": "t", "configuration": 3, "repeat": 0, "status": "completed", "params": {"x": 1}, "epochs": epochs}
    diverged = row | {"configuration": 4, "status": "diverged", "epochs": epochs[:1]}
    assert "2 trainings of 2 epochs, 1 diverged" in pack_rows([diverged, row], tmp_path / "table.npz")
    (table,) = load_table(tmp_path / "table.npz").values()
    assert table.params == [{"x": 1}, {"x": 1}]
    assert table.metrics["val_top1"][0].tolist() == [0.25, 0.5]
    assert np.isnan(table.metrics["val_top1"][1]).tolist() == [False, True]


@pytest.mark.skipif(not TABLES["sketch"].exists(), reason="the table is recorded by benchmarks/curves/record.py")
def test_the_shipped_table_is_what_its_description_says():
    tables = load_table()
    assert set(tables) == {"doodles", "sketchy"}
    assert sum(int((table.repeat == 0).sum()) for table in tables.values()) >= 400
    assert (tables["sketchy"].repeat == 1).sum() >= 25
    assert TABLES["sketch"].stat().st_size < 1_000_000
    for table in tables.values():
        values = table.metrics["val_top1"]
        assert values.shape == (len(table), 27)
        assert np.nanmin(values) >= 0
        assert np.nanmax(values) <= 1
        for params in table.params:
            assert params["optimizer"] in ("sgd", "rmsprop", "adam", "adamw")
    task = SketchTable("sketchy")
    config = SPACES["baseline"].PAPER | {"epochs": 12}
    curve = task.curve(config, seed=1)
    assert len(curve.values) == len(curve.seconds) == 12
    assert (curve.values != task.curve(config, seed=2).values).any(), "seeds differ"
    assert curve.true_final == task.curve(config, seed=2).true_final

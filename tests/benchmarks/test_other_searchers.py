"""Searchers of other packages on known curves: the space told and understood, the clock, a real process."""

import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.curves.tasks import Curve, PretrainedTable, Task
from benchmarks.other_searchers import __main__ as program
from benchmarks.other_searchers import process
from benchmarks.other_searchers.process import Asked, SearcherProcess, read_versions
from benchmarks.other_searchers.simulation import Space, simulate
from benchmarks.search_quality import read_rows
from benchmarks.search_quality_report import compute_regrets
from tune_sketch.schedulers.rungs import rung_epochs


class Slope(Task):
    """The larger x, the better, by as much in every epoch; a second for each."""

    group, name, max_epochs = "toy", "slope", 9
    first = ({"x": 0.25, "epochs": 9},)

    def space(self, trial, limits):
        return {"x": trial.suggest_float("x", 0.0, 1.0), "epochs": 9}

    def curve(self, config, seed):
        values = config["x"] * np.arange(1, 10) / 9
        return Curve(values, -values, np.ones(9), float(values[-1]))


class Listed(SearcherProcess):
    """Asks for what it is given, one after the other, then for 0.1; each question takes so many seconds."""

    def __init__(self, jobs, every_epoch=False, seconds_each=0.0, stops_at=None):
        self.jobs, self.every_epoch, self.seconds_each, self.stops_at = jobs, every_epoch, seconds_each, stops_at
        self.heard = []

    def begin(self, **task):
        self.task, self.seconds, self.num_asked = task, 0.0, 0

    def ask(self):
        self.seconds += self.seconds_each
        x, epochs = self.jobs[self.num_asked] if self.num_asked < len(self.jobs) else (0.1, 9)
        self.num_asked += 1
        return Asked(self.num_asked - 1, {"x": x}, epochs)

    def report(self, job, epoch, value):
        self.heard.append((job, epoch, value))
        return epoch != self.stops_at


def search(searcher, times, **options):
    task = Slope()
    return simulate(
        task,
        searcher,
        times=times,
        rungs=rung_epochs(1, 9, 3),
        seed=0,
        first=task.first,
        **{"num_workers": 1} | options,
    )


def test_what_is_asked_for_again_goes_on_where_it_ended():
    searcher = Listed([(0.5, 3), (0.9, 3), (0.9, 9)])
    outcome = search(searcher, times=[2.5, 3.5, 6.5, 12.5])
    assert [(job, epoch) for job, epoch, _ in searcher.heard[:3]] == [(0, 3), (1, 3), (2, 9)], "3 + 3 + 6 seconds"
    assert [value for _, _, value in searcher.heard[:3]] == pytest.approx([0.5 / 3, 0.3, 0.9])
    assert outcome.by_best == outcome.by_rung == pytest.approx([0.5, 0.5, 0.9, 0.9])
    assert outcome.num_trials == 3, "with the 0.1 that came after"


def test_what_was_trained_as_far_before_costs_nothing():
    searcher = Listed([(0.5, 9), (0.5, 3), (0.5, 9), (0.8, 9)])
    search(searcher, times=[18.5])
    assert [(job, epoch) for job, epoch, _ in searcher.heard] == [(0, 9), (1, 3), (2, 9), (3, 9)]


def test_a_job_that_is_stopped_frees_its_worker():
    searcher = Listed([(0.2, 9), (0.4, 9)], every_epoch=True, stops_at=2)
    outcome = search(searcher, times=[4.5])
    assert [(job, epoch) for job, epoch, _ in searcher.heard] == [(0, 1), (0, 2), (1, 1), (1, 2)]
    assert outcome.by_best == [0.4]
    assert outcome.by_rung == [0.4], "of the rung of one epoch: none reached the next"


def test_the_thinking_passes_on_the_clock():
    slow = search(Listed([], seconds_each=0.5), times=[30.0], num_workers=10)
    fast = search(Listed([], seconds_each=0.0), times=[30.0], num_workers=10)
    assert slow.sampler_seconds == 0.5 * slow.num_suggestions
    assert slow.num_suggestions < fast.num_suggestions


def test_nothing_found_yet_is_no_value():
    assert search(Listed([]), times=[0.5]).by_best == [None]


def test_a_known_configuration_is_told_and_understood():
    task = PretrainedTable("quickdraw")
    space = Space(task, seed=0)
    described = space.describe()
    assert described["freeze"]["kind"] == "choice"
    assert described["learning_rate"]["log"]
    for config in (*task.first, task.recipe):
        params = space.encode(config)
        assert params.keys() == described.keys()
        decoded = space.decode(params)
        assert {name: decoded[name] for name in config.keys() & decoded.keys()} == {
            name: value for name, value in config.items() if name in decoded
        }
        assert decoded["epochs"] == task.max_epochs


def test_optunas_searcher_in_a_process_begins_with_what_is_known_and_searches_the_same_twice():
    task = {"space": Space(Slope(), 0).describe(), "first": [{"x": 0.25}], "first_epochs": 1, "max_epochs": 9}
    with SearcherProcess(Path(sys.executable), "optuna_hyperband") as searcher:
        searcher.begin(**task, seed=3)
        assert searcher.ask() == Asked(0, {"x": 0.25}, 9)
        found = [search(searcher, times=[40.0, 80.0], driver_speed=0.0) for _ in range(2)]
    assert found[0].by_best == found[1].by_best
    assert found[0].num_trials == found[1].num_trials > 10
    assert found[0].sampler_seconds > 0
    assert found[0].by_best[-1] > 0.8
    assert searcher.process.returncode == 0


def test_a_process_that_fails_is_named_with_what_it_said(tmp_path, monkeypatch):
    (tmp_path / "broken.py").write_text("raise SystemExit('no such package')")
    monkeypatch.setattr(process, "TOOLS", tmp_path)
    with pytest.raises(ValueError, match=r"broken: ended with exit code 1: no such package"):
        SearcherProcess(Path(sys.executable), "broken").begin(seed=0)


def test_rows_are_appended_once(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(program, "load_tasks", lambda which: {"slope": Slope()})
    rows = tmp_path / "rows.csv"
    command = ["--methods", "optuna-hyperband", "--workers", "2", "--seeds", "1", "--rows", str(rows)]
    for _ in range(2):
        assert program.main(command) == 0
    assert capsys.readouterr().out.count("0 searches missing") == 2
    found = read_rows(rows)
    assert [row["t"] for row in found] == [2, 4, 8, 16]
    regrets = compute_regrets(found)["optuna-hyperband", 2.0, 16.0]["slope"][0]
    assert 0 <= regrets < 0.5


def test_the_versions_are_those_of_the_environments():
    assert {name: version.count(".") for name, version in read_versions().items()} == {
        "neural-pipeline-search": 2,
        "smac": 2,
        "syne-tune": 2,
        "DEHB": 2,
    }

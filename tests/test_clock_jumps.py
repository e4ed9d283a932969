"""A machine's clock is set forward or back under a search, or between two sessions: no time is spent by it."""

import itertools
import os
import re
import socket
import time

import pytest

from tests.support.fake_runs import begin_run
from tests.support.in_process import InProcessBackend
from tests.support.whole_run import Killed, make_run, untimed
from tune_sketch.analysis.figures.timeline import tabulate_timeline
from tune_sketch.analysis.report import write_report
from tune_sketch.analysis.run_data import read_run
from tune_sketch.analysis.tables.costs import tabulate_costs
from tune_sketch.events import Epoch, EpochReport, Proposal, Source
from tune_sketch.run import run_search
from tune_sketch.standing.watching import frame
from tune_sketch.status import status_lines
from tune_sketch.storage.facts import read_facts
from tune_sketch.storage.journal import Journal
from tune_sketch.storage.lock import Owner, lock, read_owner
from tune_sketch.storage.reading import open_storage, read_history
from tune_sketch.storage.spent import measure_spent
from tune_sketch.storage.steady_clock import SteadyClock

DAY = 86400.0
NEGATIVE = re.compile(r"(?<![\w.%])[-−]\d[\d.,]* (?:s|min|h|days)\b")
LONG_SECONDS = 600.0  # no search of this test is as long, on any machine


class WrongClock:
    """The machine's clock, which is ahead by so many seconds."""

    def __init__(self, monkeypatch):
        self.ahead_seconds, self.real = 0.0, time.time
        monkeypatch.setattr(time, "time", self)

    def __call__(self):
        return self.real() + self.ahead_seconds


@pytest.fixture
def clock(monkeypatch):
    return WrongClock(monkeypatch)


def assert_nothing_negative(text):
    assert NEGATIVE.findall(text) == []


def text_of(report):
    """The text that a reader of the page sees."""
    code = r"<style.*?</style>|<script.*?</script>|data:[^\"]*"
    text = re.sub(r"<[^>]*>", " ", re.sub(code, "", report.read_text(), flags=re.DOTALL))
    assert "wall clock, pauses included" in text
    return text


def moments_in_order(run):
    """Everything recorded of the run's trainings, by time."""
    history = read_history(run)
    trainings = [*history.trials, *history.later_trainings.values()]
    return sorted((epoch.recorded_at, t.key, epoch.number) for t in trainings for epoch in t.epochs)


@pytest.mark.parametrize("jump_seconds", [DAY, -DAY])
@pytest.mark.parametrize("budget", ["time_budget_seconds", "total_time_seconds"])
def test_a_search_goes_on_when_the_clock_is_set(tmp_path, clock, finished, capsys, monkeypatch, jump_seconds, budget):
    if budget == "time_budget_seconds":  # one report is enough: it takes longer than the search
        monkeypatch.setattr("tune_sketch.analysis.report.write_report", lambda runs, path, *more: path.touch())
    run = make_run(tmp_path / "run", **{budget: LONG_SECONDS})
    reported, looked = [], []

    def jump(key, report):
        clock.ahead_seconds = jump_seconds * (backend.num_reports >= 4)
        if isinstance(report, EpochReport):
            reported.append((key, report.number))
        looked.extend(status_lines(run))
        looked.extend(frame(run, read_facts(run), read_history(run), read_owner(run), 100, 40, blocks="_#"))

    backend, begun = InProcessBackend(jump), time.monotonic()
    assert run_search(run, backend, begun_at=begun)
    took = time.monotonic() - begun

    if budget == "time_budget_seconds":
        assert untimed(run) == untimed(finished), "the same search as where no clock was set"
    assert len(read_history(run).trials) == 5
    assert "is spent" not in (said := capsys.readouterr().err)
    assert "the search ends" not in said
    in_order = moments_in_order(run)
    assert [(key, number) for _, key, number in in_order] == reported
    assert len({moment for moment, *_ in in_order}) == len(in_order)
    (session,) = read_facts(run).sessions
    assert 0 < session.ended_at - session.started_at <= took
    assert 0 < measure_spent([session], read_history(run)).total <= took

    text = "\n".join(looked)
    assert f"owner          process {os.getpid()} on {socket.gethostname()}, for " in text
    assert "days" not in text, "what a day has to do with is not shown"
    assert_nothing_negative(text)
    if budget == "total_time_seconds":
        assert "total time" in text
        assert_nothing_negative("\n".join(status_lines(run)))
        assert_nothing_negative(text_of(run.report_html))


@pytest.mark.usefixtures("no_report")
@pytest.mark.parametrize("ahead_seconds", [DAY, -DAY])
def test_the_next_session_is_later_whatever_its_clock_says(tmp_path, clock, finished, ahead_seconds):
    run = make_run(tmp_path / "run", time_budget_seconds=LONG_SECONDS)
    reported = []

    def kill(key, report):
        if backend.num_reports == 6:
            raise Killed
        if isinstance(report, EpochReport):
            reported.append((key, report.number))

    backend, begun = InProcessBackend(kill), time.monotonic()
    with pytest.raises(Killed):
        run_search(run, backend)
    first = moments_in_order(run)
    clock.ahead_seconds = ahead_seconds
    assert run_search(run, InProcessBackend(lambda key, report: reported.append((key, getattr(report, "number", 0)))))
    assert untimed(run) == untimed(finished)
    in_order = moments_in_order(run)
    assert in_order[: len(first)] == first
    known = dict.fromkeys(reported)  # the epoch of a checkpoint is reported again, and recorded once
    assert [(key, number) for _, key, number in in_order] == [what for what in known if what[1]]
    sessions = read_facts(run).sessions
    assert first[-1][0] < sessions[1].started_at < in_order[len(first)][0]
    assert 0 < measure_spent(sessions, read_history(run)).total <= time.monotonic() - begun


def test_an_older_record_in_which_a_clock_jumped_shows_nothing_negative(tmp_path):
    """Versions until this one recorded what the machine's clock said."""
    run, journal = begin_run(tmp_path / "run", num_samples=6)
    journal.close()
    ticks = itertools.count(2e9)
    jumps = {7: DAY, 12: -DAY, 17: 0.0}  # between epochs of a trial, each of which takes five looks at the clock

    def jumping():
        moment = next(ticks)
        return moment + jumps[max((at for at in jumps if 2e9 + at <= moment), default=17)]

    journal = Journal(open_storage(run, read_facts(run)), "fake", clock=jumping)
    for number in range(6):
        config = {"epochs": 3, "batch_size": 16, "optimizer": "sgd", "learning_rate": 0.1}
        trial = journal.add_trial(Proposal(config, {}, {}, Source("paper" if not number else "random")), 0)
        metrics = {"val_top1": 0.5, "val_top5": 0.9, "val_loss": 1.0, "train_loss": 1.0, "train_top1": 0.5}
        metrics |= {"train_top5": 0.9, "learning_rate": 0.1, "epoch_seconds": 1.0, "images_per_second": 9.0}
        for epoch in range(1, 4):
            journal.record_epoch(trial.key, Epoch(epoch, metrics | {"micro_batch": 16, "frozen_views": 0}))
        journal.end(trial.key, "completed")
    recorded = [epoch.recorded_at for trial in journal.trials for epoch in trial.epochs]
    assert max(recorded) - min(recorded) > 1.9 * DAY
    last = journal.add_last_step(0, config, 0, None)
    assert last.started_at > 2e9
    ticks = itertools.count(2e9 - DAY)
    journal.record_epoch(last.key, Epoch(1, metrics | {"micro_batch": 16, "frozen_views": 0}))
    assert journal.last_steps[last.key].epochs[0].recorded_at < last.started_at - 0.9 * DAY
    with lock(run):
        assert_nothing_negative("\n".join(status_lines(run)))
    assert_nothing_negative("\n".join(status_lines(run)))
    data = read_run(run.path)
    stretches = tabulate_timeline(data)
    assert all(row["end_seconds"] > row["start_seconds"] >= 0 for row in stretches)
    assert [row["wall_seconds"] >= 0 for row in tabulate_costs(data)] == [True, True]
    write_report([run.path], run.report_html)
    assert_nothing_negative(text_of(run.report_html))
    spent = measure_spent(data.facts.sessions, journal)
    assert min(spent.preparation, spent.search, spent.retraining, spent.ending) >= 0


def test_how_long_an_owner_is_at_work(clock):
    here, now, then = socket.gethostname(), time.time(), time.monotonic() - 50.0
    for clock.ahead_seconds in (0.0, DAY, -DAY):
        assert Owner(here, 7, now - 50.0, then).seconds() == pytest.approx(50.0, abs=5.0)
    assert Owner("elsewhere", 7, now - 50.0, then).seconds() == 0.0, "its clock is ahead of ours"
    clock.ahead_seconds = 0.0
    assert Owner("elsewhere", 7, now - 50.0, 1e9).seconds() == pytest.approx(50.0, abs=5.0)
    assert Owner(here, 7, now - 50.0).seconds() == pytest.approx(50.0, abs=5.0), "of an earlier version"
    assert Owner("unknown", 0, 0.0).seconds() is None


def test_the_steady_clock(clock):
    steady = SteadyClock()
    for clock.ahead_seconds in (DAY, -DAY, 0.0):
        assert steady() == pytest.approx(time.time() - clock.ahead_seconds, abs=5.0)
    later = time.time() + DAY
    assert 0 <= SteadyClock(later)() - later < 5.0
    for damaged in (1e300, float("inf"), float("nan"), -5.0):
        assert SteadyClock(damaged)() == pytest.approx(time.time(), abs=5.0)

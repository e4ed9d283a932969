"""A run within --total-time, in this process: whatever the time, it ends with a network, and not late."""

import json
import math
import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.support.facts import make_session
from tests.support.in_process import InProcessBackend
from tests.support.trials import add_trial, make_trial, train
from tests.support.whole_run import Killed, make_run
from tune_sketch.config.plan import plan_lines, prepare_inputs
from tune_sketch.config.settings import Settings
from tune_sketch.config.total_time import KEPT_LAST_STEP_LENGTH, LAST_STEP_LENGTH, REPORT_SECONDS, START_SECONDS, divide
from tune_sketch.events import EpochReport
from tune_sketch.retraining.time_plan import find_candidates
from tune_sketch.retraining.timetable import PLAN_NOTE, SearchEnd, Timetable
from tune_sketch.run import confirm_run, run_search
from tune_sketch.schedulers.stop_signal import StopSignal
from tune_sketch.storage.facts import read_facts
from tune_sketch.storage.files import read_csv
from tune_sketch.storage.journal import Journal
from tune_sketch.storage.reading import read_history
from tune_sketch.storage.resume import prepare_resume
from tune_sketch.storage.run_directory import RunDirectory
from tune_sketch.storage.spent import measure_spent

EPOCH = 10.0  # seconds of an epoch


@pytest.fixture(autouse=True)
def no_report(monkeypatch):
    monkeypatch.setattr("tune_sketch.analysis.report.write_report", lambda runs, path, *more: path.touch())


@pytest.fixture
def clock(monkeypatch):
    """Stands still but for the epochs."""
    clock = Clock()
    monkeypatch.setattr(time, "time", clock)
    monkeypatch.setattr(time, "monotonic", clock)
    return clock


class Clock:
    def __init__(self):
        self.now = 1e9

    def __call__(self):
        self.now += 1e-4  # two moments are never the same
        return self.now


class SlowBackend(InProcessBackend):
    """Every epoch takes EPOCH seconds of the clock."""

    def __init__(self, clock, seconds=EPOCH, kill_at=None):
        super().__init__()
        self.clock, self.seconds, self.kill_at = clock, seconds, kill_at

    def pass_on(self, key, report):
        if self.kill_at == self.num_reports:
            raise Killed
        if not isinstance(report, EpochReport):
            return report
        self.clock.now += self.seconds
        times = {"epoch_seconds": self.seconds, "images_per_second": 1e9}
        return replace(report, metrics={**report.metrics, **times})


def search_within(tmp_path, clock, seconds, backend=None, **changes):
    """A run of which each epoch takes EPOCH seconds, and how long it took, in seconds of the clock."""
    begun_at = clock()
    changes = {"num_samples": 50, "max_epochs": 4, "retraining_seeds": 2, "last_step": False} | changes
    run = make_run(tmp_path / "run", total_time_seconds=seconds, **changes)
    clock.now += 3.0  # of decoding
    assert run_search(run, backend or SlowBackend(clock), begun_at=begun_at)
    return run, clock() - begun_at


def check_network(run):
    model = json.loads((run.best / "model.json").read_text())
    assert (run.best / "weights.safetensors").stat().st_size > 0
    assert run.report_html.exists()
    assert len(read_csv(run.predictions_csv)) == read_facts(run).data.num_test
    assert list((run.path / "checkpoints").glob("trial-*/*.pt")) == [] or any(
        trial.is_unfinished for trial in read_history(run).trials
    )
    return model


@pytest.mark.parametrize("seconds", [1.0, 40.0, 120.0, 300.0, 900.0])
def test_it_ends_in_time_with_a_network(tmp_path, clock, seconds):
    run, took = search_within(tmp_path, clock, seconds)
    assert took <= max(seconds, 3.0) + EPOCH + 1.0
    model = check_network(run)
    history = read_history(run)
    completed = [trial for trial in history.retrainings.values() if trial.status == "completed"]
    assert completed
    for trial in completed:
        candidates = find_candidates(history.trials, 1, fewest_epochs=2)
        least = {c.number: c.least_epochs for c in candidates}[trial.number]
        assert len(trial.epochs) >= least or trial.is_of_search
    if seconds < 50:
        assert model["retraining"].endswith("-00"), "the search's own network, for want of time"
    if seconds >= 300:
        best = max(history.trials, key=lambda t: (t.best_epoch.val_top1 if t.epochs else -1, -t.number))
        assert all(trial.seed_index for trial in completed)
        assert best.number in {trial.number for trial in completed}
    spent = measure_spent(read_facts(run).sessions, history)
    assert spent.total == pytest.approx(took, abs=0.5)
    assert spent.preparation == pytest.approx(3.0, abs=0.5)


def test_the_search_has_the_time_that_retraining_does_not_need(tmp_path, clock):
    run, _ = search_within(tmp_path, clock, 4000.0, num_samples=8)
    history, division = read_history(run), read_facts(run).division
    spent = measure_spent(read_facts(run).sessions, history)
    assert division == divide(4000.0, division.preparation_seconds, last_step=False)
    assert division.preparation_seconds == pytest.approx(3.0, abs=0.5)
    assert all(not trial.is_unfinished for trial in history.trials)
    assert len(history.trials) == 8, "all that were asked for"
    assert len(history.retrainings) == 6, "paper, recipe and best on two seeds, none was left out"
    assert spent.total < 4000.0


def test_what_a_killed_session_used_counts_and_the_division_stays(tmp_path, clock):
    run, _ = make_killed(tmp_path, clock, kill_at=16)
    division = read_facts(run).division
    clock.now += 1e6  # nobody was at work
    begun_at = clock()
    assert run_search(run, SlowBackend(clock), begun_at=begun_at)
    second = clock() - begun_at
    assert read_facts(run).division == division
    assert 15 * EPOCH + second <= 300.0 + 2 * EPOCH
    assert 15 * EPOCH + second >= 200.0, "nor did the pause count"
    check_network(run)


def make_killed(tmp_path, clock, kill_at):
    begun_at = clock()
    changes = {"last_step": False, "num_samples": 50, "max_epochs": 4, "retraining_seeds": 2}
    run = make_run(tmp_path / "run", total_time_seconds=300.0, **changes)
    with pytest.raises(Killed):
        run_search(run, SlowBackend(clock, kill_at=kill_at), begun_at=begun_at)
    return run, clock() - begun_at


def test_killed_while_it_retrains_it_does_not_search_on(tmp_path, clock):
    run, took = make_killed(tmp_path, clock, kill_at=24)
    before = read_history(run)
    assert before.retrainings
    assert before.notes[PLAN_NOTE]["total_seconds"] == 300.0
    begun_at = clock()
    assert run_search(run, SlowBackend(clock), begun_at=begun_at)
    assert took + clock() - begun_at <= 300.0 + 2 * EPOCH
    assert read_history(run).trials == before.trials or all(
        a.epochs == b.epochs for a, b in zip(read_history(run).trials, before.trials, strict=True)
    )
    check_network(run)


def test_a_finished_run_has_nothing_to_do_until_it_has_more_time(tmp_path, clock):
    run, _ = search_within(tmp_path, clock, 300.0)
    before = read_history(run)
    backend = SlowBackend(clock)
    assert run_search(run, backend)
    assert (backend.num_reports, backend.num_scored) == (0, 0)
    prepare_resume(run, {"total_time_seconds": 600.0})
    begun_at = clock()
    assert run_search(run, SlowBackend(clock), begun_at=begun_at)
    assert 200.0 <= clock() - begun_at <= 300.0 + 2 * EPOCH
    after = read_history(run)
    assert sum(len(t.epochs) for t in after.trials) > sum(len(t.epochs) for t in before.trials)
    assert read_facts(run).division.total_seconds == 600.0
    check_network(run)


def test_a_search_that_began_without_it_still_gets_its_network(tmp_path, clock):
    """No checkpoint of an ended trial was kept, and the time is over before the first retraining."""
    run = make_run(tmp_path / "run", num_samples=3, max_epochs=4, last_step=False)
    with pytest.raises(Killed):
        run_search(run, SlowBackend(clock, kill_at=12))
    shutil.rmtree(run.path / "checkpoints")
    prepare_resume(run, {"total_time_seconds": 20.0})
    assert run_search(run, SlowBackend(clock))
    (trial,) = read_history(run).retrainings.values()
    assert trial.status == "completed"
    check_network(run)


def test_time_budget_ends_the_search_earlier(tmp_path, clock):
    run, _ = search_within(tmp_path, clock, 900.0, time_budget_seconds=60.0)
    searched = sum(len(trial.epochs) for trial in read_history(run).trials)
    assert 6 <= searched <= 8
    assert all(trial.seed_index for trial in read_history(run).retrainings.values())


def test_a_confirmation_is_asked_for_whatever_time_it_is(tmp_path, clock):
    run, _ = search_within(tmp_path, clock, 120.0)
    prepare_resume(run, {"retraining_seeds": 3})
    before = len(read_history(run).retrainings)
    assert confirm_run(run, SlowBackend(clock))
    assert len(read_history(run).retrainings) > before
    check_network(run)


@pytest.mark.parametrize(
    ("last_step", "parts"),
    [
        (False, "at least 8 min of search, at most 2 min of retraining"),
        (True, "at least 6 min of search, at most 2 min of retraining, 2 min of last step"),
    ],
)
def test_the_plan_says_how_the_time_is_divided(last_step, parts):
    times = {"total_time_seconds": 600.0, "time_budget_seconds": 60.0}
    settings = Settings("baseline", weights="none", classes=3, last_step=last_step, **times)
    lines = plan_lines(settings, prepare_inputs(settings), 12.0)
    assert f"total     10 min: 12 s of preparation, {parts}, about 20 s of test and report" in lines
    assert "budget    the search ends earlier after 60 s of searching" in lines


def test_the_division_adds_up():
    for total, prepared in ((10.0, 0.0), (60.0, 5.0), (600.0, 12.0), (1e5, 1.0), (5.0, 30.0)):
        for last_step in (False, True):
            division = divide(total, prepared, last_step=last_step)
            parts = (
                division.preparation_seconds,
                division.search_seconds,
                division.retraining_seconds,
                division.last_step_seconds,
                division.ending_seconds,
            )
            assert min(parts) >= 0.0
            assert (division.last_step_seconds > 0) <= last_step
            if prepared < total / 2:
                assert sum(parts) == pytest.approx(total)
                assert division.search_seconds > division.retraining_seconds > 0
    assert divide(600.0, 0.0, last_step=True).ending_seconds == 2 * START_SECONDS + REPORT_SECONDS


def test_a_run_of_before_has_no_division(tmp_path):
    run = RunDirectory(Path(tmp_path) / "run")
    assert read_facts(make_run(run.path)).division is None


def test_time_is_kept_for_a_last_step(tmp_path, clock):
    """With it the run ends no later than it may, and the network that the last step gave is in best/."""
    run, took = search_within(tmp_path, clock, 1500.0, num_samples=50, last_step=True)
    (last,) = read_history(run).last_steps.values()
    assert (last.status, last.test is None) == ("completed", False)
    assert took <= 1500.0 + EPOCH
    check_network(run)
    assert json.loads((run.best / "model.json").read_text())["retraining"] == last.key


def test_what_time_is_left_for_beyond_what_was_kept_is_taken(tmp_path, clock):
    """The search ends early, for it has no more trials."""
    run, took = search_within(tmp_path, clock, 1500.0, num_samples=2, retraining_seeds=1, last_step=True)
    history = read_history(run)
    (last,) = history.last_steps.values()
    followed = len(history.retrainings[last.follows].epochs)
    assert len(last.epochs) == followed > math.ceil(KEPT_LAST_STEP_LENGTH * followed)
    assert took < 1500.0


@pytest.mark.parametrize("seconds", [200.0, 400.0, 550.0, 900.0])
def test_with_a_last_step_the_search_has_its_part_and_nothing_is_late(tmp_path, clock, seconds):
    run, took = search_within(tmp_path, clock, seconds, max_epochs=12, retraining_seeds=1, last_step=True)
    assert took <= seconds + EPOCH + 1.0
    facts, history = read_facts(run), read_history(run)
    assert measure_spent(facts.sessions, history).search >= facts.division.search_seconds - 2 * EPOCH
    networks = [trial for trial in history.retrainings.values() if trial.status == "completed"]
    lasts = [trial for trial in history.last_steps.values() if trial.status == "completed"]
    for last in lasts:
        assert json.loads((run.best / "model.json").read_text())["retraining"] == last.key
        assert last.test is not None
        followed = len(history.retrainings[last.follows].epochs)
        assert 0 < len(last.epochs) <= math.ceil(LAST_STEP_LENGTH * followed)
    card, first = (run.best / "README.md").read_text(), networks[0]
    is_of_search = any(trial.is_of_search for trial in networks)
    assert read_csv(run.winner_csv)[0]["network"] == ("of the search" if is_of_search else "retrained")
    if is_of_search:
        assert len(networks) == 1, "no time was spent on a retraining without a last step"
        assert f"trained in the search, and not again, for {len(first.epochs)} epochs" in card
        assert f"epochs {len(first.epochs)}," in card
    else:
        assert "trained again for" in card
    assert lasts or seconds < 900.0


def test_where_there_is_no_time_to_confirm_it_is_kept_for_the_last_step_of_the_searchs_own_network(tmp_path, clock):
    """The best trained 20 epochs of 10 s; with a third more drawings its last step takes 117 s."""
    kept = {}
    for seconds in (240.0, 400.0, 700.0, 1400.0, 4000.0):
        run = make_run(tmp_path / f"{seconds}", total_time_seconds=seconds, max_epochs=20, retraining_seeds=1)
        facts = read_facts(run)
        facts = replace(
            facts,
            sessions=(make_session(clock()),),
            division=divide(seconds, 0.0, last_step=True),
            data=replace(facts.data, num_train=300, num_validation=100),
        )
        journal = Journal(clock=clock)
        trial = train(journal, add_trial(journal, 20), np.linspace(0.1, 0.5, 20), "completed", epoch_seconds=EPOCH)
        timetable = Timetable(facts, journal, 1)
        kept[seconds] = timetable.retraining_end(1) - timetable.search_end()
        own = timetable.own_last_step_seconds(KEPT_LAST_STEP_LENGTH)
        assert own == pytest.approx(timetable.start_seconds() + 0.4 * 4 / 3 * (trial.train_seconds + 2 * EPOCH))
    assert kept[240.0] == pytest.approx(0.0, abs=0.1), "not even a short one fits into a fifth of the time"
    assert kept[400.0] == pytest.approx(divide(400.0, 0.0, last_step=True).last_step_seconds, abs=0.1), "a short one"
    assert kept[700.0] == pytest.approx(own, abs=0.1), "a retraining does not fit as well"
    assert kept[1400.0] == pytest.approx(200.0 + 0.4 * 4 / 3 * 200.0, abs=EPOCH), "a retraining and its last step"
    assert kept[4000.0] == pytest.approx(kept[1400.0], abs=0.1), "there is nothing else to retrain"


def test_looking_at_the_end_takes_a_twentieth_of_the_driver_at_most(tmp_path, clock):
    """A look goes over all epochs: with a thousand trials it takes longer than some epochs."""

    class Costly:
        total_seconds, end, num_looks, last_step = 900.0, 2e9, 0, 0.0

        def search_end(self):
            self.num_looks += 1
            clock.now += 0.5
            return 1.5e9

        def is_search_over(self):
            return False

    timetable, trial = Costly(), make_trial(0, [0.5])
    stop = StopSignal(RunDirectory(tmp_path), print)
    stop.close()  # signals are the process's own affair again
    end = SearchEnd(timetable, stop, [trial])
    for _ in range(100):
        clock.now += 1.0
        end.on_epoch(trial)
    assert timetable.num_looks in range(8, 13), "each after ten seconds"
    assert stop.deadline == 1.5e9

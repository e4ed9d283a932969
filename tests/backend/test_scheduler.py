"""ASHA on the journal decides as Ray's ASHA does, remembers, and never compares different epochs."""

import random
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from ray.tune.experiment import Trial
from ray.tune.schedulers import ASHAScheduler, TrialScheduler

from tests.storage.test_journal import make_metrics
from tune_sketch.backend.scheduler import JournaledASHA
from tune_sketch.schedulers.rungs import arrivals, expected_epochs_per_trial, rung_epochs, value_at_rung
from tune_sketch.storage.journal import PATIENCE_SECONDS, Journal

ROOT = Path(__file__).parents[2]


class Screen:
    def __init__(self):
        self.seen = []

    def on_epoch(self, record):
        self.seen.append((record.key, len(record.epochs)))

    def on_end(self, record):
        self.seen.append((record.key, record.status))


@pytest.fixture
def journal(tmp_path):
    return Journal(f"sqlite:///{tmp_path / 'study.db'}", "s", create=True)


def add_trial(journal, epochs=9):
    return journal.add_trial({"epochs": epochs}, {}, {}, seed=0, origin={"kind": "random", "rung": None})


def report(scheduler, record, epoch, value, status="epoch", **changes):
    metrics = {f"metrics/{name}": v for name, v in make_metrics(epoch, value).items()}  # as Ray flattens them
    result = {"status": status, "error": "boom", "warning": "", "checkpoint_epoch": epoch, **metrics}
    trial = SimpleNamespace(config={"key": record.key}, trial_id=record.key)
    return scheduler.on_trial_result(None, trial, result | changes)


@pytest.mark.parametrize(
    ("grace", "most", "factor", "expected"),
    [
        (1, 9, 3, [1, 3, 9]),
        (1, 243, 3, [1, 3, 9, 27, 81, 243]),
        (2, 12, 3, [2, 6, 12]),
        (5, 5, 3, [5]),
        (1, 1, 2, [1]),
    ],
)
def test_rungs_are_whole_numbers(grace, most, factor, expected):
    assert rung_epochs(grace, most, factor) == expected


def test_a_free_process_goes_to_the_newest_trial_that_waits(journal):
    statuses = (Trial.TERMINATED, Trial.PENDING, Trial.RUNNING, Trial.PENDING, Trial.RUNNING)
    trials = [SimpleNamespace(trial_id=str(number), status=status) for number, status in enumerate(statuses)]
    scheduler = JournaledASHA(journal, [1, 3, 9], 3, watchers=[])
    assert scheduler.choose_trial_to_run(SimpleNamespace(get_trials=lambda: trials)) is trials[3]
    assert scheduler.choose_trial_to_run(SimpleNamespace(get_trials=lambda: trials[:1])) is None


@pytest.mark.real
def test_trials_shorter_than_the_start_of_a_process_let_other_processes_start(tmp_path):
    """As many workers come up as are asked for, and are reused: else a machine that joins late would stay idle."""
    code = f"""
from pathlib import Path
from benchmarks.scale import run_on_ray
[row] = run_on_ray(Path({str(tmp_path)!r}), 8, (0.05,), 1, 2.0)
print(row["workers"], row["trials"])
"""
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, cwd=ROOT)
    assert answer.returncode == 0, answer.stderr
    num_workers, num_trials = map(int, answer.stdout.split())
    assert num_workers == 8
    assert num_trials > 0


def test_expected_epochs():
    assert expected_epochs_per_trial([1, 3, 9], 3) == pytest.approx(1 + 2 / 3 + 6 / 9)


def test_decisions_equal_those_of_rays_asha(journal):
    """600 reports of 60 interleaved trials: the same decision each time as ray.tune's class."""
    ours = JournaledASHA(journal, [1, 3, 9], 3, watchers=[])
    rays = ASHAScheduler(time_attr="epoch", metric="val_top1", mode="max", max_t=9, grace_period=1, reduction_factor=3)
    rng = random.Random(0)
    running, epochs_of, num_stopped = [], {}, 0
    for _ in range(600):
        if len(running) < 4:
            record = add_trial(journal)
            running.append(record)
            epochs_of[record.key] = 0
            rays.on_trial_add(None, SimpleNamespace(trial_id=record.key))
        record = rng.choice(running)
        epochs_of[record.key] += 1
        epoch, value = epochs_of[record.key], rng.choice([0.1, 0.2, 0.3, 0.4, 0.5])
        decision = report(ours, record, epoch, value)
        theirs = rays.on_trial_result(None, SimpleNamespace(trial_id=record.key), {"epoch": epoch, "val_top1": value})
        assert decision == theirs
        if decision == TrialScheduler.STOP:
            running.remove(record)
            num_stopped += record.status == "stopped"
    assert num_stopped > 20
    assert any(record.status == "completed" for record in journal.trials)


def test_an_epoch_done_again_is_neither_recorded_nor_decided_twice(journal):
    screen = Screen()
    scheduler = JournaledASHA(journal, [1, 3, 9], 3, watchers=[screen])
    record = add_trial(journal)
    for epoch in (1, 2):
        report(scheduler, record, epoch, 0.5)
    assert report(scheduler, record, 1, 0.5) == TrialScheduler.CONTINUE
    assert len(record.epochs) == 2


def test_a_decision_that_a_kill_prevented_is_made_with_the_values_of_its_time(journal):
    scheduler = JournaledASHA(journal, [1, 3, 9], 3, watchers=[])
    for value in (0.5, 0.6, 0.7):
        report(scheduler, add_trial(journal), 1, value)
    low = add_trial(journal)
    journal.record_epoch(low, make_metrics(1, 0.1))  # recorded, then killed before the decision
    again = JournaledASHA(Journal(journal.url, "s"), [1, 3, 9], 3, watchers=[])
    record = again.journal.trials[low.number]
    assert report(again, record, 1, 0.1) == TrialScheduler.STOP
    assert record.status == "stopped"
    # A trial that was let through stays through, though better ones came later.
    first = again.journal.trials[0]
    assert report(again, first, 1, 0.5) == TrialScheduler.CONTINUE


def test_endings_carry_no_value_into_a_rung(journal):
    saved = []
    scheduler = JournaledASHA(
        journal, [1, 3, 9], 3, watchers=[], save_error=lambda record, text: saved.append((record.key, text))
    )
    record = add_trial(journal)
    assert report(scheduler, record, 1, 0.0, status="diverged") == TrialScheduler.STOP
    assert record.status == "diverged"
    assert record.epochs == []
    assert arrivals(journal.trials, 1) == {}
    assert saved == [("trial-0000", "boom")]


def test_asked_to_stop_it_waits_for_a_checkpoint_and_parks(journal):
    scheduler = JournaledASHA(journal, [3, 9], 3, watchers=[], stop_asked=lambda: True)
    record = add_trial(journal)
    assert report(scheduler, record, 1, 0.5, checkpoint_epoch=0) == TrialScheduler.CONTINUE
    assert report(scheduler, record, 2, 0.5) == TrialScheduler.STOP
    assert record.status == "waiting"
    assert len(record.epochs) == 2


def test_a_full_disk_is_waited_for(journal):
    """The epoch is kept by the trial and recorded when there is room; after long enough the search ends."""
    said, stopping = [], []
    scheduler = JournaledASHA(
        journal, [3, 9], 3, watchers=[], stop_asked=lambda: bool(stopping), say=lambda line: said.append(line)
    )
    first, second = add_trial(journal), add_trial(journal)
    for record in (first, second, first):
        assert report(scheduler, record, 1, 0.5, status="not_written", error="disk full") == TrialScheduler.CONTINUE
    assert len(said) == 1, "it is said once"
    assert "trial-0000: disk full; waiting" in said[0]
    assert report(scheduler, first, 1, 0.5) == TrialScheduler.CONTINUE
    assert "can be written again" in said[1]
    assert (len(first.epochs), len(second.epochs)) == (1, 0)

    assert report(scheduler, first, 2, 0.5, status="not_written", error="disk full") == TrialScheduler.CONTINUE
    scheduler.full_since -= PATIENCE_SECONDS
    with pytest.raises(OSError, match=r"trial-0000: disk full\. What was recorded is safe; mend the disk, then resume"):
        report(scheduler, first, 2, 0.5, status="not_written", error="disk full")
    stopping.append(True)
    assert report(scheduler, first, 2, 0.5, status="not_written", error="disk full") == TrialScheduler.STOP
    assert (first.status, len(first.epochs)) == ("waiting", 1)


def test_a_process_that_dies_too_often_is_a_failed_trial(journal):
    said = []
    scheduler = JournaledASHA(journal, [3, 9], 3, max_failures=2, watchers=[], say=said.append)
    record = add_trial(journal)
    report(scheduler, record, 1, 0.5)
    trial = SimpleNamespace(config={"key": record.key}, trial_id=record.key, node_ip="10.0.0.7", error_file=None)
    for retry in (1, 2):
        scheduler.on_trial_error(None, trial)
        assert record.is_unfinished
        assert (
            f"its process died on 10.0.0.7 after epoch 1; it goes on from its checkpoint (retry {retry} of 2)"
            in said[-1]
        )
    scheduler.on_trial_error(None, trial)
    assert (record.status, record.error) == ("failed", "its process died on 10.0.0.7 (3 times)")
    assert len(record.epochs) == 1


def test_retrainings_are_never_stopped(journal):
    scheduler = JournaledASHA(journal, [1, 3, 9], 3, watchers=[])
    for value in (0.5, 0.6, 0.7):
        report(scheduler, add_trial(journal), 1, value)
    retraining = journal.add_retraining(0, 1, {"epochs": 9}, seed=1)
    assert report(scheduler, retraining, 1, 0.01) == TrialScheduler.CONTINUE
    for epoch in range(2, 10):
        decision = report(scheduler, retraining, epoch, 0.01)
    assert decision == TrialScheduler.STOP
    assert retraining.status == "completed"


def test_a_trial_that_ended_by_itself_counts_at_later_rungs(journal):
    scheduler = JournaledASHA(journal, [1, 3, 9], 3, watchers=[])
    short = add_trial(journal, epochs=2)
    report(scheduler, short, 1, 0.3)
    assert value_at_rung(short, 9) is None
    assert report(scheduler, short, 2, 0.4) == TrialScheduler.STOP
    assert short.status == "completed"
    assert value_at_rung(short, 1)[0] == 0.3
    assert value_at_rung(short, 9)[0] == 0.4

"""A training's reports are recorded first, then acted on: epochs, endings, full disks, dead processes."""

import pytest

from tests.support.trials import add_trial, make_metrics, train
from tests.support.untrained import make_job
from tune_sketch.events import DeathReport, EndingReport, EpochReport, HinderedReport, NotWrittenReport, Worker
from tune_sketch.schedulers.asha import ASHA, NEVER_STOP
from tune_sketch.schedulers.queue import TrialQueue
from tune_sketch.schedulers.recorder import Recorder
from tune_sketch.schedulers.rungs import values_at
from tune_sketch.storage.database import open_log
from tune_sketch.storage.journal import PATIENCE_SECONDS, Journal

RUNGS = [1, 3, 9]


class Screen:
    def __init__(self):
        self.seen = []

    def on_epoch(self, trial):
        self.seen.append((trial.key, len(trial.epochs)))

    def on_end(self, trial):
        self.seen.append((trial.key, trial.status))


@pytest.fixture
def journal():
    return Journal()


def make_recorder(journal, asha=ASHA(RUNGS, 3), **more):  # noqa: B008
    return Recorder(journal, TrialQueue(journal, [], lambda: None, make_job), asha, **more)


def report(recorder, trial, epoch, value=0.5, **changes):
    fields = {"metrics": make_metrics(value), "worker": Worker("here", 1), "checkpoint_epoch": epoch} | changes
    return recorder(trial.key, EpochReport(epoch, **fields))


def test_callbacks_hear_of_every_epoch_and_ending_once_it_is_recorded(journal):
    screen, trial = Screen(), add_trial(journal, 2)
    recorder = make_recorder(journal, callbacks=[screen])
    assert report(recorder, trial, 1) == "continue"
    assert report(recorder, trial, 2) == "stop"
    assert screen.seen == [(trial.key, 1), (trial.key, 2), (trial.key, "completed")]
    assert report(recorder, trial, 3) == "stop", "an ended trial does not go on"
    assert len(journal.trials[0].epochs) == 2


class FullDisk:
    def __init__(self, what):
        self.what = what

    def on_epoch(self, trial):
        raise OSError(f"{self.what} cannot be written: No space left on device")

    on_end = on_epoch


def test_callbacks_that_cannot_write_end_no_search_and_each_is_said_once(journal):
    said, screen, trial = [], Screen(), add_trial(journal, 2)
    recorder = make_recorder(journal, callbacks=[FullDisk("the log"), screen, FullDisk("a table")], say=said.append)
    assert report(recorder, trial, 1) == "continue"
    assert report(recorder, trial, 2) == "stop"
    assert screen.seen == [(trial.key, 1), (trial.key, 2), (trial.key, "completed")]
    assert len(said) == 2
    for line, what in zip(said, ("the log", "a table"), strict=True):
        assert f"{what} cannot be written: No space left on device; the search goes on" in line


def test_an_epoch_done_again_is_neither_recorded_nor_decided_twice(journal):
    screen, trial = Screen(), add_trial(journal, 9)
    recorder = make_recorder(journal, callbacks=[screen])
    for epoch in (1, 2):
        report(recorder, trial, epoch, 0.5)
    assert report(recorder, trial, 1, 0.1) == "continue"
    assert [epoch.val_top1 for epoch in journal.trials[0].epochs] == [0.5, 0.5]
    assert len(screen.seen) == 2


def test_the_decision_is_stored_with_its_epoch(journal):
    recorder = make_recorder(journal)
    for value in (0.5, 0.6, 0.7, 0.1):
        report(recorder, add_trial(journal, 9), 1, value)
    decisions = [trial.epochs[0].decision for trial in journal.trials]
    assert [decision.verdict for decision in decisions] == ["continue", "continue", "continue", "stop"]
    assert [decision.num_compared for decision in decisions] == [0, 1, 2, 3]
    assert journal.trials[3].status == "stopped"


def test_a_decision_whose_ending_a_kill_prevented_is_carried_out(tmp_path):
    journal = Journal(open_log(tmp_path / "journal.log"), "s", create=True)
    recorder = make_recorder(journal)
    for value in (0.5, 0.6, 0.7):
        report(recorder, add_trial(journal, 9), 1, value)
    low = add_trial(journal, 9)
    recorder.is_settled = lambda trial: False  # killed before the ending
    report(recorder, low, 1, 0.1)
    again = Journal(open_log(tmp_path / "journal.log"), "s")
    assert again.trials[low.number].is_unfinished
    # The training begins with a report of its checkpoint's epoch.
    assert report(make_recorder(again), low, 1, 0.1) == "stop"
    assert again.trials[low.number].status == "stopped"
    # A trial that was let through stays through, though better ones came later.
    assert report(make_recorder(again), again.trials[0], 1, 0.5) == "continue"


def test_endings_carry_no_value_into_a_rung(journal):
    saved, trial = [], add_trial(journal, 9)
    recorder = make_recorder(journal, save_error=lambda key, text: saved.append((key, text)))
    assert recorder(trial.key, EndingReport("diverged", "Traceback\nboom\n")) == "stop"
    assert (journal.trials[0].status, journal.trials[0].error, journal.trials[0].epochs) == ("diverged", "boom", ())
    assert values_at(journal.trials, 1) == {}
    assert saved == [("trial-0000", "Traceback\nboom\n")]


def test_asked_to_stop_it_waits_for_a_checkpoint_and_pauses(journal):
    recorder, trial = make_recorder(journal, stop_requested=lambda: True), add_trial(journal, 9)
    assert report(recorder, trial, 1, 0.5, checkpoint_epoch=0) == "continue"
    assert report(recorder, trial, 2, 0.5) == "stop"
    assert journal.trials[0].status == "paused"
    assert len(journal.trials[0].epochs) == 2


def test_a_full_disk_is_waited_for(journal):
    """The epoch is kept by the training and recorded when there is room; after long enough the search ends."""
    said, stopping = [], []
    recorder = make_recorder(journal, ASHA([3, 9], 3), stop_requested=lambda: bool(stopping), say=said.append)
    first, second = add_trial(journal, 9), add_trial(journal, 9)
    full = NotWrittenReport("disk full")
    for trial in (first, second, first):
        assert recorder(trial.key, full) == "continue"
    assert len(said) == 1, "it is said once"
    assert "trial-0000: disk full; waiting" in said[0]
    assert report(recorder, first, 1) == "continue"
    assert "can be written again" in said[1]
    assert [len(trial.epochs) for trial in journal.trials] == [1, 0]

    assert recorder(first.key, full) == "continue"
    recorder.full_since -= PATIENCE_SECONDS
    with pytest.raises(OSError, match="trial-0000: disk full"):
        recorder(first.key, full)
    stopping.append(True)
    assert recorder(first.key, full) == "stop"
    assert (journal.trials[0].status, len(journal.trials[0].epochs)) == ("paused", 1)


def test_a_process_that_dies_too_often_is_a_failed_trial(journal):
    said = []
    recorder = make_recorder(journal, max_failures=2, say=said.append)
    trial = add_trial(journal, 9)
    report(recorder, trial, 1)
    death = DeathReport("its process died on 10.0.0.7")
    for retry in (1, 2):
        assert recorder(trial.key, death) == "stop"
        assert journal.trials[0].is_unfinished
        assert recorder.queue.queued.pop() == trial.key, "handed out again"
        assert (
            "trial-0000: its process died on 10.0.0.7 after epoch 1; it goes on from its checkpoint "
            f"(retry {retry} of 2)" in said[-1]
        )
    assert recorder(trial.key, death) == "stop"
    assert (journal.trials[0].status, journal.trials[0].error) == ("failed", "its process died on 10.0.0.7 (3 times)")
    assert (len(journal.trials[0].epochs), recorder.queue.queued) == (1, [])


@pytest.mark.parametrize("end", [DeathReport("its process died"), HinderedReport("no route to the bucket")])
def test_a_training_that_gets_on_is_tried_again_however_often_it_is_disturbed(journal, end):
    """A process that dies once a day is no fault of what it trains; an epoch done again is no progress."""
    reasons = []
    recorder = make_recorder(journal, NEVER_STOP, max_failures=1, say=lambda line: None, interrupt=reasons.append)
    trial = add_trial(journal, 9)
    for epoch in range(1, 6):
        report(recorder, trial, epoch)
        recorder(trial.key, end)
        assert recorder.queue.queued.pop() == trial.key, "handed out again"
        journal.resume(trial.key)
    assert (reasons, journal.trials[0].is_unfinished) == ([], True)
    report(recorder, trial, 5)
    recorder(trial.key, end)
    assert recorder.queue.queued == []
    assert len(reasons) == isinstance(end, HinderedReport)
    assert journal.trials[0].status == ("paused" if reasons else "failed")


def test_what_hinders_all_trainings_is_said_once(journal):
    said, reasons = [], []
    recorder = make_recorder(
        journal, say=said.append, interrupt=reasons.append, stop_requested=lambda: bool(reasons), max_failures=0
    )
    for trial in [add_trial(journal, 9) for _ in range(3)]:
        assert recorder(trial.key, HinderedReport("no route to the bucket")) == "stop"
    assert {trial.status for trial in journal.trials} == {"paused"}
    assert (len(reasons), said, recorder.queue.queued) == (1, [], [])


def test_what_hinders_a_training_is_tried_again_and_then_interrupts_the_search(journal):
    said, reasons = [], []
    recorder = make_recorder(journal, max_failures=2, say=said.append, interrupt=reasons.append)
    trial = add_trial(journal, 9)
    hindered = HinderedReport("Traceback ...\nInputsError: splits.csv is damaged")
    for retry in (1, 2):
        assert recorder(trial.key, hindered) == "stop"
        assert journal.trials[0].status == "paused"
        assert recorder.queue.queued.pop() == trial.key, "handed out again"
        assert f"InputsError: splits.csv is damaged; it is tried again (retry {retry} of 2)" in said[-1]
        journal.resume(trial.key)
    report(recorder, trial, 1)  # it goes on: what was is forgotten
    for _ in range(2):
        recorder(trial.key, hindered)
        journal.resume(trial.key)
    assert reasons == []
    assert recorder(trial.key, hindered) == "stop"
    assert reasons == [
        "trial-0000 cannot be trained, through no fault of its configuration: InputsError: splits.csv is damaged"
    ]
    assert (journal.trials[0].status, journal.trials[0].error, len(journal.trials[0].epochs)) == ("paused", "", 1)
    assert journal.notes["hindrance"]["training"] == trial.key


def test_retrainings_are_never_stopped(journal):
    recorder = make_recorder(journal)
    for value in (0.5, 0.6, 0.7):
        report(recorder, add_trial(journal, 9), 1, value)
    retraining = journal.add_retraining(0, 1, {"epochs": 9}, seed=1)
    verdicts = [report(recorder, retraining, epoch, 0.01) for epoch in range(1, 10)]
    assert verdicts == ["continue"] * 8 + ["stop"]
    assert journal.find(retraining.key).status == "completed"
    assert all(epoch.decision is None for epoch in journal.find(retraining.key).epochs)


def test_a_strategy_without_rungs_trains_every_trial_to_its_end(journal):
    train(journal, add_trial(journal, 3), [0.9] * 3, "completed")
    recorder, trial = make_recorder(journal, NEVER_STOP), add_trial(journal, 3)
    assert [report(recorder, trial, epoch, 0.01) for epoch in (1, 2, 3)] == ["continue", "continue", "stop"]
    assert journal.trials[1].status == "completed"


def test_a_warning_of_a_training_is_said(journal):
    said, trial = [], add_trial(journal, 9)
    report(make_recorder(journal, say=said.append), trial, 1, warning="a damaged checkpoint was left out")
    assert said == ["WARNING  trial-0000: a damaged checkpoint was left out"]


def test_a_training_is_set_aside_at_a_rung_where_it_may_go_on_and_gets_on_when_it_is_handed_out_again(journal):
    asked = []
    recorder = make_recorder(journal, set_aside=lambda trial: asked.append(trial.key) or True)
    first, second = add_trial(journal, 9), add_trial(journal, 9)
    assert report(recorder, first, 1, 0.5) == "stop"
    assert (journal.trials[0].status, journal.trials[0].epochs[0].decision.verdict) == ("paused", "continue")
    assert report(recorder, second, 1, 0.1) == "stop"
    assert (journal.trials[1].status, asked) == ("stopped", [first.key]), "ASHA's decision comes first"
    journal.resume(first.key)
    assert report(recorder, first, 1, 0.5) == "continue", "a checkpoint's own epoch is reported once more"
    assert report(recorder, first, 2, 0.6, checkpoint_epoch=1) == "continue", "no rung"
    assert report(recorder, first, 3, 0.6, checkpoint_epoch=2) == "continue", "not without a checkpoint"
    assert asked == [first.key]

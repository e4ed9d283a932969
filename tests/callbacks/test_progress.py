"""The screen: a line for each ended training, and now and then where the search stands."""

import io
from dataclasses import replace

import pytest

from tests.support.trials import make_trial
from tune_sketch.callbacks.progress import Progress
from tune_sketch.events import Epoch

CONFIG = {"epochs": 9, "optimizer": "adam", "learning_rate": 0.00123, "batch_size": 32}


class Screen(io.StringIO):
    def __init__(self, is_terminal):
        super().__init__()
        self.is_terminal = is_terminal

    def isatty(self):
        return self.is_terminal


def make_progress(is_terminal=False, trials=()):
    progress = Progress(10, 3.0, 18.0, file=Screen(is_terminal))
    progress.watch(trials)
    return progress


def trial_of(number, values, **fields):
    trial = make_trial(number, values, **fields)
    trial.config.update(CONFIG)
    return trial


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("completed", "completed"),
        ("stopped", "stopped by ASHA"),
        ("diverged", "diverged"),
        ("out_of_memory", "out of memory"),
        ("failed", "FAILED"),
    ],
)
def test_an_ended_trial_has_a_line(status, words):
    progress = make_progress()
    progress.on_end(trial_of(3, [0.5, 0.25], status=status, error="why" if status == "failed" else ""))
    line = progress.file.getvalue()
    assert line.startswith("trial 3  ")
    assert words in line
    assert "after 2/9 epochs  best top-1 50.0 %  adam lr 0.0012 batch 32" in line
    assert line.endswith("(why)\n" if status == "failed" else "batch 32\n")


def test_an_epoch_says_how_far_the_trial_is_and_which_is_best():
    progress = make_progress(trials=[trial_of(1, [0.75], status="stopped")])
    progress.on_epoch(trial_of(2, [0.25]))
    line = progress.file.getvalue()
    assert "trial 2  epoch 1/9  top-1 25.0 %  best 75.0 % (trial 1)  about " in line
    progress.on_epoch(trial_of(2, [0.25, 0.5]))
    assert progress.file.getvalue() == line, "not for each epoch of a thousand workers"


def test_retrainings_are_compared_among_themselves():
    progress = make_progress(trials=[trial_of(1, [0.75], status="stopped")])
    progress.on_epoch(trial_of(1, [0.5], seed_index=2))
    assert "retraining of trial 1, seed 2  epoch 1/9" in progress.file.getvalue()
    assert "best 50.0 % (retraining of trial 1, seed 2)" in progress.file.getvalue()


def test_on_a_terminal_there_is_one_live_line_below_the_others():
    progress = make_progress(is_terminal=True)
    progress.on_epoch(trial_of(2, [0.25]))
    assert "\n" not in progress.file.getvalue()
    progress.print_line("said")
    assert progress.file.getvalue().endswith("\r\x1b[2Ksaid\n")


def test_time_left_after_a_resume_counts_what_was_done_before(monkeypatch):
    """20 epochs took 200 s; this session has taken 30 s to begin and trained one: 11 s each, and not 30."""
    before = [trial_of(number, [0.5] * 5, status="stopped") for number in range(4)]
    progress = make_progress()
    progress.watch(before, wall_seconds=200.0)
    progress.started = 0.0
    monkeypatch.setattr("tune_sketch.callbacks.progress.time.monotonic", lambda: 31.0)
    progress.on_epoch(trial_of(4, [0.5]))
    assert progress.time_left_text() == "about 6 min left", "35 epochs"


def test_time_left_counts_trials_to_come_those_that_run_and_retrainings(monkeypatch):
    progress = make_progress(trials=[trial_of(number, [0.5] * 3, status="stopped") for number in range(4)])
    progress.num_epochs_here, progress.started = 10, 0.0
    monkeypatch.setattr("tune_sketch.callbacks.progress.time.monotonic", lambda: 100.0)  # ten seconds for each epoch
    assert progress.time_left_text() == "about 6 min left", "6 trials of 3 epochs and 18 of retraining"
    progress.watch([trial_of(4, [0.5])])
    assert progress.time_left_text() == "about 6 min left", "5 trials, 2 epochs of one that runs, and 18"
    progress.watch([trial_of(0, [0.5] * 9, seed_index=1)])
    assert progress.time_left_text() == "about 4 min left"


def test_time_left_of_a_retraining_has_no_trials_to_come(monkeypatch):
    """A search that its budget ended never tries the rest of --num-samples."""
    monkeypatch.setattr("time.monotonic", lambda: 100.0)
    progress = make_progress(trials=[trial_of(1, [0.5, 0.5], status="paused")])
    progress.started, progress.num_epochs_here, progress.num_retraining_epochs = 40.0, 6, 12
    progress.is_search_over = True
    assert progress.time_left_text() == "about 2 min left", "12 epochs of 10 s"


def test_time_left_is_no_more_than_what_budgets_leave(monkeypatch):
    monkeypatch.setattr("tune_sketch.callbacks.progress.time.monotonic", lambda: 100.0)  # ten seconds for each epoch
    progress = make_progress()
    progress.num_epochs_here, progress.started = 10, 0.0
    assert progress.time_left_text() == "about 8 min left", "10 trials of 3 epochs, and 18 of retraining"
    progress.search_seconds_left = lambda: 120.0
    assert progress.time_left_text() == "about 5 min left", "2 min of search, then the retraining"
    progress.search_seconds_left = lambda: -1.0
    assert progress.time_left_text() == "about 3 min left"
    progress.ends_at = 160.0
    assert progress.time_left_text() == "about 60 s left", "retraining included"


def test_a_last_step_may_be_the_only_training_after_the_search():
    """Where the search's own network is taken, and no retraining was seen."""
    progress = make_progress(trials=[trial_of(1, [0.75], status="stopped")])
    epoch = Epoch(1, {"train_loss": 0.5})  # without drawings to validate it
    progress.on_epoch(
        replace(trial_of(1, [], seed_index=1), key="last-step-0001-01", epochs=(epoch,), is_last_step=True)
    )
    assert "best 75.0 % (trial 1)" in progress.file.getvalue()

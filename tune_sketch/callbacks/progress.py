"""Shows on the screen how a search gets on: trial, epoch, best so far, time left."""

import math
import sys
import time
from collections.abc import Callable, Iterable
from typing import TextIO

from tune_sketch.data.names import written_lines
from tune_sketch.events import Trial
from tune_sketch.formatting import PHRASES, duration_text, name_of, percent


def epochs_left_to_search(trials: Iterable[Trial], num_samples: int, epochs_per_trial: float) -> float:
    """Expected epochs of the trials that are to come, and of those that are not at their end: one at least of each."""
    trials = list(trials)
    left = max(0, num_samples - len(trials)) * epochs_per_trial
    for trial in trials:
        if trial.is_unfinished:
            left += max(1.0, min(int(trial.config["epochs"]), epochs_per_trial) - len(trial.epochs))
    return left


class Progress:
    """One line per ended training, and on a terminal one live line below them.

    Time left is the expected number of epochs still to train (`epochs_per_trial` for each trial to come) times the
    wall-clock seconds per epoch so far, of earlier sessions too; it settles after a few trials. It is no more than what
    budgets leave.
    """

    def __init__(
        self,
        num_samples: int,
        epochs_per_trial: float,
        num_retraining_epochs: float,
        file: TextIO | None = None,
    ) -> None:
        self.file = file or sys.stderr
        self.num_samples, self.num_retraining_epochs = num_samples, num_retraining_epochs
        self.epochs_per_trial = epochs_per_trial
        self.trials: dict[str, Trial] = {}
        self.started = time.monotonic()
        self.num_epochs_here = self.num_epochs_before = 0
        self.seconds_before = 0.0
        self.shown_at = 0.0
        self.is_search_over = False  # then what a budget has left of it is nothing to wait for
        self.search_seconds_left: Callable[[], float] = lambda: math.inf  # what its budgets leave it
        self.ends_at = math.inf  # of time.monotonic, where --total-time says

    def watch(self, trials: Iterable[Trial], wall_seconds: float = 0.0) -> None:
        """Count what earlier sessions recorded, in so much time: the pace until this one has one of its own."""
        self.trials.update({trial.key: trial for trial in trials})
        self.num_epochs_before = sum(len(trial.epochs) for trial in self.trials.values()) if wall_seconds else 0
        self.seconds_before = wall_seconds

    def on_epoch(self, trial: Trial) -> None:
        self.trials[trial.key] = trial
        self.num_epochs_here += 1
        # Not for each epoch of a thousand workers: the line looks at all trials.
        pause_seconds = 0.2 if self.file.isatty() else 10.0
        if time.monotonic() - self.shown_at < pause_seconds:
            return
        self.shown_at = time.monotonic()
        epoch = trial.epochs[-1]
        line = (
            f"{name_of(trial)}  epoch {epoch.number}/{trial.config['epochs']}  "
            f"top-1 {percent(epoch.metrics.get('val_top1'))}  {self.best_text(trial)}  {self.time_left_text()}"
        )
        if self.file.isatty():
            self.show_live(line)
        else:
            print(line, file=self.file, flush=True)

    def on_end(self, trial: Trial) -> None:
        self.trials[trial.key] = trial
        best, config = trial.best_epoch, trial.config
        self.print_line(
            f"{name_of(trial)}  {PHRASES[trial.status]:<15} after {len(trial.epochs)}/{config['epochs']} epochs  "
            f"best top-1 {percent(best.val_top1 if best else None)}  "
            f"{config['optimizer']} lr {config['learning_rate']:.2g} batch {config['batch_size']}"
            + (f"  ({trial.error})" if trial.error else "")
        )

    def print_line(self, line: str) -> None:
        """Print above the live line."""
        self.show_live("")
        print(written_lines(line), file=self.file, flush=True)

    def show_live(self, line: str) -> None:
        if self.file.isatty():
            self.file.write("\r\x1b[2K" + line[:160])
            self.file.flush()

    def best_text(self, trial: Trial) -> str:
        peers = [t for t in self.trials.values() if t.is_retraining == trial.is_retraining]
        validated = [t for t in peers if t.best_epoch] or list(self.trials.values())  # a last step may be alone
        value, best = max(((t.best_epoch.val_top1, t) for t in validated if t.best_epoch), key=lambda pair: pair[0])
        return f"best {percent(value)} ({name_of(best)})"

    def time_left_text(self) -> str:
        trials = [trial for trial in self.trials.values() if not trial.is_retraining]
        retrainings = [trial for trial in self.trials.values() if trial.is_retraining]
        spent = self.seconds_before + time.monotonic() - self.started
        epoch_seconds = spent / max(1, self.num_epochs_before + self.num_epochs_here)
        seconds = 0.0
        if not self.is_search_over:
            epochs_left = epochs_left_to_search(trials, self.num_samples, self.epochs_per_trial)
            seconds = min(epochs_left * epoch_seconds, self.search_seconds_left())
        epochs_left = max(0.0, self.num_retraining_epochs - sum(len(trial.epochs) for trial in retrainings))
        seconds = min(seconds + epochs_left * epoch_seconds, self.ends_at - time.monotonic())
        return f"about {duration_text(max(0.0, seconds))} left"

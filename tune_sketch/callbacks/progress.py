"""Shows on the screen how a search gets on: trial, epoch, best so far, time left."""

import sys
import time
from typing import TextIO

from tune_sketch.storage.journal import Record

PHRASES = {
    "completed": "completed",
    "stopped": "stopped by ASHA",
    "diverged": "diverged",
    "out_of_memory": "out of memory",
    "failed": "FAILED",
}


class Progress:
    """One line per ended training, and on a terminal one live line below them.

    Time left is the expected number of epochs still to train (`epochs_per_trial` for each trial to come) times the
    wall-clock seconds per epoch so far; it settles after a few trials.
    """

    def __init__(
        self,
        num_samples: int,
        epochs_per_trial: float,
        num_confirm_epochs: float,
        file: TextIO | None = None,
    ) -> None:
        self.file = file or sys.stderr
        self.num_samples, self.num_confirm_epochs = num_samples, num_confirm_epochs
        self.epochs_per_trial = epochs_per_trial
        self.records: dict[str, Record] = {}
        self.started = time.monotonic()
        self.num_epochs_here = 0
        self.shown_at = 0.0

    def watch(self, records: list[Record]) -> None:
        """Count what an earlier run recorded."""
        self.records.update({record.key: record for record in records})

    def on_epoch(self, record: Record) -> None:
        self.records[record.key] = record
        self.num_epochs_here += 1
        # Not for each epoch of a thousand workers: the line looks at all trials.
        pause_seconds = 0.2 if self.file.isatty() else 10.0
        if time.monotonic() - self.shown_at < pause_seconds:
            return
        self.shown_at = time.monotonic()
        metrics = record.epochs[-1]
        line = (
            f"{name_of(record)}  epoch {metrics['epoch']}/{record.config['epochs']}  "
            f"top-1 {percent(metrics['val_top1'])}  {self.best_text(record)}  {self.time_left_text()}"
        )
        if self.file.isatty():
            self.show_live(line)
        else:
            print(line, file=self.file, flush=True)

    def on_end(self, record: Record) -> None:
        self.records[record.key] = record
        best = record.best_epoch.get("val_top1")
        config = record.config
        self.print_line(
            f"{name_of(record)}  {PHRASES[record.status]:<15} after {len(record.epochs)}/{config['epochs']} epochs  "
            f"best top-1 {percent(best)}  {config['optimizer']} lr {config['learning_rate']:.2g} "
            f"batch {config['batch_size']}" + (f"  ({record.error})" if record.error else "")
        )

    def print_line(self, line: str) -> None:
        """Print above the live line."""
        self.show_live("")
        print(line, file=self.file, flush=True)

    def show_live(self, line: str) -> None:
        if self.file.isatty():
            self.file.write("\r\x1b[2K" + line[:160])
            self.file.flush()

    def best_text(self, record: Record) -> str:
        peers = [r for r in self.records.values() if r.key.startswith(record.key.split("-")[0]) and r.epochs]
        best = max(peers, key=lambda r: r.best_epoch["val_top1"])
        return f"best {percent(best.best_epoch['val_top1'])} ({name_of(best)})"

    def time_left_text(self) -> str:
        trials = [record for record in self.records.values() if record.key.startswith("trial")]
        confirms = [record for record in self.records.values() if record.key.startswith("confirm")]
        epochs_left = max(0, self.num_samples - len(trials)) * self.epochs_per_trial
        for record in trials:
            if record.is_unfinished:
                epochs_left += max(1.0, min(record.config["epochs"], self.epochs_per_trial) - len(record.epochs))
        epochs_left += max(0.0, self.num_confirm_epochs - sum(len(record.epochs) for record in confirms))
        seconds = epochs_left * (time.monotonic() - self.started) / max(1, self.num_epochs_here)
        return f"about {duration_text(seconds)} left"


def name_of(record: Record) -> str:
    """How a training is called on the screen."""
    if record.key.startswith("trial"):
        return f"trial {record.number}"
    return f"retraining of trial {record.number}, seed {record.key.rsplit('-', 1)[1].lstrip('0') or '0'}"


def percent(fraction: float | None) -> str:
    """A fraction in [0, 1] as printed text."""
    return "-" if fraction is None else f"{100 * fraction:.1f} %"


def duration_text(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.1f} days"

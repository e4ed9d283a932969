"""Knows whether to wind up: Ctrl-C or SIGTERM, the time budget, or failures that all have one reason."""

import collections
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any

from tune_sketch.commands import command_text
from tune_sketch.events import Trial
from tune_sketch.storage.run_directory import RunDirectory

NUM_SAME_FAILURES = 3  # failures for one reason that end a search in which no trial succeeded

SPENT = "the time budget is spent: the search ends, each training finishes its epoch"


class StopSignal:
    """The request to wind up. The first signal lets each training finish its epoch and keep a checkpoint; the second
    leaves at once.

    In a thread other than the main one no signal can be caught, and that is said.
    """

    def __init__(self, run: RunDirectory, say: Callable[[str], None]) -> None:
        self.run, self.say = run, say
        self.by_signal = False  # or by `interrupt`
        self.num_signals = 0
        self.reason = ""
        self.deadline: float | None = None  # of time.monotonic, which nobody sets
        self.deadline_reason = SPENT
        self.run.stop_file.unlink(missing_ok=True)
        self.replaced: dict[int, Any] = {}  # the handlers that were there before
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self.replaced[number] = signal.signal(number, self.on_signal)
        else:
            say("not in the main thread: Ctrl-C and SIGTERM are not caught here and end the program at once")

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.num_signals:
            print("\nleft at once; resume with the command above", file=sys.stderr, flush=True)
            os._exit(130)
        self.num_signals += 1
        self.by_signal = True
        self.request(
            f"{signal.Signals(number).name}: each training finishes its epoch and keeps a checkpoint. "
            "Once more leaves at once.\n"
            f"resume with:  {command_text('search', '--resume', self.run.path)}"
        )

    def request(self, reason: str) -> None:
        """Begin to wind up."""
        self.reason = reason
        try:
            self.run.stop_file.touch()  # trainings look for it after every epoch and keep a checkpoint
        except OSError as error:
            reason += f" (no file can be written: {error})"
        self.say(reason)

    def interrupt(self, reason: str) -> None:
        """Wind up as after a signal: what comes after the search waits for a resume too."""
        self.by_signal = True
        self.request(f"{reason}\nresume with:  {command_text('search', '--resume', self.run.path)}")

    def requested(self) -> bool:
        """Whether to wind up; looks at the clock as well."""
        if not self.reason and self.deadline is not None and time.monotonic() > self.deadline:
            self.request(self.deadline_reason)
        return bool(self.reason)

    def seconds_left(self) -> float:
        """Until the deadline; infinite without one."""
        return math.inf if self.deadline is None else max(0.0, self.deadline - time.monotonic())

    def may_start(self) -> bool:
        """Whether another training may begin."""
        return not self.requested()

    def close(self) -> None:
        """Put back the handlers of signals that were there before."""
        for number, handler in self.replaced.items():
            signal.signal(number, handler)

    def check_failures(self, trials: Iterable[Trial]) -> None:
        """Wind up when every trial so far has failed, at least three of each network, and all for one reason."""
        trials = list(trials)
        ended = [trial for trial in trials if not trial.is_unfinished]
        errors = {trial.error for trial in ended}
        failed = all(trial.status in ("failed", "out_of_memory") for trial in ended)
        counts = collections.Counter(trial.network for trial in ended)
        are_enough = all(counts[network] >= NUM_SAME_FAILURES for network in {trial.network for trial in trials})
        if not self.reason and ended and are_enough and failed and len(errors) == 1:
            self.request(f"every trial fails for one reason, so the search ends: {errors.pop()}")

    def clear(self) -> None:
        """Forget a spent time budget: what comes after the search is not part of it."""
        if not self.by_signal:
            self.reason, self.deadline, self.deadline_reason = "", None, SPENT
            self.run.stop_file.unlink(missing_ok=True)

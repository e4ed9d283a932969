"""Records what trainings report, decides whether each goes on, and tells the callbacks."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from tune_sketch.callbacks.base import Callback
from tune_sketch.events import (
    DeathReport,
    Ending,
    EndingReport,
    Epoch,
    EpochReport,
    HinderedReport,
    NotWrittenReport,
    Report,
    Trial,
    Verdict,
)
from tune_sketch.schedulers.asha import Rule
from tune_sketch.schedulers.queue import TrialQueue
from tune_sketch.storage.journal import PATIENCE_SECONDS, Journal


class Recorder:
    """Receives every report of a backend. The epoch and the decision about it are recorded first, then acted on."""

    def __init__(
        self,
        journal: Journal,
        queue: TrialQueue,
        asha: Rule,
        *,
        callbacks: Sequence[Callback] = (),
        max_failures: int = 0,
        set_aside: Callable[[Trial], bool] = lambda trial: False,
        stop_requested: Callable[[], bool] = lambda: False,
        interrupt: Callable[[str], None] = lambda reason: None,
        save_error: Callable[[str, str], None] = lambda key, text: None,
        say: Callable[[str], None] = print,
    ) -> None:
        """set_aside: whether a trial that may go on at a rung waits there, to be handed out again later."""
        self.journal, self.queue, self.asha, self.callbacks = journal, queue, asha, callbacks
        self.set_aside = set_aside
        self.max_failures = max_failures
        self.stop_requested, self.interrupt, self.save_error, self.say = stop_requested, interrupt, save_error, say
        # Of each training since its last new epoch: one that gets on is tried again, however long it takes.
        self.num_deaths, self.num_hindrances = dict[str, int](), dict[str, int]()
        self.warned: set[int] = set()  # positions of the callbacks of which it was said that they could not write
        self.full_since: float | None = None  # when a checkpoint first could not be written, time.monotonic()

    def __call__(self, key: str, report: Report) -> Verdict:
        """Whether the training goes on. Raises OSError when nothing more can be written."""
        trial = self.journal.find(key)
        again = False
        if not trial.is_unfinished:
            verdict: Verdict = "stop"
        elif isinstance(report, EpochReport):
            verdict = self.record_epoch(trial, report)
        elif isinstance(report, EndingReport):
            verdict = self.end(trial, report.status, report.error)
        elif isinstance(report, NotWrittenReport):
            verdict = self.wait_for_room(trial, report.error)
        elif isinstance(report, HinderedReport):
            verdict, again = "stop", self.may_try_again(trial, report.error)
        else:
            verdict, again = "stop", self.survives(trial, report)
        if verdict == "stop":
            self.queue.give_back(key, again=again)
        return verdict

    def record_epoch(self, trial: Trial, report: EpochReport) -> Verdict:
        if report.warning:
            self.say(f"WARNING  {trial.key}: {report.warning}")
        is_safe = report.checkpoint_epoch == report.number
        if is_safe and self.full_since is not None:
            self.full_since = None
            self.say("checkpoints can be written again: the search goes on")
        is_new = report.number > len(trial.epochs)
        if is_new:
            epoch = Epoch(report.number, report.metrics, report.worker)
            decision = self.asha.decide(trial.with_epoch(epoch), self.journal.trials)
            trial = self.journal.record_epoch(trial.key, replace(epoch, decision=decision))
            self.num_deaths.pop(trial.key, None)
            self.num_hindrances.pop(trial.key, None)
            self.tell([callback.on_epoch for callback in self.callbacks], trial)
        if report.number < len(trial.epochs):
            return "continue"  # an epoch done again after a kill: recorded and decided before
        if self.is_settled(trial):
            return "stop"
        if self.stop_requested() and is_safe:
            self.journal.pause(trial.key)
            return "stop"
        # Not at an epoch that is reported again: handed out again, a training gets on by one epoch at least.
        if is_new and is_safe and trial.epochs[-1].decision is not None and self.set_aside(trial):
            self.journal.pause(trial.key)
            return "stop"
        return "continue"

    def is_settled(self, trial: Trial) -> bool:
        """Record the ending that a trial's last epoch brings, if it does."""
        last = trial.last_epoch
        if last is not None and last.decision is not None and last.decision.verdict == "stop":
            self.end(trial, "stopped")
        elif len(trial.epochs) >= int(trial.config["epochs"]):
            self.end(trial, "completed")
        else:
            return False
        return True

    def wait_for_room(self, trial: Trial, error: str) -> Verdict:
        """Let a training, which keeps its epoch, try again to write it. Raises OSError when that takes too long."""
        if self.stop_requested():
            self.journal.pause(trial.key)  # it goes on from its last checkpoint
            return "stop"
        if self.full_since is None:
            self.full_since = time.monotonic()
            self.say(f"{trial.key}: {error}; waiting {PATIENCE_SECONDS:.0f} s for room ...")
        if time.monotonic() - self.full_since > PATIENCE_SECONDS:
            raise OSError(f"{trial.key}: {error}")
        return "continue"

    def may_try_again(self, trial: Trial, error: str) -> bool:
        """Pause a training that files or the machine hinder, and say whether it is handed out again.

        When that happens too often the search is interrupted: no configuration has failed.
        """
        number = self.num_hindrances[trial.key] = self.num_hindrances.get(trial.key, 0) + 1
        self.save_error(trial.key, error)
        self.journal.pause(trial.key)
        if self.stop_requested():  # as by another training, with the same reason
            return False
        reason = error.strip().splitlines()[-1]
        if number > self.max_failures:
            self.journal.note("hindrance", {"training": trial.key, "reason": reason, "at": self.journal.clock()})
            self.interrupt(f"{trial.key} cannot be trained, through no fault of its configuration: {reason}")
            return False
        self.say(
            f"{trial.key} cannot be trained now: {reason}; it is tried again (retry {number} of {self.max_failures})"
        )
        return True

    def end(self, trial: Trial, status: Ending, error: str = "") -> Verdict:
        """Record an ending and tell the callbacks."""
        if error:
            self.save_error(trial.key, error)
        trial = self.journal.end(trial.key, status, error.strip().splitlines()[-1] if error else "")
        self.tell([callback.on_end for callback in self.callbacks], trial)
        return "stop"

    def tell(self, calls: Sequence[Callable[[Trial], None]], trial: Trial) -> None:
        """Call the callbacks. What one cannot write ends no search: it can be made again from the journal."""
        for position, call in enumerate(calls):
            try:
                call(trial)
            except OSError as error:
                if position not in self.warned:
                    self.warned.add(position)
                    self.say(f"WARNING  {error}; the search goes on, and a resume writes what is missing")

    def survives(self, trial: Trial, death: DeathReport) -> bool:
        """Whether a training whose process died is tried again: not when that happened too often."""
        died = self.num_deaths[trial.key] = self.num_deaths.get(trial.key, 0) + 1
        if died > self.max_failures:
            self.end(trial, "failed", f"{death.reason} ({died} times)")
            return False
        self.say(
            f"{trial.key}: {death.reason} after epoch {len(trial.epochs)}; "
            f"it goes on from its checkpoint (retry {died} of {self.max_failures})"
        )
        return True

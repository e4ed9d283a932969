"""Decides after every epoch whether a trial goes on: ASHA, on the journal's values and with the journal's memory."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from ray.tune.experiment import Trial
from ray.tune.schedulers import ASHAScheduler, TrialScheduler

from tune_sketch.schedulers.rungs import arrivals
from tune_sketch.storage.journal import PATIENCE_SECONDS, Journal, Record


class Watcher(Protocol):
    """What hears of every epoch and ending after they were committed: the screen, TensorBoard, the tables."""

    def on_epoch(self, record: Record) -> None: ...

    def on_end(self, record: Record) -> None: ...


class JournaledASHA(ASHAScheduler):
    """Ray's ASHA whose memory is the journal: record the epoch, decide, record the decision.

    Four differences from Ray's class. Rungs are the whole numbers of `rung_epochs`. A rung's values are looked up in
    the journal in order of arrival, so a resumed search decides as an uninterrupted one would have. Trials report
    their own ending (`status`), and a value that is not finite never gets into a rung. A process that becomes free is
    for the newest trial. The rule is Ray's: a trial stops at a rung when its value is under the (1 - 1 / factor)
    quantile of the values that arrived before it.
    """

    def __init__(
        self,
        journal: Journal,
        rungs: list[int],
        reduction_factor: int,
        *,
        max_failures: int = 0,
        watchers: list[Watcher],
        stop_asked: Callable[[], bool] = lambda: False,
        save_error: Callable[[Record, str], None] = lambda record, text: None,
        say: Callable[[str], None] = print,
    ) -> None:
        super().__init__(
            time_attr="epoch",
            metric="val_top1",
            mode="max",
            max_t=rungs[-1],
            grace_period=rungs[0],
            reduction_factor=reduction_factor,
        )
        self.journal, self.watchers = journal, watchers
        self.max_failures = max_failures
        self.num_deaths: dict[str, int] = {}
        self.error: OSError | None = None
        self.full_since: float | None = None  # when a checkpoint first could not be written, time.monotonic()
        self.stop_asked, self.save_error, self.say = stop_asked, save_error, say
        self.rungs = {rung: arrivals(journal.trials, rung) for rung in rungs[:-1]}

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Ray pickles its tuner, but what a resume needs is in the journal."""
        return {}

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """Nothing: trials need no bracket of their own."""

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Record the epoch, then decide, then record the decision."""
        try:
            return self.decide(trial, result)
        except OSError as error:  # of a table, a traceback or a checkpoint; kept, because Ray wraps it
            self.error = OSError(f"{error}. What was recorded is safe; mend the disk, then resume.")
            raise self.error from error

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """Of the trials that wait, the last: the process of a trial that has just ended is free for it.

        Ray's choice is the first, whose own process may be starting on another machine and is then killed for nothing.
        Where trials are shorter than the start of a process, as many never start: new machines would stay unused.
        """
        return next((trial for trial in reversed(tune_controller.get_trials()) if trial.status == Trial.PENDING), None)

    def decide(self, trial: Trial, result: dict[str, Any]) -> str:
        """CONTINUE or STOP. Raises OSError when nothing more can be written."""
        record = self.journal.find(trial.config["key"])
        if not record.is_unfinished:
            return TrialScheduler.STOP
        if result["status"] == "not_written":
            return self.wait_for_room(record, result["error"])
        if result["status"] != "epoch":
            return self.end(record, result["status"], result["error"])
        # Ray flattens nested results: {"metrics": {"epoch": 1}} arrives as {"metrics/epoch": 1}.
        metrics = {name.removeprefix("metrics/"): v for name, v in result.items() if name.startswith("metrics/")}
        if result["warning"]:
            self.say(f"WARNING  {record.key}: {result['warning']}")
        if result["checkpoint_epoch"] == metrics["epoch"] and self.full_since is not None:
            self.full_since = None
            self.say("checkpoints can be written again: the search goes on")
        self.journal.record_epoch(record, metrics)
        for watcher in self.watchers:
            watcher.on_epoch(record)
        if metrics["epoch"] < len(record.epochs):
            return TrialScheduler.CONTINUE  # an epoch done again after a kill: recorded and decided before
        if self.loses_at_rung(record, metrics["epoch"]):
            return self.end(record, "stopped")
        if metrics["epoch"] >= record.config["epochs"]:
            return self.end(record, "completed")
        if self.stop_asked() and result["checkpoint_epoch"] == metrics["epoch"]:
            self.journal.park(record)
            return TrialScheduler.STOP
        return TrialScheduler.CONTINUE

    def wait_for_room(self, record: Record, error: str) -> str:
        """Let a training, which keeps its epoch, try again to write it. Raises OSError when that takes too long."""
        if self.stop_asked():
            self.journal.park(record)  # it goes on from its last checkpoint
            return TrialScheduler.STOP
        if self.full_since is None:
            self.full_since = time.monotonic()
            self.say(f"{record.key}: {error}; waiting {PATIENCE_SECONDS:.0f} s for room ...")
        if time.monotonic() - self.full_since > PATIENCE_SECONDS:
            raise OSError(f"{record.key}: {error}")
        return TrialScheduler.CONTINUE

    def loses_at_rung(self, record: Record, epoch: int) -> bool:
        """Whether ASHA stops the trial after this epoch. A retraining is never stopped."""
        values = self.rungs.get(epoch)
        if values is None or record.is_retraining:
            return False
        values.setdefault(record.number, record.epochs[epoch - 1]["val_top1"])
        before = list(values)[: list(values).index(record.number)]
        cutoff: Any = self._brackets[0].cutoff({number: values[number] for number in before})
        return cutoff is not None and bool(values[record.number] < cutoff)

    def end(self, record: Record, status: str, error: str = "") -> str:
        """Record an ending and tell the watchers."""
        if error:
            self.save_error(record, error)
        self.journal.end(record, status, error=error.strip().splitlines()[-1] if error else "")
        for watcher in self.watchers:
            watcher.on_end(record)
        return TrialScheduler.STOP

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        """A process died. The searcher hands the training out again, unless that happened too often."""
        record = self.journal.find(trial.config["key"])
        if not record.is_unfinished:
            return
        died = self.num_deaths[record.key] = self.num_deaths.get(record.key, 0) + 1
        if died > self.max_failures:
            self.end(record, "failed", f"{describe_death(trial)} ({died} times)")
        else:
            self.say(
                f"{record.key}: {describe_death(trial)} after epoch {len(record.epochs)}; "
                f"it goes on from its checkpoint (retry {died} of {self.max_failures})"
            )

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        """Nothing: the ending was recorded with the result that brought it."""

    def on_trial_remove(self, tune_controller: Any, trial: Trial) -> None:
        """Nothing to forget: the journal remembers."""


def describe_death(trial: Trial) -> str:
    """That a trial's process died, on which machine where that is known, and what it could still say."""
    address = getattr(trial, "node_ip", None)
    said = Path(trial.error_file).read_text() if trial.error_file and Path(trial.error_file).exists() else ""
    reason = said.strip().rpartition("NotStagedError: ")[2] if "NotStagedError: " in said else ""
    return "its process died" + (f" on {address}" if address else "") + (f" ({reason})" if reason else "")

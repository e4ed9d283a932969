"""Simulates a cluster of asynchronous workers that runs the real searcher and scheduler on recorded curves."""

import heapq
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from benchmarks.curves.tasks import Curve, Task
from tune_sketch.backend.scheduler import JournaledASHA
from tune_sketch.config.settings import derive_seed
from tune_sketch.samplers.warm_start import NUM_TAKEN
from tune_sketch.schedulers.rungs import rank_trials, value_at_rung
from tune_sketch.storage.journal import ENDINGS, Record

MOST_TRIALS = 2000  # of one search: some methods find trainings that cost next to nothing, and begin them for ever


class MemoryJournal:
    """What searcher and scheduler use of a Journal, without a database and on a clock of its own."""

    def __init__(self) -> None:
        self.trials: list[Record] = []
        self.now = 0.0

    def add_trial(self, config: dict, params: dict, distributions: dict, *, seed: int, origin: dict) -> Record:
        number = len(self.trials)
        record = Record(f"trial-{number:04d}", number, config, seed, origin, params, distributions)
        record.started_at = self.now
        self.trials.append(record)
        return record

    def find(self, key: str) -> Record:
        return self.trials[int(key.removeprefix("trial-"))]

    def record_epoch(self, record: Record, metrics: dict[str, Any]) -> bool:
        assert metrics["epoch"] == len(record.epochs) + 1
        record.epochs.append(metrics | {"recorded_at": self.now})
        return True

    def end(self, record: Record, status: str, *, error: str = "") -> None:
        assert status in ENDINGS
        assert record.is_unfinished
        record.status, record.error, record.ended_at = status, error, self.now

    def park(self, record: Record) -> None:
        raise AssertionError("nothing is stopped by a signal here")

    def unpark(self, record: Record) -> None:
        record.status = "running"


@dataclass
class SimulatedTrial:
    """As much of a Ray trial as the scheduler looks at, and the curve that it will show."""

    trial_id: str
    config: dict[str, Any]  # the job
    curve: Curve
    num_epochs: int = 0


@dataclass
class Outcome:
    """What a simulated search had found by each time asked for, and what it cost.

    by_best, by_rung: the true final value of the configuration that would be taken: the first of `rank_trials`, with
    the highest value seen at any epoch, or the best at the deepest rung; None before anything was seen.
    """

    by_rung: list[float | None] = field(default_factory=list)
    by_best: list[float | None] = field(default_factory=list)
    best_params: list[dict[str, Any]] = field(default_factory=list)  # of the first few of `rank_trials`, at the end
    num_trials: int = 0
    num_suggestions: int = 0
    searcher_seconds: float = 0.0


class Cluster:
    """Workers that each train one trial at a time, and one driver that asks the searcher, one suggestion at a time.

    Time is simulated; what the searcher really takes for a suggestion (of processor time) passes in it as well.
    """

    def __init__(self, task: Task, searcher: Searcher, scheduler: JournaledASHA, journal: MemoryJournal) -> None:
        self.task, self.searcher, self.scheduler, self.journal = task, searcher, scheduler, journal
        self.running: list[tuple[float, int, SimulatedTrial]] = []  # (when its epoch ends, number, trial)
        self.driver_free_at = 0.0
        self.num_events = 0
        self.num_idle = 0
        self.outcome = Outcome()
        self.finals: dict[int, float] = {}  # trial number -> true final value
        self.best_seen: tuple[float, int] | None = None  # (value, trial number)

    def run(self, num_workers: int, times: list[float], rungs: list[int]) -> Outcome:
        """Search until the last of the times (seconds), and say what was found by each of them."""
        waiting = list(times)
        self.num_idle = num_workers
        self.start_trials()
        while self.running and waiting:
            now, _, trial = heapq.heappop(self.running)
            while waiting and now > waiting[0]:
                self.look(rungs)
                waiting.pop(0)
            self.journal.now = now
            if waiting:
                self.end_epoch(trial, now)
        for _ in waiting:  # the searcher had no more to try
            self.look(rungs)
        ranked = rank_trials(self.journal.trials)
        self.outcome.best_params = [record.params for record in ranked[:NUM_TAKEN]]
        self.outcome.num_trials = len(self.journal.trials)
        return self.outcome

    def start_trials(self) -> None:
        """Give each idle worker a trial, as far as the searcher has one."""
        while self.num_idle:
            started = time.thread_time()
            trial_id = f"{self.num_events}-{self.num_idle}"
            job = self.searcher.suggest(trial_id)
            seconds = time.thread_time() - started
            self.outcome.searcher_seconds += seconds
            self.driver_free_at = max(self.driver_free_at, self.journal.now) + seconds
            if job is None or job == Searcher.FINISHED:
                return
            self.outcome.num_suggestions += 1
            record = self.journal.find(job["key"])
            curve = self.task.curve(record.config, derive_seed(self.task.name, record.seed))
            self.finals[record.number] = curve.true_final
            self.num_idle -= 1
            self.schedule(SimulatedTrial(trial_id, job, curve), self.driver_free_at)

    def schedule(self, trial: SimulatedTrial, begin: float) -> None:
        """Let the trial's next epoch begin."""
        self.num_events += 1
        place = min(trial.num_epochs, len(trial.curve.seconds) - 1)
        heapq.heappush(self.running, (begin + trial.curve.seconds[place], self.num_events, trial))

    def end_epoch(self, trial: SimulatedTrial, now: float) -> None:
        """Report an epoch to the scheduler and do what it says."""
        epoch = trial.num_epochs = trial.num_epochs + 1
        result: dict[str, Any] = {"status": "epoch", "error": "", "warning": "", "checkpoint_epoch": epoch}
        value = float(trial.curve.values[epoch - 1])
        metrics = {"epoch": epoch, "val_top1": value, "val_loss": float(trial.curve.losses[epoch - 1])}
        result |= {f"metrics/{name}": metric for name, metric in metrics.items()}
        number = self.journal.find(trial.config["key"]).number
        if self.best_seen is None or value > self.best_seen[0]:
            self.best_seen = (value, number)
        decision = self.scheduler.decide(trial, result)  # type: ignore[arg-type]
        if decision == TrialScheduler.CONTINUE:
            self.searcher.on_trial_result(trial.trial_id, metrics)
            self.schedule(trial, now)
        else:
            self.searcher.on_trial_complete(trial.trial_id, metrics)
            self.num_idle += 1
            self.start_trials()

    def look(self, rungs: list[int]) -> None:
        """Note what would be taken if the search ended now."""
        best = find_best_at_deepest_rung(self.journal.trials, rungs)
        self.outcome.by_rung.append(self.finals[best.number] if best else None)
        self.outcome.by_best.append(self.finals[self.best_seen[1]] if self.best_seen else None)


def find_best_at_deepest_rung(trials: Sequence[Record], rungs: list[int]) -> Record | None:
    """The trial with the highest value at the deepest rung that any of them counts at."""
    for rung in reversed(rungs):
        reached = [(value_at_rung(record, rung), record) for record in trials]
        there = [(-value[0], record.number, record) for value, record in reached if value is not None]
        if there:
            return min(there)[2]
    return None


def simulate(
    task: Task,
    make_searcher: Callable[..., Searcher],
    *,
    num_workers: int,
    times: list[float],
    rungs: list[int],
    scheduler_rungs: list[int],
    reduction_factor: int,
    seed: int,
    first: list[dict[str, Any]],
    earlier: Sequence[tuple[dict[str, Any], dict[str, Any]]] = (),
) -> Outcome:
    """One search. times: seconds; rungs: those of the searcher and of the final choice; scheduler_rungs: ASHA's."""
    journal = MemoryJournal()
    searcher = make_searcher(
        journal,
        task,
        task.limits,
        rungs,
        seed=seed,
        num_samples=MOST_TRIALS,
        first=first,
        earlier=earlier,
        job=lambda record: {"key": record.key},
    )
    scheduler = JournaledASHA(journal, scheduler_rungs, reduction_factor, watchers=[])  # type: ignore[arg-type]
    return Cluster(task, searcher, scheduler, journal).run(num_workers, times, rungs)


__all__ = ["MemoryJournal", "Outcome", "simulate"]

"""Simulates a search on known learning curves with the real sampler, journal and ASHA, and says what it had found."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from benchmarks.curves.tasks import Task
from tests.support.untrained import make_job
from tune_sketch.backend.simulated import Curve, SimulatedBackend
from tune_sketch.callbacks.base import Callback
from tune_sketch.config.seeds import derive_seed
from tune_sketch.events import Config, Job, Source, Trial
from tune_sketch.samplers.base import Sampler, SearchTask
from tune_sketch.samplers.warm_start import NUM_TAKEN
from tune_sketch.schedulers.asha import ASHA
from tune_sketch.schedulers.queue import TrialQueue
from tune_sketch.schedulers.recorder import Recorder
from tune_sketch.schedulers.rungs import rank_trials
from tune_sketch.storage.journal import Journal

MOST_TRIALS = 2000  # of one search: some methods find trainings that cost next to nothing, and begin them for ever


@dataclass
class Outcome:
    """The best values of a simulated search at each time asked for, and its cost.

    by_best, by_rung: the true final value of the configuration that would be taken: the first of `rank_trials`, with
    the highest value seen at any epoch, or the best at the deepest rung; None before anything was seen.
    """

    by_rung: list[float | None] = field(default_factory=list)
    by_best: list[float | None] = field(default_factory=list)
    best_params: list[Config] = field(default_factory=list)  # of the first few of `rank_trials`, at the end
    num_trials: int = 0
    num_suggestions: int = 0
    sampler_seconds: float = 0.0


class Watch:
    """Notes at the times asked for what would be taken if the search ended then; a callback of the search."""

    def __init__(self, task: Task, journal: Journal, times: Sequence[float], rungs: Sequence[int]) -> None:
        self.task, self.journal, self.rungs = task, journal, rungs
        self.remaining = list(times)
        self.outcome = Outcome()
        self.finals: dict[int, float] = {}  # trial number -> true final value
        self.best_seen: tuple[float, int] | None = None  # (value, trial number)

    def curve_of(self, job: Job) -> Curve:
        """The curve that a job will show; its true final value is kept from the search."""
        curve = self.task.curve(job.config, derive_seed(self.task.name, job.seed))
        self.finals[self.journal.find(job.key).number] = curve.true_final
        return Curve(curve.values.tolist(), curve.losses.tolist(), curve.seconds.tolist())

    def on_epoch(self, trial: Trial) -> None:
        value = trial.epochs[-1].val_top1
        if self.best_seen is None or value > self.best_seen[0]:
            self.best_seen = (value, trial.number)

    def on_end(self, trial: Trial) -> None:
        """Nothing: a trial that ended stays what it was."""

    def on_time(self, now: float) -> None:
        """Look, for each of the times that are over."""
        while self.remaining and now > self.remaining[0]:
            best = find_best_at_deepest_rung(self.journal.trials, self.rungs)
            self.outcome.by_rung.append(self.finals[best.number] if best else None)
            self.outcome.by_best.append(self.finals[self.best_seen[1]] if self.best_seen else None)
            self.remaining.pop(0)


def find_best_at_deepest_rung(trials: Sequence[Trial], rungs: Sequence[int]) -> Trial | None:
    """The trial with the highest value at the deepest rung that any of them counts at."""
    for rung in reversed(rungs):
        reached = [(-epoch.val_top1, trial.number) for trial in trials if (epoch := trial.epoch_at(rung)) is not None]
        if reached:
            return trials[min(reached)[1]]
    return None


def simulate(
    task: Task,
    make_sampler: Callable[[SearchTask], Sampler],
    *,
    num_workers: int,
    times: Sequence[float],
    rungs: Sequence[int],
    scheduler_rungs: Sequence[int],
    reduction_factor: int,
    seed: int,
    first: Sequence[Config],
    recipe: Config | None = None,
    earlier: Sequence[tuple[Config, Source]] = (),
    passes: int = 1,
    driver_speed: float = 1.0,
    callbacks: Sequence[Callback] = (),
) -> Outcome:
    """One search. times: seconds; rungs: those of the sampler and of the final choice; scheduler_rungs: ASHA's.

    driver_speed: what the sampler really takes for a proposal (of processor time) passes in simulated time as well.
    """
    backend = SimulatedBackend(lambda job: watch.curve_of(job), num_workers, driver_speed, end_at=times[-1])
    journal = Journal(clock=backend.clock)
    watch = Watch(task, journal, times, rungs)
    tried_first = [*((params, Source("paper")) for params in first), *earlier]
    if recipe is not None:
        tried_first.insert(len(first), (recipe, Source("recipe")))
    sampler = make_sampler(SearchTask(task.space, task.limits, rungs, MOST_TRIALS, seed, tried_first, passes))

    def propose() -> Trial | None:
        proposal = sampler.next(journal)
        seed_of_trial = derive_seed(seed, "trial", len(journal.trials))
        return None if proposal is None else journal.add_trial(proposal, seed_of_trial)

    queue = TrialQueue(journal, [], propose, make_job)
    recorder = Recorder(journal, queue, ASHA(scheduler_rungs, reduction_factor), callbacks=[watch, *callbacks])
    backend.simulate(queue, recorder, watch.on_time)
    watch.on_time(float("inf"))  # the sampler had no more to try
    outcome = watch.outcome
    outcome.best_params = [trial.params for trial in rank_trials(journal.trials)[:NUM_TAKEN]]
    outcome.num_trials, outcome.num_suggestions = len(journal.trials), backend.num_jobs
    outcome.sampler_seconds = backend.driver_seconds
    return outcome

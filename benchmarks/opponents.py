"""The ways to search that are compared, by name: our strategies, what was known before, and Optuna as Ray wires it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import optuna

from benchmarks import history_tpe
from benchmarks.curves.tasks import Task
from tune_sketch.config.seeds import derive_seed
from tune_sketch.events import Proposal, Source, Trial
from tune_sketch.samplers.base import Sampler, SearchTask, ask, propose_at_random
from tune_sketch.samplers.baselines import UniformSampler
from tune_sketch.samplers.incumbent import IncumbentSampler
from tune_sketch.samplers.one_factor import OneFactorSampler
from tune_sketch.schedulers.rungs import rung_epochs
from tune_sketch.storage.history import History

NUM_STARTUP = 10  # random suggestions of Optuna's TPE before it models
MANY = 10**9


class LastValueTPE(Sampler):
    """Optuna's TPE with its defaults, wired as Ray's OptunaSearch does: each trial counts with its last value.

    A trial that ASHA stopped after one epoch is told as complete with that epoch's value; running ones count among the
    bad (Optuna's constant liar, on by default). The arithmetic is that of history_tpe.py, which a test compares with
    Optuna's: Optuna itself would take ten times as long.
    """

    def __init__(self, task: SearchTask) -> None:
        super().__init__(task)
        self.values = history_tpe.History(most_values=MANY)
        self.running: dict[int, Trial] = {}
        self.num_seen = 0

    def propose(self, number: int, history: History) -> Proposal:
        new = range(self.num_seen, len(history.trials))
        self.running = {number: history.trials[number] for number in (*self.running, *new)}
        self.num_seen = len(history.trials)
        for trial in [trial for trial in self.running.values() if not trial.is_unfinished]:
            self.values.add(trial.params, trial.distributions, trial.epochs[-1].val_top1)
            del self.running[trial.number]
        if len(self.values) < NUM_STARTUP:
            return propose_at_random(self.task, number)
        running = [trial.params for trial in self.running.values()]
        sampler = history_tpe.HistorySampler(self.values, derive_seed(self.task.seed, "sampler", number), running)
        return ask(self.task, optuna.create_study(direction="maximize", sampler=sampler), Source("tpe"))


class FirstAlone(Sampler):
    """The first configuration and nothing else: a measure of what was known before the search."""

    def propose(self, number: int, history: History) -> None:
        return None


class IncumbentBefore(IncumbentSampler):
    """The default as it was until searches of few trainings were looked at: few_trainings.py."""

    min_values, kept_fraction, num_strata = 8, 0.5, 0


class Method(NamedTuple):
    """A sampler and how ASHA stops its trials: at the rungs of (grace, factor), or not at all."""

    make_sampler: Callable[..., Sampler]
    reduction_factor: int | None = 3  # None: every trial is trained fully
    grace_epochs: int | None = None  # None: the product's default for the task
    passes: int = 1  # of one factor at a time

    def rungs(self, task: Task) -> list[int]:
        if self.reduction_factor is None:
            return [task.max_epochs]
        return rung_epochs(self.grace_epochs or task.grace_epochs, task.max_epochs, self.reduction_factor)


METHODS = {
    "incumbent": Method(IncumbentSampler),
    "incumbent-warm": Method(IncumbentSampler),  # after two searches on other tasks of its group
    "incumbent-before": Method(IncumbentBefore),
    "first-alone": Method(FirstAlone, None),
    "random": Method(UniformSampler, None),
    "random+asha": Method(UniformSampler),
    "ray-default": Method(LastValueTPE, 4, 1),  # ASHAScheduler() and OptunaSearch() with their own defaults
    "ray-matched": Method(LastValueTPE),  # the same at our rungs
    "tpe": Method(LastValueTPE, None),
    "one-factor": Method(OneFactorSampler, None),
    "one-factor-repeated": Method(OneFactorSampler, None, passes=50),
}


def factors_of(method: str, task: Task) -> dict[str, Any]:
    """The factors of a task for the paper's way, in order."""
    return {"factors": task.factors} if method.startswith("one-factor") else {}

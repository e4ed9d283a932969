"""The ways to search that are compared, by name: our strategies, and Optuna as Ray wires it."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from ray.tune.search import Searcher

from benchmarks.curves.tasks import Task
from tune_sketch.config.settings import derive_seed
from tune_sketch.samplers.base import SpaceSearcher, Suggestion
from tune_sketch.samplers.history_tpe import History, HistorySampler
from tune_sketch.samplers.incumbent import RungSearcher
from tune_sketch.samplers.one_factor import OneFactorSearcher
from tune_sketch.samplers.strategies import RandomSearcher
from tune_sketch.schedulers.rungs import rung_epochs
from tune_sketch.storage.journal import Record

NUM_STARTUP = 10  # random suggestions of Optuna's TPE before it models
MANY = 10**9


class LastValueTPE(SpaceSearcher):
    """Optuna's TPE with its defaults, wired as Ray's OptunaSearch does: each trial counts with its last value.

    A trial that ASHA stopped after one epoch is told as complete with that epoch's value; running ones count among the
    bad (Optuna's constant liar, on by default). The arithmetic is that of `samplers/history_tpe.py`, which a test
    compares with Optuna's: Optuna itself would take ten times as long.
    """

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.history = History(most_values=MANY)
        self.running: dict[int, Record] = {}
        self.num_seen = 0

    def sample(self, number: int) -> Suggestion:
        if number < len(self.first):
            return self.sample_first(number)
        self.running |= {record.number: record for record in self.journal.trials[self.num_seen :]}
        self.num_seen = len(self.journal.trials)
        for record in [record for record in self.running.values() if not record.is_unfinished]:
            self.history.add(record.params, record.distributions, record.epochs[-1]["val_top1"])
            del self.running[record.number]
        if len(self.history) < NUM_STARTUP:
            return self.sample_at_random(number)
        running = [record.params for record in self.running.values()]
        sampler = HistorySampler(self.history, derive_seed(self.seed, "sampler", number), running)
        return self.ask(self.make_study(sampler), {"kind": "model", "rung": None})

    def make_study(self, sampler: HistorySampler) -> Any:
        import optuna

        return optuna.create_study(direction="maximize", sampler=sampler)


class Method(NamedTuple):
    """A searcher and how ASHA stops its trials: at the rungs of (grace, factor), or not at all."""

    make_searcher: Callable[..., Searcher]
    reduction_factor: int | None = 3  # None: every trial is trained fully
    grace_epochs: int | None = None  # None: the product's default for the task

    def rungs(self, task: Task) -> list[int]:
        if self.reduction_factor is None:
            return [task.max_epochs]
        return rung_epochs(self.grace_epochs or task.grace_epochs, task.max_epochs, self.reduction_factor)


METHODS = {
    "rung-tpe": Method(RungSearcher),
    "rung-tpe-warm": Method(RungSearcher),  # after two searches on other tasks of its group
    "random": Method(RandomSearcher, None),
    "random+asha": Method(RandomSearcher),
    "ray-default": Method(LastValueTPE, 4, 1),  # ASHAScheduler() and OptunaSearch() with their own defaults
    "ray-matched": Method(LastValueTPE),  # the same at our rungs
    "tpe": Method(LastValueTPE, None),
    "one-factor": Method(partial(OneFactorSearcher, passes=1), None),
    "one-factor-repeated": Method(partial(OneFactorSearcher, passes=50), None),
}


def factors_of(method: str, task: Task) -> dict[str, Any]:
    """What the study's way needs to know of a task: its factors, in order."""
    return {"factors": task.factors} if method.startswith("one-factor") else {}

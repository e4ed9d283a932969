"""The interface of a search strategy: which configuration to try next, as a pure function of the history."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import optuna
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import BaseTrial, FixedTrial, TrialState

from tune_sketch.config.seeds import derive_seed
from tune_sketch.events import Config, Proposal, Source, Trial
from tune_sketch.schedulers.rungs import expected_epochs_per_trial
from tune_sketch.search_spaces import SpaceLimits
from tune_sketch.storage.history import History

Space = Callable[[BaseTrial, SpaceLimits], dict[str, Any]]


@dataclass(frozen=True)
class SearchTask:
    """The task of a sampler: the space, and the limits of the search."""

    space: Space
    limits: SpaceLimits
    rungs: Sequence[int]  # epochs at which trials are compared; the last is the full budget
    num_samples: int
    seed: int = 0
    first: Sequence[tuple[Config, Source]] = ()  # sampled parameters to try before all others, and where they are from
    passes: int = 1  # of one factor at a time


class Sampler(ABC):
    """A search strategy. The task's first configurations come first whatever the strategy.

    It must be a pure function of the history: its randomness comes from (seed, trial number), so that a resumed search
    proposes what an uninterrupted one would have. What it keeps between calls is a cache.
    """

    name: ClassVar[str]  # of --strategy
    summary: ClassVar[str]  # for the plan
    stops_trials: ClassVar[bool] = True  # whether ASHA may stop a trial at a rung
    most_trials: ClassVar[int] = 0  # that it can use, for each pass; 0: any number

    def __init__(self, task: SearchTask) -> None:
        self.task = task
        optuna.logging.set_verbosity(optuna.logging.WARNING)

    def next(self, history: History) -> Proposal | None:
        """The next configuration; None when there is none, or none yet."""
        number = len(history.trials)
        if number >= self.task.num_samples:
            return None
        if number < len(self.task.first):
            params, source = self.task.first[number]
            return propose_fixed(self.task, params, source)
        return self.propose(number, history)

    def begin(self, history: History) -> list[Trial]:
        """The trials that an earlier session left, which go on first."""
        return [trial for trial in history.trials if trial.is_unfinished]

    def set_aside(self, trial: Trial, history: History) -> bool:
        """Whether a trial that may go on at a rung waits there: no trial of a search of one network does."""
        return False

    @abstractmethod
    def propose(self, number: int, history: History) -> Proposal | None:
        """The configuration of trial `number`, which is not one of the first."""

    @classmethod
    def expected_epochs(cls, rungs: Sequence[int], reduction_factor: int) -> float:
        """Mean epochs of a trial, roughly: most are stopped at a rung."""
        return expected_epochs_per_trial(rungs, reduction_factor)


def propose_fixed(task: SearchTask, params: Config, source: Source) -> Proposal:
    """A proposal with given parameters. Raises ValueError when the space has one that is not given."""
    trial = FixedTrial(params)
    config = task.space(trial, task.limits)
    return Proposal(config, trial.params, trial.distributions, source)


def propose_from(task: SearchTask, sampler: BaseSampler, source: Source) -> Proposal:
    """The suggestion of one of Optuna's samplers for the space, which knows no values but the sampler's own."""
    study = optuna.create_study(sampler=sampler, direction="maximize")
    return ask(task, study, source)


def ask(task: SearchTask, study: optuna.Study, source: Source) -> Proposal:
    """The suggestion of the study's sampler for the space. The study keeps no value of it: those come otherwise."""
    trial = study.ask()
    config = task.space(trial, task.limits)
    params, distributions = trial.params, trial.distributions
    study.tell(trial, state=TrialState.FAIL)
    return Proposal(config, params, distributions, source)


def nearest_value(distribution: FloatDistribution | IntDistribution, value: float) -> float | int:
    """The number of a range that is nearest: within it and on its grid, where it has one; whole, where they are."""
    if distribution.step:
        value = distribution.low + round((value - distribution.low) / distribution.step) * distribution.step
    value = min(max(value, distribution.low), distribution.high)
    return int(value) if isinstance(distribution, IntDistribution) else value


def propose_at_random(task: SearchTask, number: int) -> Proposal:
    """Uniform in the space, on the scales of its distributions."""
    sampler = RandomSampler(seed=derive_seed(task.seed, "sampler", number))
    return propose_from(task, sampler, Source("random"))

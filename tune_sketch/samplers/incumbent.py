"""Suggests configurations by the values of one rung: the best one crossed, TPE, or random; a Ray Tune searcher."""

import random
from types import ModuleType
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import RandomSampler

from tune_sketch.config.settings import derive_seed
from tune_sketch.samplers.base import SpaceSearcher, Suggestion
from tune_sketch.samplers.history_tpe import History, HistorySampler
from tune_sketch.schedulers.rungs import value_at_rung
from tune_sketch.storage.journal import Journal, Record

MIN_VALUES = 8  # a rung with fewer values is not modelled
RANDOM_FRACTION = 0.2  # of the suggestions: insurance against a model that is wrong
CROSSED_FRACTION = 0.6  # of the suggestions: the best so far, crossed with a random one; the rest is modelled
KEPT_FRACTION = 0.5  # of the best one's parameters, in the mean


class RungSearcher(SpaceSearcher):
    """Crossings of the best and TPE, both rung-aware: never compares values of different epochs.

    For each rung there is the history of the trials that got there, with their values at that rung (a trial that
    ended by itself earlier counts with its final value). Suggestions rest on the deepest rung with at least MIN_VALUES
    values: three in five are the best configuration there with each parameter drawn anew by even chance, one in five is
    what TPE proposes there, one in five is random. What else was tried: benchmarks/results/search_variants-cpu.md.
    The first suggestion is the study's own configuration.

    All state is a pure function of the journal: the sampler is reseeded from (seed, trial number) for every
    suggestion, and the rungs' values are kept in the order in which they were recorded.
    """

    def __init__(self, journal: Journal, space: ModuleType, limits: Any, rungs: list[int], **more: Any) -> None:
        super().__init__(journal, space, limits, rungs, **more)
        self.study = optuna.create_study(direction="maximize")  # through which the space is asked; holds no values
        self.histories = {rung: History() for rung in rungs}
        self.known: dict[int, set[int]] = {rung: set() for rung in rungs}
        self.best: dict[int, tuple[float, int]] = {}  # by rung: the highest value and the first trial that had it
        self.num_seen = 0  # trials that were new to learn() once
        self.open: list[Record] = []  # those of them that may still reach a rung

    def sample(self, number: int) -> Suggestion:
        if number < len(self.first):
            return self.sample_first(number)
        self.learn()
        rung = next((r for r in reversed(self.rungs) if len(self.known[r]) >= MIN_VALUES), None)
        chance = random.Random(derive_seed(self.seed, "random", number)).random()
        if rung is None or chance < RANDOM_FRACTION:
            return self.sample_at_random(number)
        seed = derive_seed(self.seed, "sampler", number)
        if chance < RANDOM_FRACTION + CROSSED_FRACTION:
            parent = self.best[rung][1]
            self.study.sampler = CrossingSampler(self.journal.trials[parent].params, seed)
            return self.ask(self.study, {"kind": "crossed", "rung": rung, "parent": parent})
        self.study.sampler = HistorySampler(self.histories[rung], seed)
        return self.ask(self.study, {"kind": "model", "rung": rung})

    def learn(self) -> None:
        """Bring the rungs' histories up to date with the journal, in the order in which values were recorded."""
        records = self.open + self.journal.trials[self.num_seen :]
        for rung, history in self.histories.items():
            known, new = self.known[rung], []
            for record in records:
                reached = value_at_rung(record, rung) if record.number not in known else None
                if reached is not None:
                    new.append((reached[1], record.number, reached[0]))
            for _, number, value in sorted(new):
                record = self.journal.trials[number]
                history.add(record.params, record.distributions, value)
                known.add(number)
                if rung not in self.best or value > self.best[rung][0]:
                    self.best[rung] = (value, number)
        self.num_seen = len(self.journal.trials)
        self.open = [record for record in records if record.is_unfinished]


class CrossingSampler(RandomSampler):
    """Keeps each parameter of a configuration by chance and draws the others uniformly."""

    def __init__(self, params: dict[str, Any], seed: int) -> None:
        super().__init__(seed)
        self.params, self.random = params, random.Random(seed)

    def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: BaseDistribution) -> Any:
        keeps = self.random.random() < KEPT_FRACTION
        if keeps and param_name in self.params and holds(param_distribution, self.params[param_name]):
            return self.params[param_name]
        return super().sample_independent(study, trial, param_name, param_distribution)


def holds(distribution: BaseDistribution, value: Any) -> bool:
    """Whether a value is in the range, which may have changed since it was tried: a resumed search can have longer
    trainings."""
    if isinstance(distribution, CategoricalDistribution):
        return value in distribution.choices
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    return distribution.low <= value <= distribution.high

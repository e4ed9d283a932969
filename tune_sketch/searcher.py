"""Suggests configurations: rung-aware TPE on Optuna's ask, as a Ray Tune searcher."""

import random
from types import ModuleType
from typing import Any

import optuna

from tune_sketch.job_searcher import SpaceSearcher, Suggestion
from tune_sketch.journal import Journal, Record
from tune_sketch.rungs import value_at_rung
from tune_sketch.settings import derive_seed
from tune_sketch.tpe import History, HistorySampler

MIN_VALUES = 8  # a rung with fewer values is not modelled
RANDOM_FRACTION = 0.2  # of the suggestions: insurance against a model that is wrong


class RungSearcher(SpaceSearcher):
    """Rung-aware TPE: never compares values of different epochs.

    For each rung there is the history of the trials that got there, with their values at that rung (a trial that
    ended by itself earlier counts with its final value). A suggestion comes from TPE on the deepest rung with at
    least MIN_VALUES values, one in five from random sampling. The first suggestion is the study's own configuration.

    All state is a pure function of the journal: the sampler is reseeded from (seed, trial number) for every
    suggestion, and the rungs' values are kept in the order in which they were recorded.
    """

    def __init__(self, journal: Journal, space: ModuleType, limits: Any, rungs: list[int], **more: Any) -> None:
        super().__init__(journal, space, limits, rungs, **more)
        self.study = optuna.create_study(direction="maximize")  # through which the space is asked; holds no values
        self.histories = {rung: History() for rung in rungs}
        self.known: dict[int, set[int]] = {rung: set() for rung in rungs}
        self.num_seen = 0  # trials that were new to learn() once
        self.open: list[Record] = []  # those of them that may still reach a rung

    def sample(self, number: int) -> Suggestion:
        if number < len(self.first):
            return self.sample_first(number)
        self.learn()
        rung = next((r for r in reversed(self.rungs) if len(self.known[r]) >= MIN_VALUES), None)
        if rung is not None and random.Random(derive_seed(self.seed, "random", number)).random() < RANDOM_FRACTION:
            rung = None
        if rung is None:
            return self.sample_at_random(number)
        self.study.sampler = HistorySampler(self.histories[rung], derive_seed(self.seed, "sampler", number))
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
        self.num_seen = len(self.journal.trials)
        self.open = [record for record in records if record.is_unfinished]

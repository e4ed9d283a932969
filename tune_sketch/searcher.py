"""Suggests configurations: rung-aware TPE on Optuna's ask, as a Ray Tune searcher."""

import json
import random
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import TPESampler
from optuna.search_space import IntersectionSearchSpace
from optuna.trial import FixedTrial, FrozenTrial, TrialState, create_trial
from ray.tune.search import Searcher

from tune_sketch.journal import Journal, Record
from tune_sketch.rungs import value_at_rung
from tune_sketch.settings import derive_seed

MIN_VALUES = 8  # a rung with fewer values is not modelled
RANDOM_FRACTION = 0.2  # of the suggestions: insurance against a model that is wrong


class JobSearcher(Searcher):
    """Hands Ray the trainings that the journal says are unfinished, those begun first; then, if any, new ones.

    A training whose process died comes back here, so that going on after a dead process, a dead node and a dead
    driver is one and the same: the job is handed out again and finds its checkpoint.
    """

    def __init__(
        self,
        journal: Journal,
        unfinished: Iterable[Record],
        job: Callable[[Record], dict[str, Any]],
        may_ask: Callable[[], bool] = lambda: True,
    ) -> None:
        super().__init__(metric="val_top1", mode="max")
        self.journal, self.job, self.may_ask = journal, job, may_ask
        self.unfinished = sorted(unfinished, key=lambda record: not record.epochs)
        self.handed_out: dict[str, Record] = {}

    def suggest(self, trial_id: str) -> Any:
        """The next job; None while there may be one later; FINISHED when there is none."""
        record = None
        if self.may_ask():
            record = self.unfinished.pop(0) if self.unfinished else self.suggest_new()
        if record is None:
            # Not finished while anything runs: its process may die, and then it is handed out again.
            return None if self.handed_out else Searcher.FINISHED
        self.journal.unpark(record)
        self.handed_out[trial_id] = record
        return self.job(record)

    def suggest_new(self) -> Record | None:
        """A training that is not in the journal yet, or None."""
        return None

    def on_trial_complete(self, trial_id: str, result: dict | None = None, error: bool = False) -> None:
        """Take back a training whose process died. How it ended otherwise, the scheduler has recorded."""
        record = self.handed_out.pop(trial_id)
        if error and record.is_unfinished:
            self.unfinished.append(record)

    def save(self, checkpoint_path: str) -> None:
        """Satisfy Ray's snapshots; the journal is what a resumed search starts from."""
        Path(checkpoint_path).write_text(json.dumps({"state": "in the study database"}))

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore."""

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Ray pickles its tuner, but what a resume needs is in the journal."""
        return {}


class RungSampler(TPESampler):
    """TPE with a seed of its own for every suggestion, and the memory of its rung: which values all trials have.

    Optuna's sampler looks that up in all trials again after each new seed: half of its time at 1,000 trials.
    """

    def __init__(self, common_space: IntersectionSearchSpace, seed: int) -> None:
        super().__init__(seed=seed, n_startup_trials=1)
        self.common_space = common_space

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return {name: values for name, values in self.common_space.calculate(study).items() if not values.single()}


class RungSearcher(JobSearcher):
    """Rung-aware TPE: never compares values of different epochs.

    For each rung there is one Optuna study in memory that holds the trials that got there, with their values at that
    rung (a trial that ended by itself earlier counts with its final value). A suggestion comes from Optuna's TPE on
    the deepest rung with at least MIN_VALUES values, one in five from random sampling. The first suggestion is the
    study's own configuration.

    All state is a pure function of the journal: the sampler is reseeded from (seed, trial number) for every
    suggestion, and the rungs' values are kept in the order in which they were recorded.
    """

    def __init__(
        self,
        journal: Journal,
        space: ModuleType,
        limits: Any,
        rungs: list[int],
        *,
        seed: int,
        num_samples: int,
        first: Iterable[dict[str, Any]],
        job: Callable[[Record], dict[str, Any]],
        may_ask: Callable[[], bool] = lambda: True,
    ) -> None:
        super().__init__(journal, (r for r in journal.trials if r.is_unfinished), job, may_ask)
        self.space, self.limits, self.rungs = space, limits, rungs
        self.seed, self.num_samples, self.first = seed, num_samples, list(first)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.studies = {rung: optuna.create_study(direction="maximize") for rung in rungs}
        self.common_spaces = {rung: IntersectionSearchSpace() for rung in rungs}
        self.known: dict[int, set[int]] = {rung: set() for rung in rungs}
        self.num_seen = 0  # trials that were new to learn() once
        self.open: list[Record] = []  # those of them that may still reach a rung

    def suggest_new(self) -> Record | None:
        """The next configuration, committed to the journal."""
        number = len(self.journal.trials)
        if number >= self.num_samples:
            return None
        config, params, distributions, origin = self.sample(number)
        seed = derive_seed(self.seed, "trial", number)
        return self.journal.add_trial(config, params, distributions, seed=seed, origin=origin)

    def sample(self, number: int) -> tuple[dict[str, Any], dict[str, Any], dict[str, BaseDistribution], dict]:
        """(configuration, sampled part of it, its distributions, where it came from) for trial `number`."""
        origin: dict[str, Any]
        if number < len(self.first):
            fixed = FixedTrial(self.first[number], number=number)
            config = self.space.space(fixed, self.limits)
            return config, fixed.params, fixed.distributions, {"kind": "study", "rung": None}
        self.learn()
        rung = next((r for r in reversed(self.rungs) if len(self.known[r]) >= MIN_VALUES), None)
        if rung is not None and random.Random(derive_seed(self.seed, "random", number)).random() < RANDOM_FRACTION:
            rung = None
        seed = derive_seed(self.seed, "sampler", number)
        if rung is None:
            study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed), direction="maximize")
            origin = {"kind": "random", "rung": None}
        else:
            study = self.studies[rung]
            study.sampler = RungSampler(self.common_spaces[rung], seed)
            origin = {"kind": "model", "rung": rung}
        trial = study.ask()
        config = self.space.space(trial, self.limits)
        params, distributions = trial.params, trial.distributions
        study.tell(trial, state=TrialState.FAIL)  # the asked trial was a question only; values come by learn()
        return config, params, distributions, origin

    def learn(self) -> None:
        """Bring the rungs' studies up to date with the journal, in the order in which values were recorded."""
        records = self.open + self.journal.trials[self.num_seen :]
        for rung, study in self.studies.items():
            known, new = self.known[rung], []
            for record in records:
                reached = value_at_rung(record, rung) if record.number not in known else None
                if reached is not None:
                    new.append((reached[1], record.number, reached[0]))
            for _, number, value in sorted(new):
                record = self.journal.trials[number]
                with warnings.catch_warnings():
                    # Ranges that grew when a search was extended: older values stay valid points.
                    warnings.simplefilter("ignore", UserWarning)
                    study.add_trial(create_trial(params=record.params, distributions=record.distributions, value=value))
                known.add(number)
        self.num_seen = len(self.journal.trials)
        self.open = [record for record in records if record.is_unfinished]

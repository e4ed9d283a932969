"""Hands Ray the trainings to run: those that the journal says are unfinished, then new ones by a search's strategy."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FixedTrial, TrialState
from ray.tune.search import Searcher

from tune_sketch.config.settings import derive_seed
from tune_sketch.storage.journal import Journal, Record

Suggestion = tuple[dict[str, Any], dict[str, Any], dict[str, BaseDistribution], dict[str, Any]]


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


class SpaceSearcher(JobSearcher):
    """What every strategy shares: new trials come from one search space, the study's own configuration first.

    A strategy is a subclass with `sample`. It must be a pure function of the journal: its randomness comes from
    (seed, trial number), so that a resumed search suggests what an uninterrupted one would have.
    """

    stops_trials = True  # whether ASHA may stop a trial at a rung

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
        earlier: Iterable[tuple[dict[str, Any], dict[str, Any]]] = (),
        job: Callable[[Record], dict[str, Any]],
        may_ask: Callable[[], bool] = lambda: True,
    ) -> None:
        super().__init__(journal, (r for r in journal.trials if r.is_unfinished), job, may_ask)
        self.space, self.limits, self.rungs = space, limits, rungs
        self.seed, self.num_samples, self.first = seed, num_samples, list(first)
        self.first_origins: list[dict[str, Any]] = [{"kind": "study"} for _ in self.first]
        for params, origin in earlier:  # of other searches
            self.first.append(params)
            self.first_origins.append(origin)
        optuna.logging.set_verbosity(optuna.logging.WARNING)

    def suggest_new(self) -> Record | None:
        """The next configuration, committed to the journal; None when there is none, or none yet."""
        number = len(self.journal.trials)
        suggestion = self.sample(number) if number < self.num_samples else None
        if suggestion is None:
            return None
        config, params, distributions, origin = suggestion
        seed = derive_seed(self.seed, "trial", number)
        return self.journal.add_trial(config, params, distributions, seed=seed, origin=origin)

    def sample(self, number: int) -> Suggestion | None:
        """(configuration, sampled part of it, its distributions, where it came from) for trial `number`."""
        raise NotImplementedError

    def sample_first(self, number: int) -> Suggestion:
        """One of the configurations that come first, whatever the strategy."""
        fixed = FixedTrial(self.first[number], number=number)
        config = self.space.space(fixed, self.limits)
        return config, fixed.params, fixed.distributions, {"rung": None} | self.first_origins[number]

    def ask(self, study: optuna.Study, origin: dict[str, Any]) -> Suggestion:
        """What the study's sampler suggests for the space. The study keeps no value of it: those come otherwise."""
        trial = study.ask()
        config = self.space.space(trial, self.limits)
        params, distributions = trial.params, trial.distributions
        study.tell(trial, state=TrialState.FAIL)
        return config, params, distributions, origin

    def sample_at_random(self, number: int) -> Suggestion:
        """Uniform in the space, on the scales of its distributions."""
        sampler = optuna.samplers.RandomSampler(seed=derive_seed(self.seed, "sampler", number))
        study = optuna.create_study(sampler=sampler, direction="maximize")
        return self.ask(study, {"kind": "random", "rung": None})

"""Takes the best configurations of earlier searches, of other data or models, as first suggestions of a new one."""

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial

from tune_sketch.samplers.one_factor import FixedSampler, middle_of
from tune_sketch.schedulers.rungs import rank_trials
from tune_sketch.search_spaces import known_space
from tune_sketch.search_spaces.common import SpaceLimits
from tune_sketch.storage.journal import Record
from tune_sketch.storage.run_directory import RunDirectory

NUM_TAKEN = 4  # of all earlier searches together: few, so that a misleading one costs little


def read_earlier(paths: Sequence[str]) -> list[dict[str, Any]]:
    """What is taken, as search.json keeps it: run, trial, params and the run's max_epochs.

    Raises ValueError for what is no run directory, or has no trial that trained.
    """
    ranked = []
    for path in paths:
        run = RunDirectory(Path(path))
        settings = run.read_settings()
        journal = run.open_journal(read_only=True)
        best = rank_trials([r for r in journal.trials if r.origin["kind"] != "study"])
        journal.close()
        if not best:
            raise ValueError(f"--warm-start {path}: none of its trials trained for an epoch")
        ranked.append([describe(record, run.name, settings.max_epochs) for record in best[:NUM_TAKEN]])
    return choose_in_turn(ranked)


def describe(record: Record, run: str, max_epochs: int) -> dict[str, Any]:
    return {"run": run, "trial": record.number, "params": record.params, "max_epochs": max_epochs}


def choose_in_turn(ranked: Sequence[Sequence[dict[str, Any]]]) -> list[dict[str, Any]]:
    """The best of each search, then the second of each, and so on, until there are NUM_TAKEN."""
    in_turn = [entry for entries in zip_longest(*ranked) for entry in entries if entry is not None]
    return in_turn[:NUM_TAKEN]


def adapt(earlier: Mapping[str, Any], model: str, limits: SpaceLimits) -> dict[str, Any]:
    """The nearest parameters in the model's space: what the earlier search did not have is the study's.

    The number of epochs keeps its share of the most epochs of a trial.
    """
    space, params = known_space(model), dict(earlier["params"])
    if "epochs" in params:
        params["epochs"] = round(params["epochs"] * limits.max_epochs / earlier["max_epochs"])
    study = optuna.create_study(sampler=NearestSampler({**space.STUDY, **params}))
    trial = study.ask()
    space.space(trial, limits)
    return trial.params


def origin_of(earlier: Mapping[str, Any]) -> dict[str, Any]:
    """Where the trial came from, for its record."""
    return {"kind": "warm-start", "run": earlier["run"], "trial": earlier["trial"]}


class NearestSampler(FixedSampler):
    """Gives each parameter the value in its range that is nearest to the wanted one."""

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        value = self.values.get(param_name)
        if isinstance(param_distribution, CategoricalDistribution):
            if value in param_distribution.choices:
                return value
        elif value is not None:
            assert isinstance(param_distribution, FloatDistribution | IntDistribution)
            return min(max(value, param_distribution.low), param_distribution.high)
        return middle_of(param_distribution)

"""Takes the best configurations of earlier searches, of other data or models, as first proposals of a new one."""

from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial

from tune_sketch.events import Config, Source
from tune_sketch.samplers.base import nearest_value
from tune_sketch.samplers.one_factor import FixedSampler, middle_of
from tune_sketch.schedulers.rungs import rank_trials
from tune_sketch.search_spaces import SpaceLimits, known_space
from tune_sketch.storage.facts import EarlierTrial, read_facts
from tune_sketch.storage.reading import read_history
from tune_sketch.storage.run_directory import RunDirectory

FIRST_KINDS = ("paper", "recipe")  # which the new search tries anyway
NUM_TAKEN = 4  # of all earlier searches together: few, so that a misleading one costs little


def read_earlier(paths: Sequence[str]) -> tuple[EarlierTrial, ...]:
    """Trials of earlier runs. Raises ValueError for what is no run directory, or has no trial that trained."""
    ranked = []
    for path in paths:
        run = RunDirectory(Path(path))
        facts = read_facts(run)
        best = rank_trials([trial for trial in read_history(run).trials if trial.source.kind not in FIRST_KINDS])
        if not best:
            raise ValueError(f"--warm-start {path}: none of its trials trained for an epoch")
        ranked.append(
            [
                EarlierTrial(run.name, trial.number, trial.params, facts.of(trial.network).settings.max_epochs)
                for trial in best[:NUM_TAKEN]
            ]
        )
    return tuple(choose_in_turn(ranked))


def choose_in_turn(ranked: Sequence[Sequence[EarlierTrial]]) -> list[EarlierTrial]:
    """The best of each search, then the second of each, and so on, until there are NUM_TAKEN."""
    in_turn = [entry for entries in zip_longest(*ranked) for entry in entries if entry is not None]
    return in_turn[:NUM_TAKEN]


def adapt(earlier: EarlierTrial, model: str, limits: SpaceLimits) -> Config:
    """The nearest parameters in the model's space: what the earlier search did not have is the paper's.

    The number of epochs keeps its share of the most epochs of a trial.
    """
    space, params = known_space(model), dict(earlier.params)
    if "epochs" in params:
        params["epochs"] = round(int(params["epochs"]) * limits.max_epochs / earlier.max_epochs)
    study = optuna.create_study(sampler=NearestSampler({**space.PAPER, **params}))
    trial = study.ask()
    space.space(trial, limits)
    return trial.params


def source_of(earlier: EarlierTrial) -> Source:
    """Where the trial came from, for its record."""
    return Source("warm-start", run=earlier.run, trial=earlier.trial)


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
            return nearest_value(param_distribution, float(value))
        return middle_of(param_distribution)

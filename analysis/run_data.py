"""Reads one run in any state, its journal and the files of its results, into what tables and figures need."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from tune_sketch.analysis.scales import config_order
from tune_sketch.config.settings import Settings, resolve_choices
from tune_sketch.data import SketchData, open_data
from tune_sketch.data.bounds import parsing
from tune_sketch.data.sketch_data import is_whole
from tune_sketch.data.splits import Splits, read_splits
from tune_sketch.events import Trial
from tune_sketch.inference.model import Classifier, has_network, load_classifier, read_model_file
from tune_sketch.retraining.finalists import Finalist, find_finalists
from tune_sketch.schedulers.rungs import rank_trials
from tune_sketch.storage.facts import Facts, WeightsFacts, read_facts
from tune_sketch.storage.files import read_csv
from tune_sketch.storage.history import History
from tune_sketch.storage.lock import read_owner
from tune_sketch.storage.probabilities import read_probabilities
from tune_sketch.storage.reading import read_history
from tune_sketch.storage.run_directory import RunDirectory
from tune_sketch.storage.same_content import find_data
from tune_sketch.storage.version_0_1 import key_of_0_1


@dataclass(frozen=True)
class Prediction:
    """The chosen network's answer for one test drawing."""

    image: str  # name of the drawing
    true_class: str
    predicted_class: str
    probability: float  # of the predicted class


@dataclass(frozen=True)
class RunData:
    """One run. What is not there yet is empty or None."""

    run: RunDirectory
    facts: Facts
    history: History
    finalists: tuple[Finalist, ...]  # with at least one completed retraining, the chosen one first
    predictions: tuple[Prediction, ...]  # of the whole test split
    best_key: str | None  # of the retraining or last step whose network is in best/
    cache: Path  # of the decoded drawings, if they are still there

    @property
    def name(self) -> str:
        return self.run.path.resolve().name

    @property
    def settings(self) -> Settings:
        return self.facts.settings

    @property
    def trials(self) -> list[Trial]:
        """Trials of the search, by number."""
        return self.history.trials

    @cached_property
    def retrainings(self) -> list[Trial]:
        """Retrainings of the finalists, by trial and seed index."""
        return [trial for _, trial in sorted(self.history.retrainings.items())]

    @cached_property
    def last_steps(self) -> list[Trial]:
        """Trainings on training and validation drawings together, by trial."""
        return [trial for _, trial in sorted(self.history.last_steps.items())]

    @property
    def rungs(self) -> list[int]:
        """Of all networks together, where there are several."""
        return sorted({rung for own in self.facts.of_each().values() for rung in own.settings.rungs})

    @cached_property
    def network(self) -> str | None:
        """The network that was chosen, or has the best trial so far; None where the search has one."""
        if not self.facts.networks:
            return None
        chosen = self.chosen.network if self.chosen is not None else None
        return chosen or (self.ranked[0].network if self.ranked else self.settings.model)

    @property
    def model(self) -> str:
        """The name of the search's network, of several the best one's."""
        return self.network or self.settings.model

    @property
    def weights(self) -> WeightsFacts:
        """The initial weights of that network."""
        return self.facts.of(self.network).weights

    def of_best_network(self) -> "RunData":
        """The same, as if the best network had been the only one: its trials and their rungs."""
        if self.network is None:
            return self
        trials = [trial for trial in self.trials if trial.network == self.network]
        return replace(self, facts=self.facts.of(self.network), history=replace(self.history, trials=trials))

    @cached_property
    def ranked(self) -> list[Trial]:
        """Trials that trained at all, best first."""
        return rank_trials(self.trials)

    @property
    def chosen(self) -> Finalist | None:
        """The finalist that was chosen on validation, before the test split was read."""
        return next((finalist for finalist in self.finalists if finalist.is_chosen), None)

    @cached_property
    def is_running(self) -> bool:
        """Whether another process is at work on it; the one that writes this report has come to its end."""
        owner = read_owner(self.run)
        return owner is not None and owner.process != os.getpid()

    @cached_property
    def varied(self) -> list[str]:
        """Names of the configuration that differ between trials, in the order of the search space."""
        names = sorted({name for trial in self.trials for name in trial.config}, key=config_order)
        return [n for n in names if len({str(trial.config.get(n)) for trial in self.trials}) > 1]

    @cached_property
    def data(self) -> SketchData | None:
        """The decoded drawings, or None where their cache is not on this machine, or of another version."""
        return open_data(self.cache) if is_whole(self.cache) else None

    @cached_property
    def splits(self) -> Splits | None:
        return read_splits(self.run.splits_csv, self.data) if self.data is not None else None

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.facts.data.class_names

    @cached_property
    def test_indices(self) -> np.ndarray:
        """int64 [num_test]: index in the data set of each prediction."""
        assert self.data is not None
        index = {name: index for index, name in enumerate(self.data.names)}
        with parsing(self.run.predictions_csv):
            return np.array([index[prediction.image] for prediction in self.predictions], dtype=np.int64)

    @cached_property
    def test_labels(self) -> np.ndarray:
        """int64 [num_test]: true classes."""
        index = {name: label for label, name in enumerate(self.class_names)}
        return np.array([index[prediction.true_class] for prediction in self.predictions], dtype=np.int64)

    @cached_property
    def predicted_labels(self) -> np.ndarray:
        """int64 [num_test]: predicted classes."""
        index = {name: label for label, name in enumerate(self.class_names)}
        return np.array([index[prediction.predicted_class] for prediction in self.predictions], dtype=np.int64)

    @cached_property
    def predicted_probabilities(self) -> np.ndarray:
        """float64 [num_test]: the probability of the predicted class."""
        return np.array([prediction.probability for prediction in self.predictions])

    def read_test_probabilities(self, key: str) -> np.ndarray | None:
        """float32 [num_test, num_classes] of a retrained network, rows as in predictions; None where not kept."""
        for name in (key, key_of_0_1(key)):
            if self.run.test_probabilities(name).is_file():
                probabilities = read_probabilities(self.run.test_probabilities(name))
                if self.predictions and probabilities.shape != (len(self.predictions), len(self.class_names)):
                    raise ValueError(
                        f"{self.run.test_probabilities(name)} is of {list(probabilities.shape)} drawings and classes, "
                        f"{self.run.predictions_csv.name} of {[len(self.predictions), len(self.class_names)]}"
                    )
                return probabilities
        return None

    @cached_property
    def best_model(self) -> Classifier | None:
        """The chosen network, or None before there is one."""
        return load_classifier(self.run.path) if has_network(self.run) else None

    def label(self, number: int) -> str:
        """A trial's name on figures: the paper's configuration, the recipe and the chosen finalist are marked."""
        finalist = next((finalist for finalist in self.finalists if finalist.number == number), None)
        return f"trial {number}{' (paper)' * (number == 0) if finalist is None else finalist.mark}"


def read_run(path: Path, storage: str | None = None, data: str | None = None) -> RunData:
    """Read a run directory. Raises ValueError when it is none, or when a file in it is damaged.

    storage: the URL of the database again where the run's record is in one that needs a password. data: where the
    drawings lie now, to decode them again if their decoded copy is gone; ValueError when they are others.
    """
    run = RunDirectory(path)
    facts = read_facts(run)
    cache = Path(facts.data.cache)
    if data is not None and not is_whole(cache):
        cache = find_data(run, facts, replace(facts.settings, **resolve_choices({"data": data})))
    history = read_history(run, storage if facts.storage is not None else None)
    finalists = [finalist for finalist in find_finalists(history) if finalist.retrainings]
    model_file = run.best / "model.json"
    return RunData(
        run=run,
        facts=facts,
        history=history,
        finalists=tuple(sorted(finalists, key=lambda finalist: (not finalist.is_chosen, finalist.number))),
        predictions=read_predictions(run, facts) if run.predictions_csv.is_file() else (),
        best_key=read_model_file(model_file).retraining if model_file.is_file() else None,
        cache=cache,
    )


def read_predictions(run: RunDirectory, facts: Facts) -> tuple[Prediction, ...]:
    """The best guess of each row of predictions.csv. Raises ValueError where it is damaged."""
    rows, known, found = read_csv(run.predictions_csv), set(facts.data.class_names), []
    with parsing(run.predictions_csv):
        for row in rows:
            prediction = Prediction(row["image"], row["true_class"], row["class_1"], float(row["probability_1"]))
            if not {prediction.true_class, prediction.predicted_class} <= known or not 0 <= prediction.probability <= 1:
                raise ValueError(f"no class of the run, or no probability: {row!r:.200}")
            found.append(prediction)
    return tuple(found)


def runs_with_result(runs: Sequence[RunData]) -> list[RunData]:
    """Runs with a test result, the best on validation first."""
    tested = [run for run in runs if run.chosen is not None and run.chosen.values("test_top1")]
    return sorted(tested, key=lambda run: -((run.chosen and run.chosen.mean("val_top1")) or 0.0))


def name_runs(runs: Sequence[RunData]) -> dict[Path, str]:
    """{path of a run: its model, with the directory's name where two runs have the same}."""
    models = [run.model for run in runs]
    return {r.run.path: r.model + (f" ({r.name})" if models.count(r.model) > 1 else "") for r in runs}

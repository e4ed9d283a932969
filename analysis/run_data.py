"""Reads the files of one run directory, whatever state the run is in, into what tables and figures need."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tune_sketch.config.settings import SearchSettings
from tune_sketch.data import SketchData, open_data
from tune_sketch.data.splits import Splits, read_splits
from tune_sketch.inference.model import Classifier, load_classifier
from tune_sketch.schedulers.rungs import rank_trials, rung_epochs
from tune_sketch.storage.journal import Record
from tune_sketch.storage.run_directory import METRICS, PLACE, RunDirectory, read_csv, read_owner


@dataclass(frozen=True)
class RunData:
    """One run as its files tell it. What is not there yet is an empty list or None."""

    run: RunDirectory
    search: dict[str, Any]
    settings: SearchSettings
    trials: list[Record]  # of the search
    retrainings: list[Record]
    confirm: list[dict[str, str]]  # rows of confirm.csv
    predictions: list[dict[str, str]]  # rows of predictions.csv
    model: dict[str, Any] | None  # best/model.json

    @property
    def name(self) -> str:
        return self.run.path.resolve().name

    @property
    def rungs(self) -> list[int]:
        s = self.settings
        return rung_epochs(s.grace_epochs, s.max_epochs, s.reduction_factor)

    @cached_property
    def ranked(self) -> list[Record]:
        """Trials that trained at all, best first."""
        return rank_trials(self.trials)

    @cached_property
    def is_running(self) -> bool:
        return read_owner(self.run) is not None

    @cached_property
    def varied(self) -> list[str]:
        """Names of the configuration that differ between trials, in the order of the search space."""
        names = sorted({name for record in self.trials for name in record.config}, key=config_order)
        return [n for n in names if len({str(record.config.get(n)) for record in self.trials}) > 1]

    @cached_property
    def data(self) -> SketchData | None:
        """The decoded drawings, or None where their cache is not on this machine."""
        folder = Path(self.search["data"]["cache"])
        return open_data(folder) if (folder / "meta.json").is_file() else None

    @cached_property
    def splits(self) -> Splits | None:
        return read_splits(self.run.splits_csv, self.data) if self.data is not None else None

    @property
    def class_names(self) -> list[str]:
        return self.search["data"]["class_names"]

    @cached_property
    def test_labels(self) -> np.ndarray:
        """int64 [num_test]: true classes of the rows of predictions.csv."""
        index = {name: label for label, name in enumerate(self.class_names)}
        return np.array([index[row["true_class"]] for row in self.predictions], dtype=np.int64)

    @cached_property
    def predicted_labels(self) -> np.ndarray:
        """int64 [num_test]: the best class of each row of predictions.csv."""
        index = {name: label for label, name in enumerate(self.class_names)}
        return np.array([index[row["class_1"]] for row in self.predictions], dtype=np.int64)

    @cached_property
    def best_probabilities(self) -> np.ndarray:
        """float64 [num_test]: the probability of the best class."""
        return np.array([float(row["probability_1"]) for row in self.predictions])

    @cached_property
    def test_probabilities(self) -> np.ndarray | None:
        """float32 [num_test, num_classes] of the chosen network, rows as in predictions.csv; None where not kept."""
        if self.model is None:
            return None
        path = self.run.retrained / f"{self.model['retraining']}-test.npz"
        if not path.is_file():
            return None
        with np.load(path) as file:
            return file["probabilities"]

    @cached_property
    def best_model(self) -> Classifier | None:
        """The chosen network, or None before there is one."""
        has_weights = self.model is not None and (self.run.best / "weights.pt").is_file()
        return load_classifier(self.run.path) if has_weights else None

    def confirm_row(self, trial: int, row: str) -> dict[str, str]:
        """The row "mean", "interval_low", ... of one finalist."""
        return next((r for r in self.confirm if int(r["trial"]) == trial and r["row"] == row), {})

    def mean_of(self, trial: int | None, metric: str, row: str = "mean") -> float | None:
        """One number over a finalist's seeds, None where it is missing."""
        return None if trial is None else number_of(self.confirm_row(trial, row).get(metric, ""))

    def confirm_seeds(self, trial: int) -> list[dict[str, str]]:
        """The rows of a finalist's retrainings that were trained to their end."""
        return [r for r in self.confirm if int(r["trial"]) == trial and r["row"] == "seed" and r["val_top1"]]

    @cached_property
    def finalists(self) -> list[int]:
        """Trial numbers in confirm.csv of which at least one retraining ended well; the chosen one first."""
        numbers = dict.fromkeys(int(row["trial"]) for row in self.confirm)
        return sorted((n for n in numbers if self.confirm_seeds(n)), key=lambda n: (n != self.chosen, n))

    @cached_property
    def chosen(self) -> int | None:
        """The finalist that was chosen on validation."""
        return next((int(row["trial"]) for row in self.confirm if row["is_chosen"] == "True"), None)


def read_run(path: Path) -> RunData:
    """Read a run directory. Raises ValueError when it is none, or when a file in it is damaged."""
    run = RunDirectory(path)
    search = run.read_search()
    model_file = run.best / "model.json"
    return RunData(
        run=run,
        search=search,
        settings=SearchSettings.from_json(search["settings"]),
        trials=read_trials(run),
        retrainings=read_retrainings(run),
        confirm=read_csv(run.confirm_csv) if run.confirm_csv.is_file() else [],
        predictions=read_csv(run.predictions_csv) if run.predictions_csv.is_file() else [],
        model=json.loads(model_file.read_text()) if model_file.is_file() else None,
    )


def read_trials(run: RunDirectory) -> list[Record]:
    """The search's trials from trials.csv and epochs.csv."""
    if not run.trials_csv.is_file():
        return []
    epochs: dict[int, list[dict[str, Any]]] = {}
    if run.epochs_csv.is_file():
        for row in read_csv(run.epochs_csv):
            epochs.setdefault(int(row["trial"]), []).append(epoch_of(row))
    return [
        Record(
            key=f"trial-{int(row['trial']):04d}",
            number=int(row["trial"]),
            config=config_of(row),
            seed=int(row["seed"]),
            origin=json.loads(row.get("origin_more") or "{}")
            | {"kind": row["origin"], "rung": number_of(row["origin_rung"])},
            status=row["status"],
            epochs=sorted(epochs.get(int(row["trial"]), []), key=lambda epoch: epoch["epoch"]),
            started_at=number_of(row["started_at"]) or 0.0,
            ended_at=number_of(row["ended_at"]),
            error=row["error"],
        )
        for row in read_csv(run.trials_csv)
    ]


def read_retrainings(run: RunDirectory) -> list[Record]:
    """The finalists' retrainings from confirm_epochs.csv: only their epochs are known."""
    if not run.confirm_epochs_csv.is_file():
        return []
    records: dict[str, Record] = {}
    for row in read_csv(run.confirm_epochs_csv):
        number, seed_index = int(row["trial"]), int(row["seed_index"])
        key = f"confirm-{number:04d}-{seed_index:02d}"
        record = records.setdefault(key, Record(key=key, number=number, config={}, seed=0))
        record.epochs.append(epoch_of(row))
    return list(records.values())


def epoch_of(row: dict[str, str]) -> dict[str, Any]:
    """One epoch's metrics as numbers, NaN where one is missing, and the place where it was trained as text."""
    names = (*METRICS, "recorded_at")
    values = {name: number_of(row.get(name, "")) for name in names}
    numbers = {name: math.nan if value is None else value for name, value in values.items()}
    return {"epoch": int(row["epoch"])} | numbers | {name: row.get(name, "") for name in PLACE}


def config_of(row: dict[str, str]) -> dict[str, Any]:
    """The configuration in one row of trials.csv; a conditional name that the trial has not is left out."""
    columns = (name for name in row if name.startswith("config/") and row[name] != "")
    return {name.removeprefix("config/"): value_of(row[name]) for name in columns}


def value_of(text: str) -> bool | int | float | str:
    """A configuration's value from its text in a CSV file."""
    if text in ("True", "False"):
        return text == "True"
    number = number_of(text)
    if number is None:
        return text
    return int(text) if text.lstrip("-").isdigit() else number


def number_of(text: str) -> float | None:
    """A number from its text in a CSV file, None for an empty cell or a word."""
    try:
        return float(text)
    except ValueError:
        return None


CONFIG_ORDER = (
    *("optimizer", "learning_rate", "momentum", "decay", "batch_size", "epochs"),
    *("weight_decay", "dropout", "label_smoothing", "freeze"),
)


def config_order(name: str) -> tuple[int, str]:
    """Sort key: what matters most in training first, then the rest by name."""
    return (CONFIG_ORDER.index(name) if name in CONFIG_ORDER else len(CONFIG_ORDER), name)


def is_numeric(values: Sequence[Any]) -> bool:
    """Whether values are better drawn on a scale than as words: floats, or more than a few whole numbers."""
    if any(isinstance(v, bool | str) for v in values):
        return False
    return any(isinstance(v, float) and v % 1 for v in values) or len(set(values)) > 5


def is_logarithmic(values: Sequence[Any]) -> bool:
    """Whether numbers that a search space gave look drawn on a logarithmic scale: wide, and most of them small."""
    positive = sorted(v for v in values if isinstance(v, int | float) and not isinstance(v, bool) and v > 0)
    if len(positive) < 2:
        return False
    return positive[-1] / positive[0] > 20 and positive[-1] / positive[len(positive) // 2] > 4


def short_text(value: Any) -> str:
    """A configuration's value for a reader."""
    if value is None:
        return ""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def percent_text(fraction: float | str | None, digits: int = 1) -> str:
    """A fraction in [0, 1] as percent; nothing for a missing one."""
    if fraction is None or fraction == "" or math.isnan(float(fraction)):
        return ""
    return f"{100 * float(fraction):.{digits}f}"


def interval_text(low: Any, high: Any) -> str:
    """A 95 % interval in percent, kept inside 0 to 100, or nothing."""
    if low in (None, "") or high in (None, ""):
        return ""
    return f"{percent_text(max(0.0, float(low)))} to {percent_text(min(1.0, float(high)))}"


def signed_interval_text(low: float, high: float) -> str:
    """A 95 % interval of a difference of fractions, in points."""
    return f"{100 * low:+.1f} to {100 * high:+.1f}"

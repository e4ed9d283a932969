"""Knows the files of a run directory: the contract with users, tests and other tools."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from tune_sketch.storage.files import write_text


@dataclass(frozen=True)
class RunDirectory:
    """Paths inside one run directory."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def search_json(self) -> Path:
        return self.path / "search.json"

    @property
    def splits_csv(self) -> Path:
        return self.path / "splits.csv"

    @property
    def journal_log(self) -> Path:
        return self.path / "journal.log"

    @property
    def study_db(self) -> Path:
        """The record of a run that version 0.1 made."""
        return self.path / "study.db"

    @property
    def owner_json(self) -> Path:
        return self.path / "owner.json"

    @property
    def trials_csv(self) -> Path:
        return self.path / "trials.csv"

    @property
    def epochs_csv(self) -> Path:
        return self.path / "epochs.csv"

    @property
    def retraining_csv(self) -> Path:
        return self.path / "retraining.csv"

    @property
    def retraining_epochs_csv(self) -> Path:
        return self.path / "retraining_epochs.csv"

    @property
    def finalists_csv(self) -> Path:
        return self.path / "finalists.csv"

    @property
    def winner_csv(self) -> Path:
        return self.path / "winner.csv"

    @property
    def predictions_csv(self) -> Path:
        return self.path / "predictions.csv"

    @property
    def best(self) -> Path:
        return self.path / "best"

    @property
    def retrained(self) -> Path:
        return self.path / "retrained"

    @property
    def tensorboard(self) -> Path:
        return self.path / "tensorboard"

    @property
    def report_html(self) -> Path:
        return self.path / "report.html"

    @property
    def stop_file(self) -> Path:
        return self.path / "stop"

    @property
    def errors(self) -> Path:
        return self.path / "errors"

    @property
    def ray(self) -> Path:
        return self.path / "ray"

    @property
    def all_checkpoints(self) -> Path:
        return self.path / "checkpoints"

    def checkpoints(self, key: str) -> Path:
        """The checkpoints of one training."""
        return self.all_checkpoints / key

    def kept_weights(self, key: str) -> Path:
        """The file of a retrained network's weights."""
        return self.retrained / f"{key}.pt"

    def test_probabilities(self, key: str) -> Path:
        """The file of a retrained network's probabilities for the test split."""
        return self.retrained / f"{key}-test.npz"

    def validation_probabilities(self, key: str) -> Path:
        """The file of a retrained network's probabilities for the validation split; a last step has none."""
        return self.retrained / f"{key}-validation.npz"

    def error_file(self, key: str) -> Path:
        """The traceback of a failed training."""
        return self.errors / f"{key}.txt"

    def save_error(self, key: str, text: str) -> None:
        """Keep a failed training's traceback."""
        self.errors.mkdir(exist_ok=True)
        write_text(self.error_file(key), text.rstrip() + "\n")

    def remove_checkpoints(self, key: str) -> None:
        """Give back the space of a training that has ended."""
        shutil.rmtree(self.checkpoints(key), ignore_errors=True)

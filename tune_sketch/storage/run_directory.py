"""Knows the files and columns of a run directory: the contract with users, tests and other tools."""

import contextlib
import csv
import fcntl
import json
import os
import shutil
import socket
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from tune_sketch.config.settings import SearchSettings
from tune_sketch.storage.journal import Journal, Record, to_json_text

METRICS = (  # of one epoch, in the order of epochs.csv; fractions in [0, 1], losses in nats
    "train_loss",
    "train_top1",
    "train_top5",
    "val_loss",
    "val_top1",
    "val_top5",
    "learning_rate",
    "images_per_second",
    "epoch_seconds",
    "micro_batch",
    "frozen_views",  # stored views that the epoch's activations of frozen layers came from; 0: computed anew
)
PLACE = ("node", "process", "gpus")  # where an epoch was trained: address, process id, GPUs; empty in older runs
TEST_METRICS = ("top1", "top5", "loss", "precision", "recall", "f1")
TRIAL_COLUMNS = (  # then one column config/NAME for each value of the configuration
    "trial",
    "status",
    "origin",
    "origin_rung",
    "origin_more",  # JSON of what else is known of it, as the step of one factor
    "num_epochs",
    "best_epoch",
    "best_val_top1",
    "last_val_top1",
    "last_val_top5",
    "last_val_loss",
    "train_seconds",
    "started_at",
    "ended_at",
    "seed",
    "error",
)
CONFIRM_METRICS = ("val_top1", "val_top5", "val_loss", *(f"test_{name}" for name in TEST_METRICS))
# `row` is "seed" for one retraining; "mean", "standard_deviation", "interval_low", "interval_high" over a finalist's.
CONFIRM_COLUMNS = (
    "row",
    "trial",
    "seed_index",
    "seed",
    "status",
    "num_epochs",
    *CONFIRM_METRICS,
    "num_test",
    "test_top1_wilson_low",
    "test_top1_wilson_high",
    "train_seconds",
    "is_study",
    "is_chosen",
)


@dataclass(frozen=True)
class RunDirectory:
    """Paths inside one run directory."""

    path: Path

    @property
    def search_json(self) -> Path:
        return self.path / "search.json"

    @property
    def splits_csv(self) -> Path:
        return self.path / "splits.csv"

    @property
    def study_db(self) -> Path:
        return self.path / "study.db"

    @property
    def trials_csv(self) -> Path:
        return self.path / "trials.csv"

    @property
    def epochs_csv(self) -> Path:
        return self.path / "epochs.csv"

    @property
    def confirm_csv(self) -> Path:
        return self.path / "confirm.csv"

    @property
    def confirm_json(self) -> Path:
        return self.path / "confirm.json"

    @property
    def confirm_epochs_csv(self) -> Path:
        return self.path / "confirm_epochs.csv"

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
    def ray(self) -> Path:
        return self.path / "ray"

    @property
    def name(self) -> str:
        return self.path.name

    def checkpoints(self, key: str) -> Path:
        return self.path / "checkpoints" / key

    def error_file(self, key: str) -> Path:
        return self.path / "errors" / f"{key}.txt"

    def save_error(self, record: Record, text: str) -> None:
        """Keep a failed training's traceback."""
        self.error_file(record.key).parent.mkdir(exist_ok=True)
        write_text(self.error_file(record.key), text.rstrip() + "\n")

    def remove_checkpoints(self, record: Record) -> None:
        """Give back the space of a training that has ended."""
        shutil.rmtree(self.checkpoints(record.key), ignore_errors=True)

    def read_search(self) -> dict[str, Any]:
        """search.json. Raises ValueError when this is not a run directory."""
        if not self.search_json.is_file():
            raise ValueError(f"{self.path} is not a run directory: it has no search.json")
        return json.loads(self.search_json.read_text())

    def read_settings(self) -> SearchSettings:
        """The settings that the search was last run with."""
        return SearchSettings.from_json(self.read_search()["settings"])

    def open_journal(self, storage: str | None = None, *, read_only: bool = False) -> Journal:
        """The journal of this run, to read or (by the owner alone) to write.

        `storage` gives the database's URL again where it needs a password: run directories hold no secrets.
        """
        search = self.read_search()
        url = storage or search["storage"] or f"sqlite:///{self.study_db}"
        if url.startswith("sqlite:///") and not self.study_db.is_file():
            raise ValueError(f"{self.path} has lost its study database {self.study_db.name}")
        if storage is None and search["storage"] is not None and "***" in search["storage"]:
            raise ValueError(
                f"the database {search['storage']} needs its password: give --storage again with it, "
                "or keep it in PostgreSQL's password file"
            )
        return Journal(url, search["study_name"], read_only=read_only)


@contextlib.contextmanager
def replace_whole(path: Path) -> Iterator[TextIO]:
    """A file to write that takes the place of `path` when it is whole and on the disk, or else leaves the old one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "w", encoding="utf-8", newline="") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)  # on a full disk it would keep others from writing


def write_text(path: Path, text: str) -> None:
    """Write a whole file or leave the old one."""
    with replace_whole(path) as file:
        file.write(text)


def write_json(path: Path, value: Any) -> None:
    """Write a whole JSON file or leave the old one."""
    write_text(path, to_json_text(value))


def write_csv(path: Path, columns: Iterable[str], rows: Iterable[dict[str, Any]]) -> None:
    """Write a whole CSV file or leave the old one. A value that a row lacks is an empty cell."""
    with replace_whole(path) as file:
        writer = csv.DictWriter(file, list(columns), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file as text."""
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write_tables(run: RunDirectory, journal: Journal) -> None:
    """Write trials.csv and epochs.csv from the journal, and confirm_epochs.csv once finalists are being retrained."""
    names = sorted({name for record in journal.trials for name in record.config})
    write_csv(
        run.trials_csv,
        [*TRIAL_COLUMNS, *(f"config/{name}" for name in names)],
        (trial_row(record) for record in journal.trials),
    )
    write_csv(
        run.epochs_csv,
        ["trial", "epoch", *METRICS, *PLACE, "recorded_at"],
        ({"trial": record.number, **epoch} for record in journal.trials for epoch in record.epochs),
    )
    if journal.retrainings:
        write_csv(
            run.confirm_epochs_csv,
            ["trial", "seed_index", "epoch", *METRICS, *PLACE, "recorded_at"],
            (
                {"trial": record.number, "seed_index": int(record.key.rsplit("-", 1)[1]), **epoch}
                for record in sorted(journal.retrainings.values(), key=lambda record: record.key)
                for epoch in record.epochs
            ),
        )


def trial_row(record: Record) -> dict[str, Any]:
    """One row of trials.csv."""
    best = record.best_epoch
    last = record.epochs[-1] if record.epochs else {}
    more = {name: value for name, value in record.origin.items() if name not in ("kind", "rung")}
    return {
        "trial": record.number,
        "status": record.status,
        "origin": record.origin["kind"],
        "origin_rung": record.origin["rung"],
        "origin_more": json.dumps(more, sort_keys=True) if more else "",
        "num_epochs": len(record.epochs),
        "best_epoch": best.get("epoch"),
        "best_val_top1": best.get("val_top1"),
        "last_val_top1": last.get("val_top1"),
        "last_val_top5": last.get("val_top5"),
        "last_val_loss": last.get("val_loss"),
        "train_seconds": sum(epoch["epoch_seconds"] for epoch in record.epochs),
        "started_at": record.started_at,
        "ended_at": record.ended_at,
        "seed": record.seed,
        "error": record.error,
        **{f"config/{name}": value for name, value in record.config.items()},
    }


@contextlib.contextmanager
def own(run: RunDirectory) -> Iterator[None]:
    """Be the only process that writes this run directory.

    The operating system holds the lock and lets go of it when the process ends, however it ends: a lock of a dead
    process needs no cleaning up. Raises ValueError that names the owner's host and process when a search is at work.
    """
    with open(run.path / "owner.json", "a+", encoding="utf-8") as file:
        for attempt in reversed(range(5)):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                # Someone who only looks, by read_owner, has let go of it a moment later.
                if attempt == 0:
                    raise ValueError(f"{run.path} is in use by {describe_owner(run)}") from None
                time.sleep(0.1)
        file.truncate(0)
        json.dump({"host": socket.gethostname(), "process": os.getpid(), "since": time.time()}, file)
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


def read_owner(run: RunDirectory) -> dict[str, Any] | None:
    """{"host", "process", "since"} of the process that holds the run directory now, or None."""
    try:
        with open(run.path / "owner.json", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                text = file.read()
                return json.loads(text) if text else {"host": "unknown", "process": 0, "since": 0.0}
    except FileNotFoundError:
        pass
    return None


def describe_owner(run: RunDirectory) -> str:
    """The owner in words."""
    owner = read_owner(run)
    return f"process {owner['process']} on {owner['host']}" if owner else "another process"

"""Reads and writes tables of learning curves on small sets of drawings, see record.py."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

TABLES = {name: Path(__file__).parent / f"{name}.npz" for name in ("sketch", "pretrained")}
METRICS = ("train_loss", "train_top1", "val_loss", "val_top1", "val_top5", "epoch_seconds")


@dataclass(frozen=True)
class Curves:
    """One task of the table.

    params: sampled parameters of each training [N]; configuration, repeat: int [N], repeat 1 is a second seed;
    metrics: name -> float32 [N, epochs], NaN from the epoch on in which a training diverged.
    """

    task: str
    params: list[dict[str, Any]]
    configuration: np.ndarray
    repeat: np.ndarray
    metrics: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.params)


def pack_rows(rows: list[dict[str, Any]], path: Path) -> str:
    """Write what `record` gathered as one compressed file; a line that says what is in it."""
    rows = sorted(rows, key=lambda row: (row["task"], row["repeat"], row["configuration"]))
    num_epochs = max(len(row["epochs"]) for row in rows)
    columns = {name: np.full((len(rows), num_epochs), np.nan, np.float32) for name in METRICS}
    for index, row in enumerate(rows):
        for epoch, metrics in enumerate(row["epochs"]):
            for name in METRICS:
                columns[name][index, epoch] = metrics[name]
    np.savez_compressed(
        path,
        task=np.array([row["task"] for row in rows]),
        configuration=np.array([row["configuration"] for row in rows], np.int32),
        repeat=np.array([row["repeat"] for row in rows], np.int8),
        params=np.array([json.dumps(row["params"], sort_keys=True) for row in rows]),
        **columns,
    )
    num_diverged = sum(row["status"] == "diverged" for row in rows)
    return f"{path}: {len(rows)} trainings of {num_epochs} epochs, {num_diverged} diverged, {path.stat().st_size} bytes"


def load_table(path: Path = TABLES["sketch"]) -> dict[str, Curves]:
    """Task -> its curves."""
    with np.load(path, allow_pickle=False) as file:
        columns = {name: file[name] for name in file.files}
    tables = {}
    for task in np.unique(columns["task"]):
        rows = np.flatnonzero(columns["task"] == task)
        tables[str(task)] = Curves(
            task=str(task),
            params=[json.loads(str(columns["params"][row])) for row in rows],
            configuration=columns["configuration"][rows],
            repeat=columns["repeat"][rows],
            metrics={name: columns[name][rows] for name in METRICS},
        )
    return tables

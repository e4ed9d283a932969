"""Jobs of trainings that take seconds, without a driver: decoded doodles, their division, and all that Job names."""

from pathlib import Path
from typing import Any

from tune_sketch.data import DataRequest, open_data, prepare_data
from tune_sketch.data.splits import make_splits, write_splits
from tune_sketch.events import Job


def decode_doodles(cache: Path) -> Path:
    """The folder of 48 decoded doodles of 32 px in four classes."""
    return prepare_data(DataRequest("doodles", 32, classes=4, per_class=12), cache_dir=cache, progress=False)


def make_job(folder: Path, decoded: Path, config: dict[str, Any], **changes: Any) -> Job:
    """A training of the baseline on decoded drawings; its files are in `folder`."""
    data = open_data(decoded)
    splits = make_splits(data.labels, data.groups, protocol="small", split_by="file", seed=0)
    write_splits(folder / "splits.csv", data, splits)
    values: dict[str, Any] = {
        "key": "trial-0000",
        "model": "baseline",
        "config": config,
        "seed": 0,
        "data": str(decoded),
        "splits": str(folder / "splits.csv"),
        "checkpoints": str(folder / "checkpoints"),
        "checkpoint_epochs": 1,
        "stop_file": str(folder / "stop"),
        "weights": None,
        "pretrained": False,
        "invert": True,
        "frozen_views": 0,
        "views_seed": 0,
        "num_threads": 1,
        "num_processes": 1,
        "gpus": 0.0,
    }
    return Job(**(values | changes))

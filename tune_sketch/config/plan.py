"""Gets ready what a search needs before Ray starts: decoded data, splits, initial weights, and the plan."""

import datetime
import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from tune_sketch.callbacks.progress import duration_text
from tune_sketch.config.settings import STRATEGIES, SearchSettings
from tune_sketch.data import SketchData, open_data, prepare_data, publish_data
from tune_sketch.data.splits import Splits, make_splits
from tune_sketch.schedulers.rungs import expected_epochs, rung_epochs
from tune_sketch.search_spaces.common import SpaceLimits
from tune_sketch.storage.database import hide_password


@dataclass(frozen=True)
class Inputs:
    """What every trial of a search shares."""

    cache: Path
    published: str  # where trainings on any machine find the cache: its path, or a URL
    data: SketchData
    splits: Splits
    weights_path: str | None
    weights_description: str
    pretrained: bool

    def limits(self, settings: SearchSettings) -> SpaceLimits:
        """What bounds the search space."""
        return SpaceLimits(max_epochs=settings.max_epochs, pretrained=self.pretrained)


def prepare_inputs(settings: SearchSettings) -> Inputs:
    """Decode (or reuse) the data, split it, find the weights. Raises ValueError for anything that is wrong."""
    cache = prepare_data(settings.data_request())
    data = open_data(cache)
    splits = make_splits(
        data.labels,
        data.groups,
        protocol=settings.protocol,
        split_by=settings.split_by,
        seed=settings.seed,
        class_names=data.class_names,
    )
    from tune_sketch.trainables.networks.weights import (
        resolve_weights,  # imports torch: after the data, whose errors come fast
    )

    weights = resolve_weights(settings.model, settings.weights)
    check_model_fits(settings)
    return Inputs(cache, publish_data(cache), data, splits, weights.path, weights.description, weights.pretrained)


def check_model_fits(settings: SearchSettings) -> None:
    """Raises ValueError when the images are too small for the network."""
    from tune_sketch.trainables.networks.registry import ARCHITECTURES

    least = ARCHITECTURES[settings.model].min_image_px
    if settings.image_px < least:
        raise ValueError(f"--image-px must be at least {least} for {settings.model}, got {settings.image_px}")


def describe_data(settings: SearchSettings, inputs: Inputs) -> dict[str, Any]:
    """The facts about the data that search.json keeps."""
    data, splits = inputs.data, inputs.splits
    return {
        "fingerprint": data.fingerprint,
        "cache": str(inputs.cache),
        "published": inputs.published,
        "stand_in": data.synthetic,
        "num_images": len(data.labels),
        "num_classes": len(data.class_names),
        "class_names": data.class_names,
        "has_photos": data.has_photos,
        "num_train": len(splits.train),
        "num_validation": len(splits.validation),
        "num_test": len(splits.test),
        "num_skipped": len(data.skipped),
        "skipped": data.skipped,
        "leaky_split": data.has_photos and settings.split_by == "file",
    }


def describe_machine() -> dict[str, Any]:
    """Versions, code version and hardware, so that a run directory explains itself."""
    return {
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": [Path(sys.argv[0]).name, *map(hide_password, sys.argv[1:])],
        "versions": {"python": platform.python_version()} | {name: find_version(name) for name in PACKAGES},
        "git_commit": find_git_commit(),
        "host": {"system": platform.system(), "machine": platform.machine(), "num_cpus": os.cpu_count()},
    }


PACKAGES = ("tune_sketch", "ray", "optuna", "torch", "torchvision", "numpy", "scikit-learn", "tensorboard")


def find_version(package: str) -> str | None:
    """The installed version, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def find_git_commit() -> str | None:
    """The commit of the code that runs, with "+changes" when files differ from it; None outside a checkout."""
    root = Path(__file__).parent.parent.parent
    try:
        commit = subprocess.run(
            ["git", "-C", root, "rev-parse", "HEAD"], capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()
        changes = subprocess.run(
            ["git", "-C", root, "status", "--porcelain"], capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
    return commit + ("+changes" if changes else "")


def plan_lines(settings: SearchSettings, inputs: Inputs) -> list[str]:
    """The plan in words: data, splits, weights, trials, rungs, the most and the expected epochs."""
    data, splits = inputs.data, inputs.splits
    counts = np.bincount(data.labels, minlength=len(data.class_names))
    rungs = rung_epochs(settings.grace_epochs, settings.max_epochs, settings.reduction_factor)
    expected = expected_epochs(settings)
    finalists, retrainings = settings.confirm_top + 1, (settings.confirm_top + 1) * settings.confirm_seeds
    stand_in = "  (generated drawings: a stand-in for real data)" if data.synthetic else ""
    split = f"by {settings.split_by}" if data.has_photos else "no photos known"
    lines = [
        f"model     {settings.model}, {inputs.weights_description}",
        f"data      {settings.data}: {len(data.labels)} drawings, {len(data.class_names)} classes of "
        f"{counts.min()} to {counts.max()}, at {settings.image_px} px{stand_in}",
        f"splits    {len(splits.train)} train, {len(splits.validation)} validation, {len(splits.test)} test "
        f"({settings.protocol}, {split})",
        f"strategy  {settings.strategy}: {STRATEGIES[settings.strategy]}",
        f"trials    at most {settings.num_samples}, none is stopped"
        if settings.strategy == "one-factor"
        else f"trials    {settings.num_samples}, compared at epochs {', '.join(map(str, rungs))}; "
        f"one in {settings.reduction_factor} goes on",
        f"epochs    at most {settings.num_samples * settings.max_epochs}, "
        f"about {settings.num_samples * expected:.0f} expected",
        f"confirm   {finalists} finalists raced in at most {retrainings} retrainings on fresh seeds, "
        f"{retrainings * settings.max_epochs} epochs",
    ]
    if settings.warm_start:
        lines.append(f"warm      begins with the best of {', '.join(settings.warm_start)}")
    budgets = budget_texts(settings)
    if budgets:
        lines.append(f"budget    the search ends earlier after {', or '.join(budgets)}")
    if data.has_photos and settings.split_by == "file":
        lines.append("WARNING   --split-by file puts drawings of one photo into training and test: too good a result")
    if data.skipped:
        lines.append(f"WARNING   {len(data.skipped)} bad files are left out (listed in search.json)")
    return lines


def budget_texts(settings: SearchSettings) -> list[str]:
    """What ends the search before its last trial, in words."""
    texts = []
    if settings.time_budget_seconds is not None:
        texts.append(f"{duration_text(settings.time_budget_seconds)} of searching")
    if settings.gpu_hours is not None:
        texts.append(f"{settings.gpu_hours:g} GPU-hours of training (worker-hours without a GPU)")
    if settings.min_gain is not None:
        texts.append(f"a trial from which on ten more may gain less than {100 * settings.min_gain:g} points of top-1")
    return texts


def expected_hours_lines(settings: SearchSettings, epoch_seconds: float, num_workers: int) -> list[str]:
    """What the plan costs, from the measured time of one epoch of the study's configuration."""
    search = settings.num_samples * expected_epochs(settings)
    confirm = (settings.confirm_top + 1) * settings.confirm_seeds * settings.max_epochs
    worker_seconds = (search + confirm) * epoch_seconds
    return [
        f"one epoch takes {epoch_seconds:.2f} s on one worker (measured now, the study's configuration)",
        f"expected  {duration_text(worker_seconds)} of worker time, {duration_text(worker_seconds / num_workers)} "
        f"with {num_workers} worker{'s' if num_workers > 1 else ''}",
    ]

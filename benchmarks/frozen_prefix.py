"""Measures what keeping frozen layers' activations gains in time, takes on disk, and costs in accuracy.

python -m benchmarks.frozen_prefix [--quick] [--only NAME ...] [--data FOLDER]

Speed: seconds of an epoch trained from drawings and from the store, alternating. Accuracy: validation top-1 of
ordinary training and of training over V stored views, on the same seeds. The networks are pretrained here, within
minutes, on every second class of the doodles: a stand-in for ImageNet weights; they are then trained on drawings of
other classes. From the measured speed follows by arithmetic what a search with the default rungs gains.
"""

import argparse
import itertools
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from benchmarks.frozen_prefix_tables import NUM_VIEWS, Rows, describe, judge, tabulate_differences
from benchmarks.machine import cpu_name, read_rows, result_path, write_result
from tune_sketch.data import DataRequest, open_data, prepare_data
from tune_sketch.data.doodles import CATEGORIES
from tune_sketch.data.splits import make_splits
from tune_sketch.search_spaces import SPACES
from tune_sketch.search_spaces.common import PAPER_AUGMENTATION, PAPER_RECIPE
from tune_sketch.storage.files import write_csv
from tune_sketch.storage.provenance import find_git_commit
from tune_sketch.trainables.batches import SplitArrays, TrainingSplits
from tune_sketch.trainables.networks.build import build_model
from tune_sketch.trainables.speed.devices import default_device
from tune_sketch.trainables.speed.feature_cache import CachePolicy
from tune_sketch.trainables.training import fit

CONFIG = {
    "optimizer": "adam",
    "learning_rate": 1e-3,
    "decay": 0.0,
    "batch_size": 32,
    "weight_decay": 1e-6,
    "label_smoothing": 0.0,
    "dropout": 0.0,
    # The middle of what the spaces sample. Stronger than the paper's: repeating views then costs more.
    "rotation_degrees": 15.0,
    "width_shift": 0.1,
    "height_shift": 0.1,
    "shear_degrees": 10.0,
    "zoom": 0.15,
    "flip": True,
    "pen_width": 0.25,
    **PAPER_RECIPE,
}
SPEED = {"resnet50": (64, 192), "densenet121": (64, 128)}  # image side in px, training drawings
QUICK_SPEED = {"squeezenet1_1": (48, 192)}


class Transfer(NamedTuple):
    """One network's pretraining on doodles and its training with frozen layers after it."""

    image_px: int
    pretraining_per_class: int
    pretraining_epochs: int
    learning_rate: float
    freeze_points: tuple[str, ...]
    seeds: int
    epochs: int


ACCURACY = {
    "baseline": Transfer(48, 200, 12, 1e-3, ("conv3",), 10, 40),
    "squeezenet1_1": Transfer(48, 200, 12, 3e-4, ("fire5",), 3, 40),
}
QUICK_ACCURACY = {"baseline": Transfer(48, 60, 6, 1e-3, ("conv3",), 2, 20)}


def load(request: DataRequest, seed: int, per_class: tuple[int, int] | None = None) -> TrainingSplits:
    """Training and validation drawings, divided by photo where photos are known; at most `per_class` of each."""
    data = open_data(prepare_data(request, progress=False))
    splits = make_splits(data.labels, data.groups, protocol="small", split_by="photo", seed=seed)
    train, validation = splits.train, np.concatenate([splits.validation, splits.test])
    if per_class is not None:
        train, validation = (
            np.concatenate([rows[data.labels[rows] == label][:count] for label in range(len(data.class_names))])
            for rows, count in zip((train, validation), per_class, strict=True)
        )
    return TrainingSplits(
        SplitArrays(data.images, data.labels, indices=train),
        SplitArrays(data.images, data.labels, indices=validation),
        num_classes=len(data.class_names),
        invert=True,
        fingerprint=data.fingerprint,
    )


def pretrain(model: str, plan: Transfer) -> tuple[Path, str]:
    """(weights file, what they are) of a network trained on every second class of the doodles; kept in $TMPDIR."""
    file = Path(tempfile.gettempdir()) / f"frozen_prefix-{model}-{'-'.join(map(str, plan[:4]))}.pt"
    if not file.exists():
        request = DataRequest(
            "doodles", plan.image_px, classes=tuple(sorted(CATEGORIES)[::2]), per_class=plan.pretraining_per_class
        )
        splits = load(request, seed=0)
        torch.manual_seed(0)
        config = CONFIG | PAPER_AUGMENTATION | {"epochs": plan.pretraining_epochs, "decay": 1e-3, "freeze": "none"}
        config |= {"learning_rate": plan.learning_rate}
        network = build_model(model, splits.num_classes)
        start = time.perf_counter()
        *_, (metrics, state) = fit(network, splits, config, seed=0, device=default_device(), pretrained=True)
        text = f"{model} at {plan.image_px} px was pretrained for {plan.pretraining_epochs} epochs "
        text += (
            f"({time.perf_counter() - start:.0f} s) on {len(splits.train)} doodles of {splits.num_classes} classes, "
        )
        text += f"where it has validation top-1 {metrics['val_top1']:.2f}."
        file.with_suffix(".txt").write_text(text)
        torch.save(state["model"], file)
    text = file.with_suffix(".txt").read_text()
    print(text, flush=True)
    return file, text


def begin(
    model: str,
    splits: TrainingSplits,
    weights: Path | None,
    seed: int,
    config: dict[str, Any],
    views: CachePolicy | None,
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """The epochs of one training of a network with frozen layers."""
    torch.manual_seed(seed)
    path = None if weights is None else str(weights)
    network = build_model(model, splits.num_classes, freeze=config["freeze"], weights_path=path)
    device = default_device()
    return fit(network, splits, config, seed=seed, device=device, pretrained=True, cache_policy=views)


def measure_speed(
    model: str, image_px: int, num_train: int, repeats: int, request: DataRequest, root: Path
) -> Iterator[dict[str, Any]]:
    """Per freeze point: seconds of an epoch from drawings, of filling the store, and of an epoch from it."""
    splits = load(request, seed=0)
    for split, count in ((splits.train, num_train), (splits.validation, num_train // 8)):
        assert split.indices is not None
        split.indices = np.random.default_rng(0).permutation(split.indices)[:count]
    for freeze in SPACES[model].FREEZE_POINTS[1:]:
        config = CONFIG | {"epochs": 3 + repeats, "freeze": freeze}
        folder = root / f"speed-{model}-{freeze}"
        ordinary = begin(model, splits, None, 0, config, None)
        reusing = begin(model, splits, None, 0, config, CachePolicy(1, 0, least_speedup=0.0, root=folder))
        next(ordinary)  # both begin with an ordinary epoch, which warms up
        next(reusing)
        filling = next(reusing)[0]["epoch_seconds"]
        seconds = [[next(epochs)[0]["epoch_seconds"] for epochs in (ordinary, reusing)] for _ in range(repeats)]
        ratios = [of_ordinary / of_reusing for of_ordinary, of_reusing in seconds]
        of_ordinary, of_reusing = (statistics.median(column) for column in zip(*seconds, strict=True))
        num_bytes = sum(file.stat().st_size for file in folder.rglob("view_*.npy"))
        row: dict[str, Any] = {"model": model, "freeze": freeze, "image_px": image_px, "num_train": len(splits.train)}
        row |= {"ordinary_seconds": of_ordinary, "filling_seconds": filling, "reusing_seconds": of_reusing}
        row |= {"speedup": statistics.median(ratios), "lowest": min(ratios), "highest": max(ratios), "n": repeats}
        row["bytes_per_view"] = num_bytes // len(splits.train)
        print(row, flush=True)
        yield row


def measure_accuracy(model: str, plan: Transfer, request: DataRequest, root: Path) -> Iterator[dict[str, Any]]:
    """Validation top-1 after the last epoch, of ordinary training (0 views) and over V views, on the same seeds."""
    weights, pretraining = pretrain(model, plan)
    for freeze, seed in itertools.product(plan.freeze_points, range(plan.seeds)):
        splits = load(request, seed, (12, 8))
        config = CONFIG | {"freeze": freeze, "epochs": plan.epochs, "learning_rate": plan.learning_rate}
        for num_views in (0, *NUM_VIEWS):
            views = CachePolicy(num_views, seed, least_speedup=0.0, root=root / "views")
            start = time.perf_counter()
            *_, (metrics, _) = begin(model, splits, weights, seed, config, views)
            assert metrics["frozen_views"] == num_views
            row: dict[str, Any] = {"model": model, "freeze": freeze, "seed": seed, "num_views": num_views}
            row |= {"epochs": plan.epochs, "num_classes": splits.num_classes, "num_train": len(splits.train)}
            row |= {"num_validation": len(splits.validation), "seconds": time.perf_counter() - start}
            row |= {name: metrics[name] for name in ("val_top1", "val_loss", "train_top1")}
            row |= {"data": Path(request.data).name, "pretraining": pretraining}
            print(row, flush=True)
            yield row


def keep_rows(name: str, rows: Rows, quick: bool) -> Rows:
    """Put rows into a result's CSV in place of those of the same network; all rows of it."""
    path = result_path(f"frozen_prefix-{name}", ".csv")
    if quick:
        path = Path(tempfile.gettempdir()) / path.name
    measured = {(new["model"], new["freeze"]) for new in rows}
    earlier = [] if quick else read_rows(path)
    old = [row for row in earlier if (row["model"], row["freeze"]) not in measured]
    where = {"processor": f"{os.cpu_count()} cores of {cpu_name()}", "commit": (find_git_commit() or "no commit")[:10]}
    rows = [*old, *(row | where for row in rows)]
    if rows:
        cells = ({k: round(v, 5) if isinstance(v, float) else v for k, v in row.items()} for row in rows)
        write_csv(path, rows[-1], cells)
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description="Speed, disk and accuracy of keeping frozen layers' activations.")
    parser.add_argument("--quick", action="store_true", help="a small network and two seeds; writes no result")
    parser.add_argument("--only", nargs="*", help="speed:MODEL or accuracy:MODEL; the other rows stay as they were")
    parser.add_argument("--data", help="drawings to train on: a folder (default: the other classes of the doodles)")
    parser.add_argument("--report", action="store_true", help="measure nothing, write the tables again")
    arguments = parser.parse_args()
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    speed_of = QUICK_SPEED if arguments.quick else SPEED
    accuracy_of = QUICK_ACCURACY if arguments.quick else ACCURACY
    wanted = arguments.only or [f"speed:{name}" for name in speed_of] + [f"accuracy:{name}" for name in accuracy_of]
    if arguments.report:
        wanted = []
    others = tuple(sorted(CATEGORIES)[1::2])
    speed: Rows = []
    accuracy: Rows = []
    try:
        with tempfile.TemporaryDirectory() as folder:
            for name, (image_px, num_train) in speed_of.items():
                if f"speed:{name}" in wanted:
                    request = DataRequest("doodles", image_px, classes=others, per_class=30)
                    speed.extend(measure_speed(name, image_px, num_train, 5, request, Path(folder)))
            for name, plan in accuracy_of.items():
                if f"accuracy:{name}" in wanted:
                    request = DataRequest("doodles", plan.image_px, classes=others, per_class=40)
                    if arguments.data:
                        request = DataRequest(arguments.data, plan.image_px, classes=40)
                    accuracy.extend(measure_accuracy(name, plan, request, Path(folder)))
    finally:  # also of what was measured until Ctrl-C
        speed, accuracy = keep_rows("speed", speed, arguments.quick), keep_rows("accuracy", accuracy, arguments.quick)
    differences = tabulate_differences(accuracy)
    lines = describe(speed, differences, accuracy)
    if not arguments.quick:
        write_result("frozen_prefix", "Frozen layers computed once", lines)
    print("\n".join(lines))
    verdict, passed = judge(speed, differences)
    print(verdict)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())

"""Measures the cost of a checkpoint: milliseconds, megabytes, and its share of an epoch.

python -m benchmarks.checkpoints [--quick]     baseline and resnet50 at 64 px on the CPU
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.machine import describe, write_result
from tests.support.kill_rows import spread
from tune_sketch.search_spaces import configuration_of, paper_configuration
from tune_sketch.search_spaces.common import SpaceLimits
from tune_sketch.trainables.batches import SplitArrays, TrainingSplits
from tune_sketch.trainables.checkpoints import read_newest_checkpoint, write_checkpoint
from tune_sketch.trainables.networks.build import build_model
from tune_sketch.trainables.training import fit

MODELS = ("baseline", "resnet50")
IMAGE_PX, NUM_CLASSES = 64, 125
NUM_IMAGES = {"baseline": 2000, "resnet50": 512}  # trained per measured epoch; its time is scaled to EPOCH_IMAGES
EPOCH_IMAGES = 2500  # 125 classes of 20 drawings
MOST_SHARE = 0.05  # of an epoch of that many drawings


def measure(model: str, optimizer: str, num_checkpoints: int) -> dict[str, Any]:
    """Seconds of an epoch and of writing and reading its checkpoint, and the checkpoint's bytes."""
    limits = SpaceLimits(max_epochs=3, pretrained=False)
    config = configuration_of(model, paper_configuration(model, limits), limits)
    config |= {"epochs": 3, "optimizer": optimizer, "batch_size": 32, "freeze": "none"}
    config |= {"momentum": 0.9} if optimizer == "sgd" else {}
    random = np.random.default_rng(0)
    images = (random.random((NUM_IMAGES[model], IMAGE_PX, IMAGE_PX)) < 0.1).astype(np.uint8) * 255
    arrays = SplitArrays(images, np.arange(len(images)) % NUM_CLASSES)
    few = SplitArrays(images[:64], arrays.labels[:64])
    splits = TrainingSplits(arrays, few, num_classes=NUM_CLASSES, invert=True)
    torch.manual_seed(0)
    network = build_model(model, NUM_CLASSES, dropout=float(config.get("dropout", 0.0)), freeze="none")
    epoch_seconds, write_seconds = [], []
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        for metrics, state in fit(network, splits, config, seed=0):
            copy_seconds = time.perf_counter() - started - metrics["epoch_seconds"]
            epoch_seconds.append(metrics["epoch_seconds"] * EPOCH_IMAGES / len(images))
            payload = {"key": "trial-0000", "config": config, "metrics": metrics, "state": state}
            for number in range(num_checkpoints):
                started = time.perf_counter() - copy_seconds  # of the state, in memory
                file = write_checkpoint(Path(folder), 10 * int(metrics["epoch"]) + number, payload)
                write_seconds.append(time.perf_counter() - started)
            started = time.perf_counter()
        started = time.perf_counter()
        assert read_newest_checkpoint(Path(folder)) is not None
        read_seconds = time.perf_counter() - started
        num_bytes = file.stat().st_size
    return {"epoch": epoch_seconds[1:], "write": write_seconds, "read": read_seconds, "bytes": num_bytes}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer repetitions; writes no result file")
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # as a trial has by default
    lines = [
        "| model, optimizer | checkpoint, MB | write, ms (least / median / most) | read and check, ms "
        f"| epoch of {EPOCH_IMAGES:,} drawings, s | share of the epoch |",
        "|---|---|---|---|---|---|",
    ]
    shares = []
    for model in MODELS:
        for optimizer in ("sgd", "adam"):
            seen = measure(model, optimizer, 1 if arguments.quick else 5)
            write_ms = [1e3 * seconds for seconds in seen["write"]]
            share = statistics.median(seen["write"]) / statistics.median(seen["epoch"])
            shares.append(share)
            lines.append(
                f"| {model}, {optimizer} | {seen['bytes'] / 1e6:.1f} | {spread(write_ms, '.0f')} "
                f"| {1e3 * seen['read']:.0f} | {spread(seen['epoch'], '.1f')} | {100 * share:.2f} % |"
            )
    print("\n".join(lines))
    if not arguments.quick:
        write_result("checkpoints", __doc__.splitlines()[0], lines)
    print(
        f"share of an epoch: most {100 * max(shares):.2f} %, may be {100 * MOST_SHARE:.0f} % "
        f"(n = {len(write_ms)} checkpoints each), {describe()}"
    )
    return 0 if max(shares) <= MOST_SHARE else 1


if __name__ == "__main__":
    sys.exit(main())

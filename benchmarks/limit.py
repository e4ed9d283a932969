"""How near an epoch of `fit` is to the same network fed with one batch that lies on the device: the ceiling.

Both use one thread of a CPU, as trials of a search do, and are timed in CPU seconds, which other programs disturb less
than seconds on the clock. On a GPU: `python -m benchmarks.gpu --only limit`.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks.machine import result_path, write_result
from tune_sketch.search_spaces.common import PAPER_RECIPE
from tune_sketch.storage.files import write_csv
from tune_sketch.trainables.batches import SplitArrays, TrainingSplits
from tune_sketch.trainables.evaluation import normalise
from tune_sketch.trainables.networks.build import build_model
from tune_sketch.trainables.optimizer import build_optimizer
from tune_sketch.trainables.speed.devices import autocast, keep_freed_memory, move_to_device
from tune_sketch.trainables.training import fit

TARGET = 0.90
NUM_CLASSES, BATCH_SIZE = 125, 64
CONFIG: dict[str, Any] = {
    **{"optimizer": "adam", "learning_rate": 1e-3, "decay": 1e-4, "epochs": 10**6, "batch_size": BATCH_SIZE},
    **{"weight_decay": 1e-6, "label_smoothing": 0.0, "dropout": 0.0, "freeze": "none"},
    **{"rotation_degrees": 10.0, "width_shift": 0.1, "height_shift": 0.1, "shear_degrees": 5.0},
    **{"zoom": 0.1, "flip": True, "pen_width": 0.25},  # every kind of augmentation
    **PAPER_RECIPE,
}


def main() -> int:
    """Measure, write the result, print the ratios; 1 when one is under its target."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds; writes no result file")
    quick = parser.parse_args().quick
    rounds = 7 if quick else 15
    keep_freed_memory()
    torch.set_num_threads(1)
    rows = [measure(*case, rounds, torch.device("cpu")) for case in (("baseline", 64, 512), ("resnet50", 64, 192))]
    lines = [
        "Images per CPU second of training on one core, medians of rounds that alternate; full augmentation, batch of",
        "64, adam.",
        "",
        "| network | px | ceiling | fit | ratio | lowest .. highest | rounds |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        lines.append(
            f"| {row['network']} | {row['px']} | {row['ceiling']:.0f} | {row['fit']:.0f} | {row['ratio']:.3f} | "
            f"{row['lowest']:.3f} .. {row['highest']:.3f} | {row['n']} |"
        )
    lines += ["", f"Target: {TARGET} of the ceiling."]
    if not quick:
        write_result("limit", "An epoch against its ceiling", lines)
        write_csv(result_path("limit", ".csv"), rows[0], rows)
    print("\n".join(lines))
    texts = [f"{r['network']} {r['px']} px {r['ratio']:.3f} [{r['lowest']:.3f}, {r['highest']:.3f}]" for r in rows]
    print("; ".join(texts) + f"; n = {rounds}, target {TARGET}")
    return int(any(row["ratio"] < TARGET for row in rows))


def measure(
    name: str, image_px: int, num_images: int, rounds: int, device: torch.device, batch_size: int = BATCH_SIZE
) -> dict[str, Any]:
    """One network: rounds of one epoch of `fit` and as many steps on a fixed batch."""
    splits = synthetic_splits(image_px, num_images)
    config = CONFIG | {"batch_size": batch_size}
    epochs = fit(build_model(name, NUM_CLASSES), splits, config, seed=0, device=device)
    step = fixed_batch_step(name, image_px, device, batch_size)
    num_steps = num_images // batch_size
    next(epochs)
    run_steps(step, 2, device)
    pairs = []
    for _ in range(rounds):
        ceiling = num_steps * batch_size / run_steps(step, num_steps, device)
        with patch("tune_sketch.trainables.training.time", SimpleNamespace(perf_counter=clock(device))):
            pairs.append((ceiling, next(epochs)[0]["images_per_second"]))
    ratios = [ours / ceiling for ceiling, ours in pairs]
    return {
        "network": name,
        "px": image_px,
        "ceiling": statistics.median(ceiling for ceiling, _ in pairs),
        "fit": statistics.median(ours for _, ours in pairs),
        "ratio": statistics.median(ratios),
        "lowest": min(ratios),
        "highest": max(ratios),
        "n": rounds,
    }


def synthetic_splits(image_px: int, num_images: int) -> TrainingSplits:
    """Random drawings, of which two are for validation: the time of an epoch is that of training."""
    random = np.random.default_rng(0)
    distinct = ((random.random((min(num_images, 1024), image_px, image_px), np.float32) < 0.1) * 255).astype(np.uint8)
    images = distinct[np.arange(num_images) % len(distinct)]
    train = SplitArrays(images, np.arange(num_images) % NUM_CLASSES)
    return TrainingSplits(train, SplitArrays(images[:2], train.labels[:2]), NUM_CLASSES, invert=True)


def fixed_batch_step(
    name: str, image_px: int, device: torch.device, batch_size: int = BATCH_SIZE, compile_backend: str | None = None
) -> Callable[[], None]:
    """A training step without any data path: the same float batch [batch_size, 3, px, px] every time."""
    model = build_model(name, NUM_CLASSES)
    move_to_device(model, device)
    model.train()
    optimizer = build_optimizer(model, CONFIG, device)
    inputs = normalise(torch.rand(batch_size, 1, image_px, image_px, device=device), model, pretrained=False)
    labels = torch.arange(batch_size, device=device) % NUM_CLASSES
    network = model if compile_backend is None else torch.compile(model, backend=compile_backend)

    def step() -> None:
        with autocast(model, device):
            logits = network(inputs)
        F.cross_entropy(logits.float(), labels).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def run_steps(step: Callable[[], Any], num_steps: int, device: torch.device) -> float:
    """Seconds of a number of steps."""
    wait_for(device)
    start = clock(device)()
    for _ in range(num_steps):
        step()
    wait_for(device)
    return clock(device)() - start


def clock(device: torch.device) -> Callable[[], float]:
    """Of the wall for an accelerator, of this process for a CPU."""
    return time.process_time if device.type == "cpu" else time.perf_counter


def wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    sys.exit(main())

"""How near an epoch of `fit` is to the same network fed with one batch that lies on the device: the ceiling.

On a CPU both use one thread, as trials of a search do, and are timed in CPU seconds, which other programs disturb less
than seconds on the clock.
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
from tune_sketch.trainables.speed.devices import autocast, default_device, keep_freed_memory, move_to_device
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
# ResNet50 at 224 px, per training image: arithmetic, and traffic of memory in bfloat16.
RESNET50_GFLOP, RESNET50_GIGABYTES = 24.5, 0.36
ROOFS = {"H100": (989.0, 3350.0), "A100": (312.0, 2039.0), "T4": (65.0, 320.0)}  # bfloat16 (T4: half) TFLOP/s, GB/s


def main() -> int:
    """Measure, write the result, print the ratios; 1 when one is under its target."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds; writes no result file")
    quick = parser.parse_args().quick
    rounds = 7 if quick else 15
    keep_freed_memory()
    torch.set_num_threads(1)
    device = torch.device(default_device())
    cases = [("baseline", 64, 512), ("resnet50", 64, 192)] if device.type == "cpu" else [("resnet50", 224, 4096)]
    rows = [measure(*case, rounds, device) for case in cases]
    lines = [
        "Images per second of training (per CPU second of one core, where there is no GPU), medians of rounds that",
        "alternate; full augmentation, batch of 64, adam.",
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
    if device.type == "cuda":
        lines += ["", *gpu_lines(device, rows[0]["fit"])]
    if not quick:
        write_result("limit", "An epoch against its ceiling", lines)
        write_csv(result_path("limit", ".csv"), rows[0], rows)
    print("\n".join(lines))
    texts = [f"{r['network']} {r['px']} px {r['ratio']:.3f} [{r['lowest']:.3f}, {r['highest']:.3f}]" for r in rows]
    print("; ".join(texts) + f"; n = {rounds}, target {TARGET}")
    return int(any(row["ratio"] < TARGET for row in rows))


def measure(name: str, image_px: int, num_images: int, rounds: int, device: torch.device) -> dict[str, Any]:
    """One network: rounds of one epoch of `fit` and as many steps on a fixed batch."""
    random = np.random.default_rng(0)
    images = ((random.random((num_images, image_px, image_px)) < 0.1) * 255).astype(np.uint8)
    train = SplitArrays(images, np.arange(num_images) % NUM_CLASSES)
    validation = SplitArrays(images[:2], train.labels[:2])
    splits = TrainingSplits(train, validation, NUM_CLASSES, invert=True)
    epochs = fit(build_model(name, NUM_CLASSES), splits, CONFIG, seed=0, device=device)
    step = fixed_batch_step(name, image_px, device)
    num_steps = num_images // BATCH_SIZE
    next(epochs)
    run_steps(step, 2, device)
    pairs = []
    for _ in range(rounds):
        ceiling = num_steps * BATCH_SIZE / run_steps(step, num_steps, device)
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


def fixed_batch_step(name: str, image_px: int, device: torch.device, compiled: bool = False) -> Callable[[], None]:
    """A training step without any data path: the same float batch [64, 3, px, px] every time."""
    model = build_model(name, NUM_CLASSES)
    move_to_device(model, device)
    model.train()
    optimizer = build_optimizer(model, CONFIG, device)
    inputs = normalise(torch.rand(BATCH_SIZE, 1, image_px, image_px, device=device), model, pretrained=False)
    labels = torch.arange(BATCH_SIZE, device=device) % NUM_CLASSES
    network = torch.compile(model) if compiled else model

    def step() -> None:
        with autocast(model, device):
            logits = network(inputs)
        F.cross_entropy(logits.float(), labels).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def run_steps(step: Callable[[], Any], num_steps: int, device: torch.device) -> float:
    """Seconds of so many steps."""
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


def gpu_lines(device: torch.device, images_per_second: float) -> list[str]:
    """Shares of the roofs, and what torch.compile gains and costs."""
    name = torch.cuda.get_device_name(device)
    lines = []
    for part, (teraflops, gigabytes) in ROOFS.items():
        if part in name:
            arithmetic = images_per_second * RESNET50_GFLOP / 1000 / teraflops
            memory = images_per_second * RESNET50_GIGABYTES / gigabytes
            lines.append(f"{name}: {arithmetic:.1%} of the arithmetic, {memory:.1%} of the memory's roof.")
    start = time.perf_counter()
    step = fixed_batch_step("resnet50", 224, device, compiled=True)
    run_steps(step, 2, device)
    compile_seconds = time.perf_counter() - start
    compiled = 50 * BATCH_SIZE / run_steps(step, 50, device)
    return [*lines, f"torch.compile: {compiled:.0f} images/s on a fixed batch after {compile_seconds:.0f} s."]


if __name__ == "__main__":
    sys.exit(main())

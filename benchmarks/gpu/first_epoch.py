"""Measures a training's first epoch, with kernels that cuDNN times or guesses, and the parts of the later ones."""

import statistics
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from unittest.mock import patch

import torch

from benchmarks.gpu.context import Case, Context, configure
from benchmarks.gpu.inputs import Inputs
from benchmarks.gpu.results import Row, spread_of
from tune_sketch.data.sketch_data import open_data
from tune_sketch.trainables.networks.build import build_model
from tune_sketch.trainables.speed import devices
from tune_sketch.trainables.speed.data_parallel import end_with_parent
from tune_sketch.trainables.training import fit

SIDE_PX = 128  # of the small network with ImageNet weights
TIMED, GUESSED = "kernels timed", "kernels guessed"


@dataclass(frozen=True)
class Training:
    """A training in a process of its own: cuDNN remembers kernels for as long as a process lives."""

    network: str
    image_px: int
    folder: Path  # of the decoded drawings
    weights: Path | None
    device: str
    num_epochs: int
    times_kernels: bool


@dataclass(frozen=True)
class Epoch:
    """Seconds of one epoch, to when the next could begin; in training steps; with validation."""

    seconds: float
    steps_seconds: float
    epoch_seconds: float


def cases(context: Context) -> Iterator[Case]:
    """A network whose kernels are small, with ImageNet weights, and the large one."""
    sizes = context.sizes
    sides = (("squeezenet1_1", min(SIDE_PX, sizes.large_px)), (sizes.large, sizes.large_px))
    for network, image_px in dict(sides).items():
        yield Case(f"{network}, {image_px} px", 45, lambda n=network, px=image_px: compare(context, n, px))


def compare(context: Context, network: str, image_px: int) -> Iterator[Row]:
    """Epochs by today's recipe, each way in a fresh process."""
    folder = context.inputs.decoded(image_px).parent
    weights = context.inputs.weights.get(network)
    name = f"{network}, {image_px} px"
    seconds: dict[str, tuple[float, float]] = {}
    for way in (TIMED, GUESSED):
        training = Training(
            *(network, image_px, folder, weights, context.device.type),
            **{"num_epochs": 1 + context.sizes.rounds, "times_kernels": way == TIMED},
        )
        with ProcessPoolExecutor(1, get_context("spawn"), initializer=watch_parent) as process:
            first, *later = process.submit(train, training).result()
        yield Row("first epoch", name, f"first epoch, {way}", first.seconds, "s")
        yield Row("first epoch", name, f"later epochs, {way}", unit="s", **spread_of([e.seconds for e in later]))
        steps = [epoch.steps_seconds / epoch.seconds for epoch in later]
        yield Row("first epoch", name, f"share of later epochs in steps, {way}", **spread_of(steps))
        copying = [1 - epoch.epoch_seconds / epoch.seconds for epoch in later]
        yield Row("first epoch", name, f"share in copying the state, {way}", **spread_of(copying))
        seconds[way] = first.seconds, statistics.median(epoch.seconds for epoch in later)
    lost, gained = (a - b for a, b in zip(seconds[TIMED], seconds[GUESSED], strict=True))
    value, note = (max(0.0, lost) / -gained, "") if gained < 0 else (None, "never: epochs are not faster by it")
    yield Row("first epoch", name, "epochs until timing kernels has paid", value, note=note)


def watch_parent() -> None:
    """End this process with the one that started it, which is killed at the deadline: it may not have a task yet."""
    threading.Thread(target=end_with_parent, daemon=True).start()


def train(training: Training) -> list[Epoch]:
    """A training's epochs, in a process of its own."""
    splits, _ = Inputs(open_data(training.folder / f"decoded-{training.image_px}"), {}, training.folder).splits(
        training.image_px
    )
    config = configure(training.network, training.num_epochs, pretrained=training.weights is not None)
    path = None if training.weights is None else str(training.weights)
    device = torch.device(training.device)
    if device.type == "cuda":
        torch.cuda.init()
        torch.backends.cudnn.benchmark = training.times_kernels
    epochs = []
    with patch.object(devices, "choose_kernels", lambda device: None):
        model = build_model(training.network, splits.num_classes, head=config["head"], weights_path=path)
        start = time.perf_counter()
        for metrics, _ in fit(model, splits, config, seed=0, device=device, pretrained=path is not None):
            end = time.perf_counter()
            steps_seconds = len(splits.train) / metrics["images_per_second"]
            epochs.append(Epoch(end - start, steps_seconds, metrics["epoch_seconds"]))
            start = time.perf_counter()
    return epochs

"""Holds the inputs of every part: the device, the sizes of its cases, the drawings, and how a case is described."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.inputs import Inputs
from benchmarks.gpu.results import Note, Row
from tune_sketch.search_spaces import SpaceLimits, known_space

Config = dict[str, Any]


@dataclass(frozen=True)
class Sizes:
    """How large the cases are: on a card, or in a rehearsal, which goes through the same lines in a minute."""

    is_rehearsal: bool
    small: str  # the network that waits for its kernels to be launched, and the one that computes
    large: str
    third: str
    frozen: Mapping[str, float | None]  # freeze points of the large one, each with its target
    small_px: int
    large_px: int
    batches: tuple[int, int]  # drawings
    num_classes: int | None  # of the drawings; None: all
    per_class: int | None
    large_set: int  # drawings that should fit onto the device
    images_per_epoch: int  # of the synthetic sets that are timed
    rounds: int
    epochs: Mapping[str, int]  # of the trainings by part
    seeds: int
    shares: tuple[int, ...]  # trainings on one device
    share_seconds: float
    compile_backend: str
    product_side: int  # of the square matrices whose product shows the arithmetic's roof


CARD = Sizes(
    is_rehearsal=False,
    small="baseline",
    large="resnet50",
    third="densenet121",
    frozen={"layer3": 3.0, "head_only": None},
    small_px=64,
    large_px=224,
    batches=(64, 256),
    num_classes=None,
    per_class=None,
    large_set=20_000,
    images_per_epoch=4096,
    rounds=5,
    epochs={"bfloat16": 8, "accuracy": 40},
    seeds=3,
    shares=(1, 2, 4, 8),
    share_seconds=2.0,
    compile_backend="inductor",
    product_side=8192,
)
REHEARSAL = Sizes(
    is_rehearsal=True,
    small="baseline",
    large="squeezenet1_1",
    third="sketch_a_net",
    frozen={"fire5": 3.0},
    small_px=32,
    large_px=48,
    batches=(4, 8),
    num_classes=3,
    per_class=12,
    large_set=64,
    images_per_epoch=8,
    rounds=1,
    epochs={"bfloat16": 1, "accuracy": 2},
    seeds=2,
    shares=(1, 2),
    share_seconds=0.2,
    compile_backend="aot_eager",  # the compiler of the card's run needs a minute
    product_side=128,
)


@dataclass(frozen=True)
class Context:
    """The device to measure on, the sizes, and the drawings."""

    device: torch.device
    sizes: Sizes
    inputs: Inputs
    folder: Path  # for files of this run


@dataclass(frozen=True)
class Case:
    """One measurement that runs whole or not at all. seconds: what it may take on a large card, rather too much."""

    name: str
    seconds: float
    run: Callable[[], Iterable[Row | Note]]


def wait_for(device: torch.device) -> None:
    """Wait until the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class Chosen:
    """A trial that is suggested given values: what Optuna's FixedTrial is, where there is no Optuna."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = values

    def suggest(self, name: str, *bounds: Any, **options: Any) -> Any:
        return self.values[name]

    suggest_categorical = suggest_float = suggest_int = suggest


def configure(model: str, epochs: int, *, pretrained: bool, recipe: bool = True, **changes: Any) -> Config:
    """A network's full configuration: today's recipe, or the paper's."""
    space = known_space(model)
    values = {**(space.RECIPE if recipe else space.PAPER), "epochs": epochs}
    return {**space.space(Chosen(values), SpaceLimits(epochs, pretrained)), **changes}

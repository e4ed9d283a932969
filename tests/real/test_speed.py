"""Guards speed by ratios of CPU time inside one run, loose enough for any machine; the targets are in benchmarks/."""

import statistics
import time
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.limit import CONFIG, fixed_batch_step
from tests.support.small_training import splits_of
from tune_sketch.trainables.batches import SplitArrays
from tune_sketch.trainables.networks.build import build_model
from tune_sketch.trainables.speed.small_convolutions import SmallMapConv2d, use_products_for_small_maps
from tune_sketch.trainables.training import fit

pytestmark = pytest.mark.slow


def median_ratio(first: Callable[[], object], second: Callable[[], object], rounds: int) -> float:
    """CPU seconds of `first` over those of `second`, in turns after one round that warms up."""
    ratios = []
    for _ in range(rounds + 1):
        seconds = []
        for work in (first, second):
            start = time.process_time()
            work()
            seconds.append(time.process_time() - start)
        ratios.append(seconds[0] / seconds[1])
    return statistics.median(ratios[1:])


def test_an_epoch_costs_little_more_than_its_arithmetic() -> None:
    random = np.random.default_rng(0)
    images = ((random.random((256, 48, 48)) < 0.1) * 255).astype(np.uint8)
    splits = splits_of(SplitArrays(images, np.arange(256) % 125), num_classes=125)
    splits.validation = SplitArrays(images[:2], np.arange(2))
    epochs = fit(build_model("baseline", 125), splits, CONFIG, seed=0)
    step = fixed_batch_step("baseline", 48, torch.device("cpu"))
    ratio = median_ratio(lambda: [step() for _ in range(4)], lambda: next(epochs), rounds=5)
    assert ratio > 0.7, f"an epoch of 4 steps takes {1 / ratio:.2f} times 4 steps on a batch that lies ready"


def test_small_maps_are_not_slower_as_products() -> None:
    def step_of(model: nn.Module) -> Callable[[], object]:
        images = torch.rand(32, 512, 1, 1).contiguous(memory_format=torch.channels_last)
        return lambda: model(images).sum().backward()

    layers = [nn.Sequential(nn.Conv2d(512, 512, 3, padding=1), nn.Conv2d(512, 2048, 1)) for _ in range(2)]
    for layer in layers:
        layer.to(memory_format=torch.channels_last)
    use_products_for_small_maps(layers[1])
    assert isinstance(layers[1][0], SmallMapConv2d)
    ratio = median_ratio(step_of(layers[0]), step_of(layers[1]), rounds=5)
    assert ratio > 1.2, f"oneDNN takes {ratio:.2f} times as long"

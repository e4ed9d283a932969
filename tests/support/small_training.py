"""A training that takes seconds: few drawings, a configuration, and a device with little memory."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tune_sketch.trainables.augmentation import STRENGTHS
from tune_sketch.trainables.batches import SplitArrays, TrainingSplits
from tune_sketch.trainables.networks.build import build_model
from tune_sketch.trainables.training import fit

torch.set_num_threads(1)  # sums in one order, and no fight over cores

CONFIG = {
    "optimizer": "adam",
    "learning_rate": 2e-3,
    "decay": 0.0,
    "epochs": 2,
    "batch_size": 8,
    "weight_decay": 0.0,
    "label_smoothing": 0.0,
    "dropout": 0.0,
    "freeze": "none",
    "rotation_degrees": 0.0,
    "width_shift": 0.0,
    "height_shift": 0.0,
    "shear_degrees": 0.0,
    "zoom": 0.0,
    "flip": False,
    "pen_width": 0.0,
    "head": "plain",
    "layer_rate_factor": 1.0,
    "warmup_steps": 0,
    "averaging": False,
}
AUGMENTED = CONFIG | {"rotation_degrees": 20.0, "width_shift": 0.1, "zoom": 0.2, "flip": True, "pen_width": 0.3}
STILL = {name: 0 for name in STRENGTHS}  # nothing is augmented
TIMES = ("epoch_seconds", "images_per_second")


def drawings(num_images: int = 32, image_px: int = 32, num_classes: int = 4) -> SplitArrays:
    """Boxes, one size and place per class, under salt and pepper that differs in each drawing."""
    random = np.random.default_rng(0)
    labels = np.arange(num_images) % num_classes
    images = (random.random((num_images, image_px, image_px)) < 0.05) * np.uint8(255)
    for image, label in zip(images, labels, strict=True):
        image[4 : 10 + 5 * label, 6 + 3 * label : 12 + 3 * label] = 255
    return SplitArrays(images, labels)


def splits_of(train: SplitArrays, num_classes: int = 4) -> TrainingSplits:
    return TrainingSplits(train, train, num_classes=num_classes, invert=True)


def build(name: str = "baseline", config: dict[str, Any] = CONFIG, num_classes: int = 4) -> nn.Module:
    torch.manual_seed(0)
    return build_model(name, num_classes, dropout=config["dropout"], freeze=config["freeze"], head=config["head"])


def train(model: nn.Module, splits: TrainingSplits, config: dict[str, Any], **options: Any) -> list[dict]:
    return [metrics for metrics, _ in fit(model, splits, config, **({"seed": 5} | options))]


def without_times(metrics: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in metrics.items() if name not in TIMES}


def assert_same_weights(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    assert first.keys() == second.keys()
    different = [name for name in first if not torch.equal(first[name], second[name])]
    assert different == []


class SmallDevice(nn.Module):
    """A network on a device that holds at most `limit` drawings at a time."""

    def __init__(self, network: nn.Module, limit: int) -> None:
        super().__init__()
        self.network, self.limit = network, limit
        self.sizes: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        if len(images) > self.limit:
            raise torch.OutOfMemoryError("out of memory, says the test")
        self.sizes.append(len(images))
        return self.network(images)

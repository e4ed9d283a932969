"""A network of one's own, searched like the others.

    python examples/own_network.py
    TUNE_SKETCH_EXTENSIONS=examples/own_network.py python -m tune_sketch.search --model two_layers

A network is an `Architecture`, and a search space with the paper's configuration and today's recipe for it.
"""

from types import SimpleNamespace

from tune_sketch.search_spaces import SPACES, baseline
from tune_sketch.trainables.networks.architecture import Architecture
from tune_sketch.trainables.networks.registry import ARCHITECTURES


def build_two_layers(num_classes, dropout):
    """Two convolutions. Takes float [B, 3, H, W], gives logits [B, num_classes]."""
    from torch import nn  # here, so that the driver of a search need not import torch

    return nn.Sequential(
        nn.Conv2d(3, 16, 5, stride=2, padding=2),
        nn.ReLU(),
        nn.Conv2d(16, 64, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.AdaptiveMaxPool2d(4),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(64 * 16, num_classes),
    )


ARCHITECTURES["two_layers"] = Architecture(
    name="two_layers",
    build=build_two_layers,
    layers=list,  # the modules of a Sequential, which are applied in turn
    freeze_points={"none": (), "conv1": ("0",), "head_only": ("0", "2")},
    head="7",
    pooling=None,
    cam_layers=("2", "0"),
    first_layer="0",
    imagenet=None,
    min_image_px=8,
    source="examples/own_network.py",
)
# The baseline's space fits: another one is a function of an Optuna trial, such as those in search_spaces/.
SPACES["two_layers"] = SimpleNamespace(space=baseline.space, PAPER=baseline.PAPER, RECIPE=baseline.RECIPE)


if __name__ == "__main__":
    from tune_sketch import Settings, extend, search

    extend(__file__)  # the trainings are other processes, and need the network too
    run = search(
        Settings(model="two_layers", classes=3, per_class=20, image_px=32, num_samples=3, max_epochs=3, finalists=1),
        name="own_network",
    )
    print(run.finalists[["trial", "val_top1_mean", "test_top1_mean"]])

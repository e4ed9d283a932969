"""SqueezeNet 1.1 with a head for our classes."""

from collections import OrderedDict
from typing import TYPE_CHECKING

from tune_sketch.trainables.networks.architecture import IMAGENET, Architecture, ImageNetWeights

if TYPE_CHECKING:
    from torch import nn


def build_squeezenet1_1(num_classes: int, dropout: float) -> "nn.Module":
    """Iandola et al. 2016, "SqueezeNet", Table 1, in its authors' release 1.1 (2.4 times cheaper).

    torchvision's network. The paper ends in a 1x1 convolution with ReLU, then global average pooling; here
    pooling comes first and the classifier is linear without ReLU, as in our other networks (without the
    ReLU the two are the same function).
    """
    from torch import nn
    from torchvision.models import squeezenet1_1

    model: nn.Module = squeezenet1_1()
    linear = nn.Linear(512, num_classes)
    nn.init.normal_(linear.weight, std=0.01)  # as torchvision starts the layer that it replaces
    nn.init.zeros_(linear.bias)
    model.classifier = nn.Sequential(
        OrderedDict(pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), dropout=nn.Dropout(dropout), linear=linear)
    )
    return model


def _features(first: int, last: int) -> tuple[str, ...]:
    return tuple(f"features.{index}" for index in range(first, last + 1))


ARCHITECTURE = Architecture(
    name="squeezenet1_1",
    build=build_squeezenet1_1,
    layers=lambda model: [*model.features, *model.classifier],
    freeze_points={
        "none": (),
        "stem": _features(0, 0),
        "fire3": _features(0, 4),  # torchvision's positions: conv1, fire2 and fire3 with what lies between
        "fire5": _features(0, 7),
        "head_only": ("features",),
    },
    head="classifier",
    pooling="classifier.pool",
    cam_layers=("features.12", "features.7", "features.4"),  # fire9, fire5, fire3
    first_layer="features.0",
    imagenet=ImageNetWeights(
        "SqueezeNet1_1_Weights.IMAGENET1K_V1", "https://download.pytorch.org/models/squeezenet1_1-b8a52dc0.pth"
    ),
    normalisation=IMAGENET,
    min_image_px=32,
    source="Iandola et al. 2016 (arXiv 1602.07360), Table 1; release 1.1",
)

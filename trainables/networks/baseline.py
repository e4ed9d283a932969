"""The paper's own small network: four convolutions and two linear layers."""

from collections import OrderedDict
from typing import TYPE_CHECKING

from tune_sketch.trainables.networks.architecture import Architecture

if TYPE_CHECKING:
    from torch import nn


def build_baseline(num_classes: int, dropout: float) -> "nn.Module":
    """Four 3x3 convolutions 16-32-64-128, each with ReLU, then 128 -> 512 -> classes.

    Source: the paper, Table 4. The first three convolutions are followed by 2x2 max pooling, the last one
    pools over the whole map ("global"), so that any image size works. The mean over the map in its place
    learned clearly worse (500 Sketchy drawings of 20 classes, 48 px, 25 epochs, 3 seeds: top-1 0.41 against
    0.57). ReLU stands after the pooling, which is the same function and costs a quarter. Dropout acts before
    both linear layers. 231,717 parameters with the paper's 133 outputs (Table 1), 227,613 with 125. The
    weights start as in Keras, which the paper used: Glorot uniform, biases zero.
    """
    from torch import nn

    model = nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(3, 16, 3, padding=1),
            pool1=nn.MaxPool2d(2),
            relu1=nn.ReLU(),  # [B, 16, H/2, W/2]
            conv2=nn.Conv2d(16, 32, 3, padding=1),
            pool2=nn.MaxPool2d(2),
            relu2=nn.ReLU(),  # [B, 32, H/4, W/4]
            conv3=nn.Conv2d(32, 64, 3, padding=1),
            pool3=nn.MaxPool2d(2),
            relu3=nn.ReLU(),  # [B, 64, H/8, W/8]
            conv4=nn.Conv2d(64, 128, 3, padding=1),
            relu4=nn.ReLU(),  # [B, 128, H/8, W/8]
            global_pool=nn.AdaptiveMaxPool2d(1),
            flatten=nn.Flatten(1),  # [B, 128]
            dropout1=nn.Dropout(dropout),
            hidden=nn.Linear(128, 512),
            relu5=nn.ReLU(),  # [B, 512]
            dropout2=nn.Dropout(dropout),
            head=nn.Linear(512, num_classes),  # [B, classes]
        )
    )
    for parameter in model.parameters():
        if parameter.ndim == 1:
            nn.init.zeros_(parameter)
        else:
            nn.init.xavier_uniform_(parameter)
    return model


_CONVOLUTIONS = ("conv1", "conv2", "conv3", "conv4")

ARCHITECTURE = Architecture(
    name="baseline",
    build=build_baseline,
    layers=lambda model: list(model),
    freeze_points={
        "none": (),
        "conv1": _CONVOLUTIONS[:1],
        "conv2": _CONVOLUTIONS[:2],
        "conv3": _CONVOLUTIONS[:3],
        "head_only": (*_CONVOLUTIONS, "hidden"),
    },
    head="head",
    pooling=None,
    cam_layers=("conv4", "conv3", "conv2"),
    first_layer="conv1",
    imagenet=None,
    min_image_px=8,  # three poolings by two leave one cell
    source="the paper, Table 4",
)

"""Sketch-a-Net: a network made for sketches, with large first filters and large pooling."""

from collections import OrderedDict
from typing import TYPE_CHECKING

from tune_sketch.trainables.networks.architecture import Architecture

if TYPE_CHECKING:
    from torch import nn


def build_sketch_a_net(num_classes: int, dropout: float) -> "nn.Module":
    """Yu et al. 2015, "Sketch-a-Net that Beats Humans", Table 1 (its single-scale, single-channel network).

    As in the paper: 64 first filters of 15x15 with stride 3, then 128 of 5x5, then three layers of 256 of
    3x3; 3x3 pooling with stride 2 after layers 1, 2 and 5; two layers of 512 with dropout (paper: 0.5);
    no local response normalisation.
    Where we differ, so that any size from 32 px works and not 225 px alone: layers 1 and 2 and the
    poolings are padded (the paper pads layers 3 to 5 only); layer 6 is a 3x3 convolution instead of the 7x7
    that turned the 7x7 map into one cell (1.2 M weights instead of 6.4 M); layers 6 and 7 stay
    convolutional and global average pooling stands before the classifier. One grey channel comes in three
    times, as for the other networks. He initialisation.
    """
    from torch import nn

    features = nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(3, 64, 15, stride=3, padding=7),  # 225 px: [64, 75, 75]; 32 px: [64, 11, 11]
            relu1=nn.ReLU(inplace=True),
            pool1=nn.MaxPool2d(3, stride=2, padding=1),
            conv2=nn.Conv2d(64, 128, 5, padding=2),
            relu2=nn.ReLU(inplace=True),
            pool2=nn.MaxPool2d(3, stride=2, padding=1),
            conv3=nn.Conv2d(128, 256, 3, padding=1),
            relu3=nn.ReLU(inplace=True),
            conv4=nn.Conv2d(256, 256, 3, padding=1),
            relu4=nn.ReLU(inplace=True),
            conv5=nn.Conv2d(256, 256, 3, padding=1),
            relu5=nn.ReLU(inplace=True),
            pool5=nn.MaxPool2d(3, stride=2, padding=1),  # 225 px: [256, 10, 10]; 32 px: [256, 2, 2]
            conv6=nn.Conv2d(256, 512, 3, padding=1),
            relu6=nn.ReLU(inplace=True),
            dropout6=nn.Dropout(dropout),
            conv7=nn.Conv2d(512, 512, 1),
            relu7=nn.ReLU(inplace=True),
            dropout7=nn.Dropout(dropout),
        )
    )
    head = nn.Linear(512, num_classes)
    for parameter in features.parameters():
        if parameter.ndim == 1:
            nn.init.zeros_(parameter)
        else:
            nn.init.kaiming_normal_(parameter, nonlinearity="relu")
    return nn.Sequential(
        OrderedDict(features=features, global_pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(1), head=head)
    )


_CONV2 = ("features.conv1", "features.conv2")

ARCHITECTURE = Architecture(
    name="sketch_a_net",
    build=build_sketch_a_net,
    layers=lambda model: [*model.features, model.global_pool, model.flatten, model.head],
    freeze_points={
        "none": (),
        "conv1": _CONV2[:1],
        "conv2": _CONV2,
        "conv5": (*_CONV2, "features.conv3", "features.conv4", "features.conv5"),
        "head_only": ("features",),
    },
    head="head",
    pooling="global_pool",
    cam_layers=("features.relu7", "features.relu5", "features.relu2"),
    first_layer="features.conv1",
    imagenet=None,
    min_image_px=32,  # below, the last map is one cell and the 5x5 filters see mostly padding
    source="Yu et al. 2015 (arXiv 1501.07873), Table 1",
)

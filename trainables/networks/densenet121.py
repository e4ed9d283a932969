"""DenseNet121 with a head for our classes."""

from collections import OrderedDict
from typing import TYPE_CHECKING

from tune_sketch.trainables.networks.architecture import IMAGENET, Architecture, ImageNetWeights

if TYPE_CHECKING:
    from torch import nn


def build_densenet121(num_classes: int, dropout: float) -> "nn.Module":
    """Huang et al. 2017, "Densely Connected Convolutional Networks", Table 1, first column (k = 32).

    torchvision's network. Head: global average pooling -> Linear(1024, classes), with dropout between (the
    paper's dropout inside the blocks stays off, as in its ImageNet training). The sketch paper's count of
    7,165,629 (125 classes) is this network's 7,081,981 plus 83,648 running statistics of batch norm.
    """
    from torch import nn
    from torchvision.models import densenet121

    return nn.Sequential(  # as torchvision's, whose pooling is no module that could be exchanged
        OrderedDict(
            features=densenet121().features,
            relu=nn.ReLU(),
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(1),
            classifier=nn.Sequential(nn.Dropout(dropout), nn.Linear(1024, num_classes)),
        )
    )


_STEM = ("features.conv0", "features.norm0")
_BLOCK1 = (*_STEM, "features.denseblock1", "features.transition1")
_BLOCK2 = (*_BLOCK1, "features.denseblock2", "features.transition2")
_BLOCK3 = (*_BLOCK2, "features.denseblock3", "features.transition3")

ARCHITECTURE = Architecture(
    name="densenet121",
    build=build_densenet121,
    layers=lambda model: [*model.features, model.relu, model.pool, model.flatten, *model.classifier],
    freeze_points={
        "none": (),
        "stem": _STEM,
        "denseblock1": _BLOCK1,
        "denseblock2": _BLOCK2,
        "denseblock3": _BLOCK3,
        "head_only": ("features",),
    },
    head="classifier",
    pooling="pool",
    cam_layers=("features.norm5", "features.denseblock3", "features.denseblock2", "features.denseblock1"),
    first_layer="features.conv0",
    imagenet=ImageNetWeights(
        "DenseNet121_Weights.IMAGENET1K_V1", "https://download.pytorch.org/models/densenet121-a639ec97.pth"
    ),
    normalisation=IMAGENET,
    min_image_px=32,  # total stride: one cell of the last map
    source="Huang et al. 2017 (arXiv 1608.06993), Table 1",
)

"""ResNet50 with a head for our classes."""

from typing import TYPE_CHECKING, Any

from tune_sketch.trainables.networks.architecture import IMAGENET, Architecture, ImageNetWeights

if TYPE_CHECKING:
    from torch import nn


def build_resnet50(num_classes: int, dropout: float) -> "nn.Module":
    """He et al. 2015, "Deep Residual Learning for Image Recognition", Table 1, 50-layer column.

    torchvision's network; its stride is in the 3x3 convolution of a block, the paper's (and Keras') in the
    first 1x1. Head: global average pooling -> Linear(2048, classes), with dropout between. The sketch
    paper's count of 23,843,837 (125 classes) is this network's 23,764,157 plus 53,120 running statistics of batch
    norm and 26,560 convolution biases that Keras has.

    From scratch, each block begins as the identity (Goyal et al. 2017, arXiv 1706.02677, section 5.1), and so learns
    within few epochs; loaded weights replace that.
    """
    from torch import nn
    from torchvision.models import resnet50

    model: nn.Module = resnet50(zero_init_residual=True)
    model.fc = nn.Sequential(nn.Dropout(dropout), nn.Linear(2048, num_classes))
    return model


def _layers(model: Any) -> "list[nn.Module]":
    from torch import nn

    return [*list(model.children())[:-1], nn.Flatten(1), *model.fc]


_STAGES = ("conv1", "bn1", "layer1", "layer2", "layer3", "layer4")

ARCHITECTURE = Architecture(
    name="resnet50",
    build=build_resnet50,
    layers=_layers,
    freeze_points={
        "none": (),
        "stem": _STAGES[:2],
        "layer1": _STAGES[:3],
        "layer2": _STAGES[:4],
        "layer3": _STAGES[:5],
        "head_only": _STAGES,
    },
    head="fc",
    pooling="avgpool",
    cam_layers=("layer4", "layer3", "layer2", "layer1"),
    first_layer="conv1",
    imagenet=ImageNetWeights(  # by the training recipe of He et al., as in the sketch paper's time
        "ResNet50_Weights.IMAGENET1K_V1", "https://download.pytorch.org/models/resnet50-0676ba61.pth"
    ),
    normalisation=IMAGENET,
    min_image_px=32,  # total stride: one cell of the last map
    source="He et al. 2015 (arXiv 1512.03385), Table 1",
)

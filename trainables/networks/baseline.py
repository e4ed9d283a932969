"""The study's own small network: four convolutions and two linear layers."""

from torch import Tensor, nn

from tune_sketch.trainables.networks.architecture import Architecture


class Baseline(nn.Module):
    """Four 3x3 convolutions 16-32-64-128, each with ReLU, then 128 -> 512 -> classes.

    Source: the study, Table 4. The first three convolutions are followed by 2x2 max pooling, the last one
    pools over the whole map ("global"), so that any image size works. The mean over the map in its place
    learned clearly worse (500 Sketchy drawings of 20 classes, 48 px, 25 epochs, 3 seeds: top-1 0.41 against
    0.57). ReLU stands after the pooling, which is the same function and costs a quarter. Dropout acts before
    both linear layers. 231,717 parameters with the study's 133 outputs (Table 1), 227,613 with 125. The
    weights start as in Keras, which the study used: Glorot uniform, biases zero.
    """

    def __init__(self, num_classes: int, dropout: float) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.conv3 = nn.Conv2d(32, 64, 3, padding=1)
        self.conv4 = nn.Conv2d(64, 128, 3, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.relu = nn.ReLU()
        self.global_pool = nn.AdaptiveMaxPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.hidden = nn.Linear(128, 512)
        self.head = nn.Linear(512, num_classes)
        for parameter in self.parameters():
            if parameter.ndim == 1:
                nn.init.zeros_(parameter)
            else:
                nn.init.xavier_uniform_(parameter)

    def forward(self, images: Tensor) -> Tensor:
        x = self.relu(self.pool(self.conv1(images)))  # [B, 16, H/2, W/2]
        x = self.relu(self.pool(self.conv2(x)))  # [B, 32, H/4, W/4]
        x = self.relu(self.pool(self.conv3(x)))  # [B, 64, H/8, W/8]
        x = self.relu(self.conv4(x))  # [B, 128, H/8, W/8]
        x = self.global_pool(x).flatten(1)  # [B, 128]
        x = self.relu(self.hidden(self.dropout(x)))  # [B, 512]
        return self.head(self.dropout(x))  # [B, classes]


def _layers(model: Baseline) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for convolution in (model.conv1, model.conv2, model.conv3):
        layers += [convolution, model.pool, model.relu]
    layers += [model.conv4, model.relu, model.global_pool, nn.Flatten(1)]
    return [*layers, model.dropout, model.hidden, model.relu, model.dropout, model.head]


_CONVOLUTIONS = ("conv1", "conv2", "conv3", "conv4")

ARCHITECTURE = Architecture(
    name="baseline",
    build=Baseline,
    layers=_layers,
    freeze_points={
        "none": (),
        "conv1": _CONVOLUTIONS[:1],
        "conv2": _CONVOLUTIONS[:2],
        "conv3": _CONVOLUTIONS[:3],
        "head_only": (*_CONVOLUTIONS, "hidden"),
    },
    head="head",
    cam_layers=("conv4", "conv3", "conv2"),
    first_layer="conv1",
    imagenet=None,
    min_image_px=8,  # three poolings by two leave one cell
    source="the study, Table 4",
)

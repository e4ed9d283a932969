"""Describes a network to the rest of the program. Without torch, so that the driver of a search can read it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class ImageNetWeights:
    """Weights that torchvision publishes: their name in torchvision.models, and where they are."""

    name: str
    url: str  # its file name ends in the first digits of the file's SHA-256


@dataclass(frozen=True)
class Architecture:
    """One kind of network. A new one is a file with a builder and one line in `ARCHITECTURES`.

    Its file imports torch inside its functions only.
    """

    name: str
    build: "Callable[[int, float], nn.Module]"  # (num_classes, dropout) -> float [B, 3, H, W] to logits [B, classes]
    layers: "Callable[[Any], list[nn.Module]]"  # applied in turn they are the network's forward pass
    freeze_points: dict[str, tuple[str, ...]]  # ordered from "none" to "head_only": prefixes of frozen parameters
    head: str  # module that holds the classifier; it alone depends on the number of classes
    pooling: str | None  # module that pools the last map for the classifier; None: another layer stands between
    cam_layers: tuple[str, ...]  # modules whose outputs are maps of the drawing, deepest first: for Grad-CAM
    first_layer: str  # the first convolution
    imagenet: ImageNetWeights | None
    min_image_px: int  # smallest side that leaves at least one cell in the last feature map
    source: str  # paper, table
    bfloat16_on_cpu: bool = False  # large enough to gain where the processor has AMX


def architecture_of(model: "nn.Module") -> Architecture | None:
    """The description of a network that `build_model` made; None for any other module."""
    architecture = getattr(model, "architecture", None)
    return architecture if isinstance(architecture, Architecture) else None


def check_image_px(model: "nn.Module", image_px: int) -> None:
    """ValueError where the drawing is smaller than the network can take."""
    architecture = architecture_of(model)
    if architecture is not None and image_px < architecture.min_image_px:
        raise ValueError(
            f"image_px must be at least {architecture.min_image_px} for {architecture.name}, got {image_px}"
        )

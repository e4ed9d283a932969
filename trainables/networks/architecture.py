"""Describes a network to the rest of the program. Without torch, so that the driver of a search can read it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class ImageNetWeights:
    """Weights at a URL, as torchvision publishes them: their name there, and where they are."""

    name: str
    url: str  # its file name ends in the first digits of the file's SHA-256; timm has some without


@dataclass(frozen=True)
class HubWeights:
    """Weights in a repository of the Hugging Face Hub."""

    name: str
    repository: str  # "owner/name" or "owner/name@revision"
    files: tuple[str, ...]  # the first of them that is there


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation of red, green and blue in [0, 1], which weights were trained with."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


IMAGENET = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # torchvision's


@dataclass(frozen=True)
class Architecture:
    """One kind of network. A new one is a file with a builder and one line in `ARCHITECTURES`.

    Its file imports torch inside its functions only.
    """

    name: str
    build: "Callable[[int, float], nn.Module]"  # (num_classes, dropout) -> float [B, 3, H, W] to logits [B, classes]
    layers: "Callable[[Any], list[nn.Module]]"  # applied in turn they are the network's forward pass
    freeze_points: dict[str, tuple[str, ...]]  # "none" to "head_only": frozen parameters, or modules that hold them
    head: str  # module that holds the classifier; it alone depends on the number of classes
    pooling: str | None  # module that pools the last map for the classifier; None: another layer stands between
    cam_layers: tuple[str, ...]  # modules whose outputs are maps of the drawing, deepest first: for Grad-CAM
    first_layer: str  # the first convolution
    imagenet: ImageNetWeights | HubWeights | None  # published weights
    min_image_px: int  # smallest side that leaves at least one cell in the last feature map
    source: str  # paper, table
    normalisation: Normalisation | None = None  # of what loaded weights see; None: the same as new weights
    fixed_image_px: int | None = None  # the only size that this network, as it is built, can take
    # Of networks whose names in files, maps or pooling are another library's:
    body: str = ""  # begins the names of all parameters but the head's; a published file lacks it
    other_head: tuple[str, ...] = ()  # names in a published file of what the head replaces
    # (weights of an older or another source, network on "meta") -> weights by the present names
    convert: "Callable[[dict[str, Tensor], nn.Module], dict[str, Tensor]] | None" = None
    # (cam layer, its output) -> [B, channels, h, w]; None: the outputs are so
    to_maps: "Callable[[str, Tensor], Tensor] | None" = None
    pool_both: "Callable[[], nn.Module] | None" = None  # in place of `pooling` for the normalised head
    num_maxima: int | None = None  # features that it adds; None: as many as there were


def lies_in(name: str, prefixes: tuple[str, ...]) -> bool:
    """Whether a parameter is one of these parameters, or of these modules."""
    return name in prefixes or name.startswith(tuple(f"{prefix}." for prefix in prefixes))


def architecture_of(model: "nn.Module") -> Architecture | None:
    """The description of a network that `build_model` made; None for any other module."""
    architecture = getattr(model, "architecture", None)
    return architecture if isinstance(architecture, Architecture) else None


def check_image_px(model: "nn.Module", image_px: int) -> None:
    """ValueError where the network cannot take drawings of this size."""
    architecture = architecture_of(model)
    if architecture is not None:
        check_size(architecture, image_px)


def check_size(architecture: Architecture, image_px: int) -> None:
    """ValueError where a network of this architecture cannot take drawings of this size."""
    if image_px < architecture.min_image_px:
        raise ValueError(
            f"image_px must be at least {architecture.min_image_px} for {architecture.name}, got {image_px}"
        )
    if architecture.fixed_image_px not in (None, image_px):
        raise ValueError(
            f"image_px must be {architecture.fixed_image_px}, for which this {architecture.name} was built, "
            f"got {image_px}"
        )

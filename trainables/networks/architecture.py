"""What a network tells the rest of the program about itself, and how one is built, loaded and frozen."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Architecture:
    """One kind of network. A new one is a file with a builder and one line in `ARCHITECTURES`."""

    name: str
    build: Callable[[int, float], nn.Module]  # (num_classes, dropout) -> float [B, 3, H, W] to logits [B, classes]
    layers: Callable[[Any], list[nn.Module]]  # applied in turn they are the network's forward pass
    freeze_points: dict[str, tuple[str, ...]]  # ordered from "none" to "head_only": prefixes of frozen parameters
    head: str  # module that holds the classifier; it alone depends on the number of classes
    cam_layers: tuple[str, ...]  # modules whose outputs have a place on the paper, deepest first: for Grad-CAM
    first_layer: str  # the first convolution
    imagenet: str | None  # "ResNet50_Weights.IMAGENET1K_V1" in torchvision.models, or None: there are none
    min_image_px: int  # smallest side that leaves at least one cell in the last feature map
    source: str  # paper, table
    bfloat16_on_cpu: bool = False  # large enough to gain where the processor has AMX


class LaterLayers(nn.Module):
    """The layers of a network that follow its frozen ones; takes the output of those, in half precision.

    float16 [B, H, W, C] or [B, F] to logits [B, classes].
    """

    def __init__(self, model: nn.Module, layers: list[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.architecture = model.architecture

    def forward(self, activations: Tensor) -> Tensor:
        kind = activations.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else torch.float32
        if activations.ndim == 4:
            activations = activations.permute(0, 3, 1, 2)  # [B, C, H, W], channels last in memory
        return self.layers(activations.to(dtype))


def known_architecture(name: str) -> Architecture:
    """The architecture called `name`; ValueError that lists the known ones."""
    from tune_sketch.trainables.networks.registry import (
        ARCHITECTURES,  # here, because the networks' own files import this one
    )

    if name not in ARCHITECTURES:
        raise ValueError(f"unknown model {name!r}; known models: {', '.join(ARCHITECTURES)}")
    return ARCHITECTURES[name]


def build_model(
    name: str,
    num_classes: int,
    *,
    dropout: float = 0.0,
    freeze: str = "none",
    weights_path: str | None = None,
) -> nn.Module:
    """A network that maps float [B, 3, H, W] to logits [B, num_classes].

    New weights come from torch's global generator: call `torch.manual_seed` first to repeat them.
    `freeze` names one of the architecture's freeze points; `weights_path` is a file of
    `weights.resolve_weights`, read without running code.
    """
    from tune_sketch.trainables.networks.weights import load_weights

    architecture = known_architecture(name)
    if num_classes < 2:
        raise ValueError(f"num_classes must be at least 2, got {num_classes}")
    if not 0.0 <= dropout < 1.0:
        raise ValueError(f"dropout must be in [0, 1), got {dropout}")
    model = architecture.build(num_classes, dropout)
    # fit and predict ask it for limits and for what is fast
    model.architecture = architecture  # type: ignore[assignment]
    if weights_path is not None:
        load_weights(model, weights_path)
    freeze_layers(model, architecture, freeze)
    return model


def freeze_layers(model: nn.Module, architecture: Architecture, freeze: str) -> None:
    """Switch gradients off below the freeze point, on above it."""
    if freeze not in architecture.freeze_points:
        known = ", ".join(architecture.freeze_points)
        raise ValueError(f"unknown freeze point {freeze!r} of {architecture.name}; known: {known}")
    prefixes = tuple(prefix + "." for prefix in architecture.freeze_points[freeze])
    for name, parameter in model.named_parameters():
        parameter.requires_grad = not name.startswith(prefixes)


def set_training_mode(model: nn.Module) -> None:
    """Training mode for what is trained; frozen batch norm stays in eval mode.

    A frozen layer whose batch norm went on normalising by the batch, and moving its running statistics,
    would not be frozen at all.
    """
    model.train()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.train(any(parameter.requires_grad for parameter in module.parameters()))


def check_image_px(model: nn.Module, image_px: int) -> None:
    """ValueError where the drawing is smaller than the network can take."""
    architecture = getattr(model, "architecture", None)
    if architecture is not None and image_px < architecture.min_image_px:
        raise ValueError(
            f"image_px must be at least {architecture.min_image_px} for {architecture.name}, got {image_px}"
        )

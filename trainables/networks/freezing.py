"""Freezes the first layers of a network, and cuts it between what is frozen and what is trained."""

import torch
from torch import Tensor, nn

from tune_sketch.trainables.networks.architecture import Architecture, architecture_of, lies_in


def freeze_layers(model: nn.Module, architecture: Architecture, freeze: str) -> None:
    """Switch gradients off below the freeze point, on above it."""
    if freeze not in architecture.freeze_points:
        known = ", ".join(architecture.freeze_points)
        raise ValueError(f"unknown freeze point {freeze!r} of {architecture.name}; known: {known}")
    frozen = architecture.freeze_points[freeze]
    for name, parameter in model.named_parameters():
        parameter.requires_grad = not lies_in(name, frozen)


def set_training_mode(model: nn.Module) -> None:
    """Training mode for what is trained; frozen batch norm stays in eval mode.

    A frozen layer whose batch norm went on normalising by the batch, and moving its running statistics,
    would not be frozen at all.
    """
    model.train()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.train(any(parameter.requires_grad for parameter in module.parameters()))


class TrainableTail(nn.Module):
    """The layers of a network after its frozen ones; takes the output of those, in half precision.

    float16 [B, H, W, C], [B, N, C] or [B, F] to logits [B, classes].
    """

    def __init__(self, architecture: Architecture, layers: list[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.architecture = architecture

    def forward(self, activations: Tensor) -> Tensor:
        kind = activations.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else torch.float32
        if activations.ndim == 4:
            activations = activations.permute(0, 3, 1, 2)  # [B, C, H, W], channels last in memory
        logits: Tensor = self.layers(activations.to(dtype))
        return logits


def split_frozen(model: nn.Module) -> tuple[nn.Sequential, TrainableTail]:
    """(first layers that give the same output in every epoch, the other layers), sharing the model's weights.

    The first part ends before the first layer that is trained, or that drops at random.
    """
    architecture = architecture_of(model)
    assert architecture is not None
    layers = architecture.layers(model)
    num_frozen = 0
    while num_frozen < len(layers) and not varies(layers[num_frozen]):
        num_frozen += 1
    return nn.Sequential(*layers[:num_frozen]), TrainableTail(architecture, layers[num_frozen:])


def varies(layer: nn.Module) -> bool:
    """Whether a layer may give another output for the same input in a later epoch."""
    return any(parameter.requires_grad for parameter in layer.parameters()) or any(map(drops, layer.modules()))


def drops(module: nn.Module) -> bool:
    """Whether a module drops something at random in training; drop_prob: timm's name in layers that drop paths."""
    return (isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0) or bool(
        getattr(module, "drop_prob", None)
    )

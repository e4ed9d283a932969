"""The heads that a network can have: the paper's plain one, or one that normalises the features it is given."""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from tune_sketch.trainables.networks.architecture import Architecture

HEADS = ("plain", "normalised")
# Of a feature, in batch norm: one that varies less is hardly enlarged. Some maximum is zero for all drawings that the
# statistics come from; with the usual 1e-5 the first drawing that has it would outweigh all other features.
LEAST_VARIANCE = 1.0


class AverageMaxPool(nn.Module):
    """Mean and maximum of each map: [B, C, h, w] to [B, 2C, 1, 1].

    A few lines leave most of a map empty, so the mean alone says little about them.
    """

    def forward(self, maps: Tensor) -> Tensor:
        return torch.cat([maps.mean((2, 3), keepdim=True), maps.amax((2, 3), keepdim=True)], dim=1)


def change_head(model: nn.Module, architecture: Architecture, head: str) -> None:
    """Leave the head plain, or pool by mean and maximum and put batch norm before the classifier.

    Features of loaded weights are far from the size that new weights are made for. Normalised, a network learns from
    them in its first epoch (benchmarks/results/recipe_parts-cpu.md).
    """
    if head not in HEADS:
        raise ValueError(f"unknown head {head!r}; known heads: {', '.join(HEADS)}")
    if head == "plain":
        return
    if architecture.pooling is not None:
        model.set_submodule(architecture.pooling, (architecture.pool_both or AverageMaxPool)())
    plain = model.get_submodule(architecture.head)
    layers = dict(plain.named_children()) if isinstance(plain, nn.Sequential) else {"linear": plain}
    changed: OrderedDict[str, nn.Module] = OrderedDict()
    (linear,) = (layer for layer in layers.values() if isinstance(layer, nn.Linear))
    num_features = linear.in_features
    if architecture.pooling is not None:
        num_features += linear.in_features if architecture.num_maxima is None else architecture.num_maxima
    for name, layer in layers.items():
        if "norm" not in changed and isinstance(layer, nn.Dropout | nn.Linear):
            changed["norm"] = nn.BatchNorm1d(num_features, eps=LEAST_VARIANCE)
        changed[name] = layer if layer is not linear else nn.Linear(num_features, linear.out_features)
    model.set_submodule(architecture.head, nn.Sequential(changed))

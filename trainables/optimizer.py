"""Builds the optimizer of a training, with a rate for each depth of the network and for each step."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from tune_sketch.trainables.networks.architecture import architecture_of, lies_in


def group_by_depth(model: nn.Module, first_layer_factor: float) -> dict[float, list[nn.Parameter]]:
    """{factor of the learning rate: parameters that are trained}, from the first layers to the head.

    The head has factor 1, the first layers have `first_layer_factor`, and those between fall in even ratios from one
    freeze point to the next. Equal factors are one group: with 1 there is one group, as in the paper.
    """
    architecture = architecture_of(model)
    points = [] if architecture is None else [*architecture.freeze_points.values()][1:]
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        depth = next((index for index, point in enumerate(points) if lies_in(name, point)), len(points))
        factor = first_layer_factor ** (1 - depth / max(1, len(points)))
        if parameter.requires_grad:
            groups.setdefault(factor, []).append(parameter)
    return groups


def build_optimizer(model: nn.Module, config: Mapping[str, Any], device: torch.device) -> torch.optim.Optimizer:
    """The optimizer by name over what is not frozen, grouped by depth.

    Weight decay is decoupled in adamw, L2 elsewhere.
    """
    parameters = [{"params": group} for group in group_by_depth(model, config["layer_rate_factor"]).values()]
    rate, weight_decay = config["learning_rate"], config["weight_decay"]
    fused = device.type in ("cpu", "cuda")  # one pass over the weights instead of about ten
    match config["optimizer"]:
        case "sgd":
            momentum = config["momentum"]
            return torch.optim.SGD(parameters, rate, momentum, weight_decay=weight_decay, fused=fused)
        case "rmsprop":  # rho and epsilon are those of Keras, for the paper's learning rate belongs to them
            return torch.optim.RMSprop(parameters, rate, alpha=0.9, eps=1e-7, weight_decay=weight_decay)
        case "adam":
            return torch.optim.Adam(parameters, rate, weight_decay=weight_decay, fused=fused)
        case "adamw":
            return torch.optim.AdamW(parameters, rate, weight_decay=weight_decay, fused=fused)
    raise ValueError(f"unknown optimizer {config['optimizer']!r}; known: sgd, rmsprop, adam, adamw")


def learning_rate_at(config: Mapping[str, Any], step: int) -> float:
    """The head's rate at an optimizer step, counted from 0: the paper's schedule, Keras' inverse-time decay.

    Before that it rises over `warmup_steps`. Neither knows how long the training is, so trials are alike at a rung.
    """
    rate: float = config["learning_rate"] / (1 + config["decay"] * step)
    warmed_up: float = min(1.0, (step + 1) / max(1, config["warmup_steps"]))
    return rate * warmed_up

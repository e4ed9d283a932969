"""Averages a network's weights over the latest steps of its training."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from tune_sketch.trainables.networks.freezing import set_training_mode

SHARPNESS = 8  # the average reaches back over about one in SHARPNESS + 1 steps so far


def average_weights(model: nn.Module, num_steps: int = 0) -> AveragedModel:
    """A network with the average of a model's weights, now after `num_steps` of its training.

    It reaches back over a fixed share of all steps so far (polynomial-decay averaging; Shamir and Zhang 2013,
    arXiv 1212.1824, section 4), so no horizon need be known. What is frozen is shared with the model. Running
    statistics of batch norm are not averaged: they are to be recomputed for these weights.
    """
    averaged = AveragedModel(model, multi_avg_fn=move_averages)
    averaged.n_averaged.fill_(num_steps)
    for mine, theirs in zip(averaged.module.parameters(), model.parameters(), strict=True):
        if not theirs.requires_grad:
            mine.data = theirs.data
    set_training_mode(averaged.module)
    return averaged


@torch.no_grad()
def move_averages(averages: Sequence[Tensor], weights: Sequence[Tensor], num_averaged: Tensor | int) -> None:
    """Move each average towards the present weights, in place. num_averaged: steps before this one, at least 1."""
    share = torch.as_tensor((SHARPNESS + 1) / (num_averaged + SHARPNESS + 1))
    for average, weight in zip(averages, weights, strict=True):
        if average.data_ptr() != weight.data_ptr():  # else it is frozen
            average.lerp_(weight, share.to(average.dtype))


def best_weights(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """The weights that the validation metrics of a training's state are of."""
    weights: dict[str, Tensor] = state["averaged" if state.get("uses_averaged") else "model"]  # not in older states
    return weights

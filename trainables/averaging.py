"""Averages a network's weights over the latest steps of its training."""

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tune_sketch.trainables.networks.freezing import set_training_mode

SHARPNESS = 8  # the average reaches back over about one in SHARPNESS + 1 steps so far


class AveragedWeights:
    """A network whose weights are those of a model, averaged over the latest steps of its training.

    The average reaches back over a fixed share of all steps so far (polynomial-decay averaging; Shamir and Zhang 2013,
    arXiv 1212.1824, section 4), so no horizon need be known. What is frozen is shared with the model. Running
    statistics of batch norm are not averaged: they are to be recomputed for these weights.
    torch's AveragedModel does the same, but makes a GPU wait at every step for the number of steps so far.
    """

    def __init__(self, model: nn.Module, num_steps: int = 0) -> None:
        self.module = copy.deepcopy(model)
        self.num_steps = num_steps  # of the training so far
        for mine, theirs in zip(self.module.parameters(), model.parameters(), strict=True):
            if not theirs.requires_grad:
                mine.data = theirs.data
        set_training_mode(self.module)
        pairs = zip(self.module.parameters(), model.parameters(), strict=True)
        trained: list[tuple[Tensor, Tensor]] = [pair for pair in pairs if pair[1].requires_grad]
        self.averages, self.weights = [mine for mine, _ in trained], [theirs for _, theirs in trained]

    @torch.no_grad()
    def update(self) -> None:
        """Move the average towards the model's weights, after one more step of its training."""
        if self.num_steps == 0:
            torch._foreach_copy_(self.averages, self.weights)
        else:
            # Rounded as a weight is, and as in earlier versions, whose trainings can be resumed.
            share = float(np.float32(SHARPNESS + 1) * (1 / np.float32(self.num_steps + SHARPNESS + 1)))
            torch._foreach_lerp_(self.averages, self.weights, share)
        self.num_steps += 1


def average_weights(model: nn.Module, num_steps: int = 0) -> AveragedWeights:
    """The average of a model's weights, which are now those after `num_steps` of its training."""
    return AveragedWeights(model, num_steps)


def best_weights(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """The weights that the validation metrics of a training's state are of."""
    weights: dict[str, Tensor] = state["averaged" if state.get("uses_averaged") else "model"]  # not in older states
    return weights

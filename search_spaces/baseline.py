"""The search space of baseline, the paper's configuration in it, and today's recipe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tune_sketch.search_spaces import common

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

FREEZE_POINTS = ("none", "conv1", "conv2", "conv3", "head_only")


def space(trial: BaseTrial, limits: common.SpaceLimits) -> common.Configuration:
    """The full configuration of one trial."""
    return {
        **common.suggest_optimizer(trial, lowest_rate=1e-5, highest_rate=1e-1),
        **common.suggest_schedule(trial, limits),
        **common.suggest_regularisation(trial, highest_dropout=0.7),
        **common.suggest_freeze(trial, limits, FREEZE_POINTS),
        **common.suggest_augmentation(trial),
        **common.suggest_sampling(trial, limits),
        **common.suggest_recipe(trial, limits),
    }


# Reported: Adam, 80 epochs, batches of 128 (section on tuning). Not reported: the learning rate (the value is
# the default of Keras), the dropout, and all that common.py says. The paper trained it from scratch.
PAPER: common.Configuration = {
    **common.PAPER_DEFAULTS,
    "optimizer": "adam",
    "learning_rate": 1e-3,
    "epochs": 80,
    "batch_size": 128,
    "dropout": 0.5,
    "freeze": "none",
}

RECIPE: common.Configuration = common.RECIPE_DEFAULTS

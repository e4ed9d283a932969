"""The search space of resnet50, the paper's configuration in it, and today's recipe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tune_sketch.search_spaces import common

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

FREEZE_POINTS = ("none", "stem", "layer1", "layer2", "layer3", "head_only")


def space(trial: BaseTrial, limits: common.SpaceLimits) -> common.Configuration:
    """The full configuration of one trial."""
    return {
        **common.suggest_optimizer(trial, lowest_rate=1e-5, highest_rate=3e-2),
        **common.suggest_schedule(trial, limits),
        **common.suggest_regularisation(trial, highest_dropout=0.0),
        **common.suggest_freeze(trial, limits, FREEZE_POINTS),
        **common.suggest_augmentation(trial),
        **common.suggest_sampling(trial, limits),
        **common.suggest_recipe(trial, limits),
    }


# Reported: Adam, batches of 64 (on two K80), ImageNet weights with the first layers frozen. Not reported: the
# learning rate (here the one of its DenseNet121), the depth of freezing (here two of four stages), the epochs
# (here those of its baseline), and all that common.py says.
PAPER: common.Configuration = {
    **common.PAPER_DEFAULTS,
    "optimizer": "adam",
    "learning_rate": 1e-4,
    "epochs": 80,
    "batch_size": 64,
    "freeze": "layer2",
}

RECIPE: common.Configuration = common.recipe_with_batch_norm(PAPER)

"""The search space of a network of timm, a configuration like the paper's in it, and today's recipe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tune_sketch.search_spaces import common

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

# By depth, the same for all networks: up to which share of its layer groups loaded weights stay as they are.
FREEZE_POINTS = ("none", "stem", "quarter", "half", "three_quarters", "head_only")


def space(trial: BaseTrial, limits: common.SpaceLimits) -> common.Configuration:
    """The full configuration of one trial."""
    return {
        **common.suggest_optimizer(trial, lowest_rate=1e-5, highest_rate=3e-2),
        **common.suggest_schedule(trial, limits),
        **common.suggest_regularisation(trial, highest_dropout=0.7),
        **common.suggest_freeze(trial, limits, FREEZE_POINTS),
        **common.suggest_augmentation(trial),
        **common.suggest_sampling(trial, limits),
        **common.suggest_recipe(trial, limits),
    }


# The paper trained none of them. So this is what it chose for the networks that it trained: Adam, batches of 64,
# ImageNet weights with the first layers frozen (the depth is ours: half), no dropout, the epochs of its baseline. The
# learning rate is that of its DenseNet121.
PAPER: common.Configuration = {
    **common.PAPER_DEFAULTS,
    "optimizer": "adam",
    "learning_rate": 1e-4,
    "epochs": 80,
    "batch_size": 64,
    "dropout": 0.0,
    "freeze": "half",
}

RECIPE: common.Configuration = common.recipe_with_batch_norm(PAPER)

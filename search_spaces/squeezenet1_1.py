"""The search space of squeezenet1_1, the paper's configuration in it, and today's recipe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tune_sketch.search_spaces import common

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

FREEZE_POINTS = ("none", "stem", "fire3", "fire5", "head_only")


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


# The paper names this network and did not train it. So this is what the paper chose for the networks that it
# trained: Adam, batches of 64, the epochs of its baseline; dropout 0.5 is that of Iandola et al. 2016; the
# learning rate is ours.
PAPER: common.Configuration = {
    **common.PAPER_DEFAULTS,
    "optimizer": "adam",
    "learning_rate": 3e-4,
    "epochs": 80,
    "batch_size": 64,
    "dropout": 0.5,
    "freeze": "fire3",
}

RECIPE: common.Configuration = common.RECIPE_DEFAULTS

"""The search space of the sketch table: that of `baseline` when its curves were recorded, without the later recipe."""

from optuna.trial import BaseTrial

from tune_sketch.search_spaces import common, paper_configuration


def space(trial: BaseTrial, limits: common.SpaceLimits) -> common.Configuration:
    """The full configuration of one trial."""
    return {
        **common.suggest_optimizer(trial, lowest_rate=1e-5, highest_rate=1e-1),
        **common.suggest_schedule(trial, limits),
        **common.suggest_regularisation(trial, highest_dropout=0.7),
        "freeze": "none",
        **common.suggest_augmentation(trial),
        **common.PAPER_RECIPE,
    }


def paper_parameters(limits: common.SpaceLimits) -> common.Configuration:
    """The paper's configuration as parameters of this space."""
    parameters = paper_configuration("baseline", limits)
    return {name: value for name, value in parameters.items() if name not in common.PAPER_RECIPE}

"""The parts that search spaces are made of: each suggests some values of one trial's configuration."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

BATCH_SIZES = (16, 32, 64, 128)
OPTIMIZERS = ("sgd", "rmsprop", "adam", "adamw")
HEADS = ("plain", "normalised")
WARMUP_STEPS = (0, 100)
MAX_EVEN_RATIO = 3  # largest class over smallest, up to which classes are sampled as they are


Value = bool | int | float | str  # of one hyperparameter
Configuration = dict[str, Value]


class SpaceLimits(NamedTuple):
    """Limits that a search's settings put on its spaces."""

    max_epochs: int  # no trial is longer
    pretrained: bool  # weights are loaded: freezing layers makes sense
    class_ratio: float = 1.0  # drawings of the largest class over those of the smallest


def suggest_optimizer(trial: BaseTrial, *, lowest_rate: float, highest_rate: float) -> Configuration:
    """optimizer, learning_rate (log), and momentum, which only sgd has."""
    optimizer = trial.suggest_categorical("optimizer", OPTIMIZERS)
    configuration: Configuration = {
        "optimizer": optimizer,
        "learning_rate": trial.suggest_float("learning_rate", lowest_rate, highest_rate, log=True),
    }
    if optimizer == "sgd":
        configuration["momentum"] = trial.suggest_float("momentum", 0.5, 0.99)
    return configuration


def suggest_schedule(trial: BaseTrial, limits: SpaceLimits) -> Configuration:
    """epochs, batch_size and decay.

    decay is the paper's (Keras' inverse-time decay): rate / (1 + decay * t), t in optimizer steps; 0.0 is
    none. It does not depend on the horizon, so trials are comparable at equal epochs.
    """
    kind = trial.suggest_categorical("decay_kind", ("none", "inverse_time"))
    return {
        "epochs": trial.suggest_int("epochs", fewest_epochs(limits), limits.max_epochs),
        "batch_size": trial.suggest_categorical("batch_size", BATCH_SIZES),
        "decay": trial.suggest_float("decay", 1e-5, 1e-2, log=True) if kind == "inverse_time" else 0.0,
    }


def fewest_epochs(limits: SpaceLimits) -> int:
    """A third of the most: a trial may end early by itself, but not before it can have learned."""
    return max(1, math.ceil(limits.max_epochs / 3))


def suggest_regularisation(trial: BaseTrial, *, highest_dropout: float) -> Configuration:
    """weight_decay (log), label_smoothing, and dropout for a network that has it (0.0: it has none)."""
    configuration: Configuration = {
        "weight_decay": trial.suggest_float("weight_decay", 1e-6, 1e-2, log=True),
        "label_smoothing": trial.suggest_float("label_smoothing", 0.0, 0.2),
        "dropout": 0.0,
    }
    if highest_dropout > 0:
        configuration["dropout"] = trial.suggest_float("dropout", 0.0, highest_dropout)
    return configuration


def suggest_freeze(trial: BaseTrial, limits: SpaceLimits, freeze_points: tuple[str, ...]) -> Configuration:
    """freeze: up to which layer loaded weights stay as they are; new weights are never frozen."""
    if not limits.pretrained:
        return {"freeze": "none"}
    return {"freeze": trial.suggest_categorical("freeze", freeze_points)}


def suggest_sampling(trial: BaseTrial, limits: SpaceLimits) -> Configuration:
    """balanced_sampling: every class is drawn equally often in an epoch. Only where class sizes differ much."""
    if limits.class_ratio <= MAX_EVEN_RATIO:
        return {}
    return {"balanced_sampling": trial.suggest_categorical("balanced_sampling", (False, True))}


def suggest_recipe(trial: BaseTrial, limits: SpaceLimits) -> Configuration:
    """The training methods found since the paper, each of which can be off, as in `PAPER_RECIPE`.

    head: "normalised" has batch norm, over the mean and the maximum of each map. layer_rate_factor: of the first
    layers' learning rate, over the head's (log). New weights have one rate, for they are new at every depth.
    warmup_steps: in which the rate rises. averaging: weights averaged over the latest steps are validated as well.
    """
    configuration: Configuration = {
        "head": trial.suggest_categorical("head", HEADS),
        "warmup_steps": trial.suggest_categorical("warmup_steps", WARMUP_STEPS),
        "averaging": trial.suggest_categorical("averaging", (False, True)),
        "layer_rate_factor": 1.0,
    }
    if limits.pretrained:
        configuration["layer_rate_factor"] = trial.suggest_float("layer_rate_factor", 0.01, 1.0, log=True)
    return configuration


def suggest_augmentation(trial: BaseTrial) -> Configuration:
    """Strengths of the paper's six kinds of augmentation and of the pen's width; 0 is none."""
    return {
        "rotation_degrees": trial.suggest_float("rotation_degrees", 0.0, 30.0),
        "width_shift": trial.suggest_float("width_shift", 0.0, 0.2),
        "height_shift": trial.suggest_float("height_shift", 0.0, 0.2),
        "shear_degrees": trial.suggest_float("shear_degrees", 0.0, 20.0),
        "zoom": trial.suggest_float("zoom", 0.0, 0.3),
        "flip": trial.suggest_categorical("flip", (False, True)),
        "pen_width": trial.suggest_float("pen_width", 0.0, 0.5),
    }


# The paper names its six kinds of augmentation and no strength; these are small values of each, and the
# pen's width, which is ours, is off.
PAPER_AUGMENTATION: Configuration = {
    "rotation_degrees": 10.0,
    "width_shift": 0.1,
    "height_shift": 0.1,
    "shear_degrees": 5.0,
    "zoom": 0.1,
    "flip": True,
    "pen_width": 0.0,
}

# The paper's training, which had none of this. A configuration of an earlier version means the same.
PAPER_RECIPE: Configuration = {
    "head": "plain",
    "warmup_steps": 0,
    "averaging": False,
    "layer_rate_factor": 1.0,
}

# Today's: what was best of the parts measured in benchmarks/results/recipe_parts-cpu.md.
RECIPE_DEFAULTS: Configuration = {
    "optimizer": "adamw",
    "learning_rate": 1e-3,
    "decay_kind": "none",
    "batch_size": 32,
    "weight_decay": 1e-2,
    "label_smoothing": 0.1,
    "dropout": 0.5,
    "freeze": "none",
    "head": "normalised",
    "warmup_steps": 100,
    "averaging": True,
    "layer_rate_factor": 0.1,
    "rotation_degrees": 15.0,
    "width_shift": 0.08,
    "height_shift": 0.08,
    "shear_degrees": 5.0,
    "zoom": 0.15,
    "flip": True,
    "pen_width": 0.0,
    "balanced_sampling": False,
}

# The paper used inverse-time decay and reports no value; weight decay, label smoothing and class-balanced sampling are
# not mentioned, so they are as good as off (weight decay is searched on a log scale, which has no zero).
PAPER_DEFAULTS: Configuration = {
    **PAPER_AUGMENTATION,
    **PAPER_RECIPE,
    "decay_kind": "inverse_time",
    "decay": 1e-4,
    "weight_decay": 1e-6,
    "label_smoothing": 0.0,
    "balanced_sampling": False,
}


def recipe_with_batch_norm(paper: Configuration) -> Configuration:
    """The recipe of a network with batch norm at every layer: its first layers frozen as in the paper's configuration.

    Measured with EfficientNet-Lite0 (benchmarks/results/recipe_depth-cpu.md). Of loaded weights: new ones have neither.
    """
    return {**RECIPE_DEFAULTS, "freeze": paper["freeze"], "layer_rate_factor": 0.3}

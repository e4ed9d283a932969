"""Holds one search space per model, importing nothing but Optuna, and that only where it is used."""

import re
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

from tune_sketch.search_spaces import baseline, densenet121, resnet50, sketch_a_net, squeezenet1_1, timm_networks
from tune_sketch.search_spaces.common import MAX_EVEN_RATIO, Configuration, SpaceLimits, Value, fewest_epochs

if TYPE_CHECKING:
    from optuna.trial import BaseTrial, FixedTrial

# Each module has `space(trial, limits) -> configuration`, `PAPER`, the paper's own values, and `RECIPE`, today's.
SPACES: dict[str, ModuleType] = {
    "baseline": baseline,
    "resnet50": resnet50,
    "densenet121": densenet121,
    "sketch_a_net": sketch_a_net,
    "squeezenet1_1": squeezenet1_1,
}
TIMM_NAME = re.compile(r"timm:[A-Za-z0-9][\w.-]*", re.ASCII)  # of any network of timm: they share one space

Space = Callable[["BaseTrial", SpaceLimits], Configuration]


def known_space(model: str) -> ModuleType:
    """The space of `model`; ValueError that lists the known ones."""
    if is_timm(model):
        return timm_networks
    if model not in SPACES:
        raise ValueError(f"unknown model {model!r}; known models: {', '.join(SPACES)}, timm:NAME")
    return SPACES[model]


def is_timm(model: str) -> bool:
    """Whether a name is that of a network of timm. Whether timm has it is known to timm alone, which imports torch."""
    return TIMM_NAME.fullmatch(model) is not None


def configuration_of(model: str, parameters: Mapping[str, Value], limits: SpaceLimits) -> Configuration:
    """The full configuration, constants included, that a trial with these sampled parameters has."""
    configuration: Configuration = known_space(model).space(fix(parameters), limits)
    return configuration


def paper_configuration(model: str, limits: SpaceLimits) -> Configuration:
    """The paper's configuration as sampled parameters: what `enqueue_trial` and `configuration_of` take.

    Its epochs are brought into the limits; what the limits do not let vary (freeze) is left out.
    """
    return fit_into(model, known_space(model).PAPER, limits)


def recipe_configuration(model: str, limits: SpaceLimits) -> Configuration:
    """Today's recipe for a network as sampled parameters, over as many epochs as a trial may have."""
    return fit_into(model, {**known_space(model).RECIPE, "epochs": limits.max_epochs}, limits)


def fix(values: Mapping[str, Value]) -> "FixedTrial":
    """A trial that is suggested these values."""
    from optuna.trial import FixedTrial

    parameters: dict[str, Any] = dict(values)
    return FixedTrial(parameters)


def fit_into(model: str, wanted: Configuration, limits: SpaceLimits) -> Configuration:
    """Those of the wanted values that the space samples, the epochs within the limits."""
    epochs = min(max(int(wanted["epochs"]), fewest_epochs(limits)), limits.max_epochs)
    trial = fix(wanted | {"epochs": epochs})
    known_space(model).space(trial, limits)
    return dict(trial.params)


def largest_configuration(model: str, limits: SpaceLimits) -> Configuration:
    """The configuration of the space that takes most memory: largest batch, nothing frozen, most optimizer state."""
    parameters = paper_configuration(model, limits)
    trial = fix(parameters)
    configuration: Configuration = known_space(model).space(trial, limits)
    sizes = getattr(trial.distributions.get("batch_size"), "choices", (configuration["batch_size"],))
    return configuration | {"batch_size": max(sizes), "freeze": "none", "optimizer": "adam", "averaging": True}


__all__ = [
    "MAX_EVEN_RATIO",
    "SPACES",
    "SpaceLimits",
    "configuration_of",
    "is_timm",
    "known_space",
    "largest_configuration",
    "paper_configuration",
    "recipe_configuration",
]

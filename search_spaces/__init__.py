"""What may vary: one search space per model, importing nothing but Optuna."""

from collections.abc import Callable, Mapping
from types import ModuleType

from optuna.trial import BaseTrial, FixedTrial

from tune_sketch.search_spaces import baseline, densenet121, resnet50, sketch_a_net, squeezenet1_1
from tune_sketch.search_spaces.common import MAX_EVEN_RATIO, Configuration, SpaceLimits, Value, fewest_epochs

# Each module has `space(trial, limits) -> configuration` and `PAPER`, the paper's own values.
SPACES: dict[str, ModuleType] = {
    "baseline": baseline,
    "resnet50": resnet50,
    "densenet121": densenet121,
    "sketch_a_net": sketch_a_net,
    "squeezenet1_1": squeezenet1_1,
}

Space = Callable[[BaseTrial, SpaceLimits], Configuration]


def known_space(model: str) -> ModuleType:
    """The space of `model`; ValueError that lists the known ones."""
    if model not in SPACES:
        raise ValueError(f"unknown model {model!r}; known models: {', '.join(SPACES)}")
    return SPACES[model]


def configuration_of(model: str, parameters: Mapping[str, Value], limits: SpaceLimits) -> Configuration:
    """The full configuration, constants included, that a trial with these sampled parameters has."""
    configuration: Configuration = known_space(model).space(FixedTrial(dict(parameters)), limits)
    return configuration


def paper_configuration(model: str, limits: SpaceLimits) -> Configuration:
    """The paper's configuration as sampled parameters: what `enqueue_trial` and `configuration_of` take.

    Its epochs are brought into the limits; what the limits do not let vary (freeze) is left out.
    """
    space = known_space(model)
    wanted = dict(space.PAPER)
    wanted["epochs"] = min(max(wanted["epochs"], fewest_epochs(limits)), limits.max_epochs)
    trial = FixedTrial(wanted)
    space.space(trial, limits)
    return dict(trial.params)


def largest_configuration(model: str, limits: SpaceLimits) -> Configuration:
    """What takes most memory in the space: the largest batch, nothing frozen, the optimizer with most state."""
    parameters = paper_configuration(model, limits)
    trial = FixedTrial(parameters)
    configuration: Configuration = known_space(model).space(trial, limits)
    sizes = getattr(trial.distributions.get("batch_size"), "choices", (configuration["batch_size"],))
    return configuration | {"batch_size": max(sizes), "freeze": "none", "optimizer": "adam"}


__all__ = [
    "MAX_EVEN_RATIO",
    "SPACES",
    "SpaceLimits",
    "configuration_of",
    "known_space",
    "largest_configuration",
    "paper_configuration",
]

"""Contract of every search space: names, ranges, conditions, and the paper's configuration inside."""

import subprocess
import sys
import warnings
from collections.abc import Callable
from typing import Any

import optuna
import pytest
from optuna.trial import FixedTrial

from tune_sketch.search_spaces import (
    SPACES,
    SpaceLimits,
    configuration_of,
    paper_configuration,
    recipe_configuration,
)
from tune_sketch.search_spaces.common import PAPER_RECIPE
from tune_sketch.trainables.networks.heads import HEADS

NAMES = {
    *("optimizer", "learning_rate", "decay", "epochs", "batch_size", "weight_decay", "label_smoothing"),
    *("dropout", "freeze", "rotation_degrees", "width_shift", "height_shift", "shear_degrees", "zoom"),
    *("flip", "pen_width", "head", "layer_rate_factor", "warmup_steps", "averaging"),
}
WITH_DROPOUT = {"baseline", "sketch_a_net", "squeezenet1_1"}


def sample(model: str, limits: SpaceLimits, num_samples: int = 100) -> list[tuple[dict, dict[str, Any]]]:
    """(sampled parameters, configuration) of random trials."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    trials = [study.ask() for _ in range(num_samples)]
    return [(trial.params, SPACES[model].space(trial, limits)) for trial in trials]


@pytest.fixture(autouse=True)
def quiet_optuna() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def test_spaces_import_only_optuna() -> None:
    code = (
        "import sys, tune_sketch.search_spaces; "
        "heavy = {'torch', 'torchvision', 'ray', 'sklearn', 'tune_sketch.trainables'} & set(sys.modules); "
        "sys.exit(', '.join(heavy) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("pretrained", [False, True])
@pytest.mark.parametrize("model", SPACES)
def test_every_sample_is_a_full_configuration(model: str, pretrained: bool) -> None:
    limits = SpaceLimits(max_epochs=20, pretrained=pretrained)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    seen: dict[str, set] = {}
    for _ in range(150):
        trial = study.ask()
        config = SPACES[model].space(trial, limits)
        assert set(config) - {"momentum"} == NAMES
        assert ("momentum" in config) == (config["optimizer"] == "sgd")
        # Whatever is sampled has an effect: it is in the configuration (or decides over decay).
        assert set(trial.params) - {"decay_kind"} <= set(config)
        assert (config["decay"] == 0.0) == (trial.params["decay_kind"] == "none")
        assert ("freeze" in trial.params) == ("layer_rate_factor" in trial.params) == pretrained
        assert ("dropout" in trial.params) == (model in WITH_DROPOUT)
        assert 7 <= config["epochs"] <= 20
        assert 0 < config["learning_rate"] <= 0.1
        assert config == configuration_of(model, trial.params, limits)
        for name, value in config.items():
            seen.setdefault(name, set()).add(value)
    constants = {name for name, values in seen.items() if len(values) == 1}
    expected = set() if model in WITH_DROPOUT else {"dropout"}
    assert constants == (expected if pretrained else expected | {"freeze", "layer_rate_factor"})
    assert seen["head"] == set(HEADS)
    assert seen["batch_size"] == {16, 32, 64, 128}
    assert seen["freeze"] == (set(SPACES[model].FREEZE_POINTS) if pretrained else {"none"})


@pytest.mark.parametrize("pretrained", [False, True])
@pytest.mark.parametrize("max_epochs", [1, 2, 3, 12, 80, 300])
@pytest.mark.parametrize("model", SPACES)
@pytest.mark.parametrize("configure", [paper_configuration, recipe_configuration])
def test_the_first_configurations_lie_in_the_space(
    configure: Callable[[str, SpaceLimits], dict[str, Any]], model: str, max_epochs: int, pretrained: bool
) -> None:
    limits = SpaceLimits(max_epochs, pretrained)
    parameters = configure(model, limits)
    trial = FixedTrial(parameters)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Optuna warns when a fixed value is out of range
        config = SPACES[model].space(trial, limits)
    assert trial.params == parameters  # no name too many, none too few
    for name, distribution in trial.distributions.items():
        assert distribution._contains(distribution.to_internal_repr(parameters[name])), name
    assert -(-max_epochs // 3) <= config["epochs"] <= max_epochs


@pytest.mark.parametrize("model", SPACES)
def test_the_paper_configuration_can_be_enqueued(model: str) -> None:
    limits = SpaceLimits(max_epochs=12, pretrained=True)
    study = optuna.create_study()
    study.enqueue_trial(paper_configuration(model, limits))
    config = SPACES[model].space(study.ask(), limits)
    assert config == configuration_of(model, paper_configuration(model, limits), limits)


@pytest.mark.parametrize("model", SPACES)
def test_balanced_sampling_is_searched_where_class_sizes_differ_much(model: str) -> None:
    for ratio, choices in ((1.0, set()), (3.0, set()), (3.01, {False, True}), (500.0, {False, True})):
        limits = SpaceLimits(max_epochs=9, pretrained=True, class_ratio=ratio)
        samples = sample(model, limits)
        assert {config["balanced_sampling"] for _, config in samples if "balanced_sampling" in config} == choices
        paper = configuration_of(model, paper_configuration(model, limits), limits)
        assert paper.get("balanced_sampling", False) is False


def test_the_paper_reports_these_settings() -> None:
    limits = SpaceLimits(max_epochs=80, pretrained=True)
    paper = {model: configuration_of(model, paper_configuration(model, limits), limits) for model in SPACES}
    assert (paper["baseline"]["optimizer"], paper["baseline"]["epochs"]) == ("adam", 80)
    assert paper["baseline"]["batch_size"] == 128
    assert paper["baseline"]["freeze"] == "none"
    assert (paper["resnet50"]["optimizer"], paper["resnet50"]["batch_size"]) == ("adam", 64)
    assert (paper["densenet121"]["optimizer"], paper["densenet121"]["learning_rate"]) == ("rmsprop", 1e-4)
    assert paper["densenet121"]["batch_size"] == 64
    for model in ("resnet50", "densenet121"):  # the first layers frozen, those near the output trained
        assert paper[model]["freeze"] not in ("none", "head_only")
    for config in paper.values():
        assert config["decay"] > 0
        assert config.items() >= PAPER_RECIPE.items()  # one rate, no warm-up, no averaging, a plain head
        assert all(config[name] for name in ("rotation_degrees", "width_shift", "height_shift"))
        assert all(config[name] for name in ("shear_degrees", "zoom", "flip"))


def test_unknown_model_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"unknown model 'vgg'.*baseline"):
        paper_configuration("vgg", SpaceLimits(3, False))


@pytest.mark.parametrize("model", SPACES)
def test_the_recipe_differs_from_the_paper_in_every_part(model: str) -> None:
    limits = SpaceLimits(max_epochs=30, pretrained=True)
    recipe = configuration_of(model, recipe_configuration(model, limits), limits)
    assert recipe["epochs"] == 30
    assert all(recipe[name] != PAPER_RECIPE[name] for name in PAPER_RECIPE)


@pytest.mark.parametrize("model", [*SPACES, "timm:efficientnet_lite0"])
def test_the_recipe_freezes_first_layers_of_loaded_networks_with_batch_norm(model: str) -> None:
    config, new, paper = (
        configuration_of(model, choose(model, limits), limits)
        for choose, limits in (
            (recipe_configuration, SpaceLimits(max_epochs=30, pretrained=True)),
            (recipe_configuration, SpaceLimits(max_epochs=30, pretrained=False)),
            (paper_configuration, SpaceLimits(max_epochs=30, pretrained=True)),
        )
    )
    assert (new["freeze"], new["layer_rate_factor"]) == ("none", 1.0)
    if model in ("resnet50", "densenet121", "timm:efficientnet_lite0"):
        assert config["freeze"] == paper["freeze"] != "none"
        assert config["layer_rate_factor"] == 0.3
    else:
        assert (config["freeze"], config["layer_rate_factor"]) == ("none", 0.1)

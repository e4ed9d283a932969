"""Real ImageNet weights on real sketches, all the way: normalisation, freezing, rates, stored activations, resume."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.support.real_weights import SKETCHY, needs_real_weights, needs_sketchy
from tests.support.small_training import STILL, assert_same_weights, without_times
from tune_sketch.data import open_data, prepare_data
from tune_sketch.data.request import DataRequest
from tune_sketch.data.splits import split_data
from tune_sketch.search_spaces import SpaceLimits, configuration_of, recipe_configuration
from tune_sketch.trainables.averaging import best_weights
from tune_sketch.trainables.batches import SplitArrays, TrainingSplits
from tune_sketch.trainables.evaluation import predict_probabilities
from tune_sketch.trainables.networks.architecture import IMAGENET
from tune_sketch.trainables.networks.build import build_model
from tune_sketch.trainables.networks.registry import ARCHITECTURES
from tune_sketch.trainables.speed.feature_cache import CachePolicy
from tune_sketch.trainables.training import fit

pytestmark = [pytest.mark.slow, pytest.mark.parallel, needs_real_weights, needs_sketchy]
NUM_CLASSES = 8


@pytest.fixture(scope="module")
def splits(tmp_path_factory: pytest.TempPathFactory) -> TrainingSplits:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TUNE_SKETCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        data = open_data(prepare_data(DataRequest(str(SKETCHY), 64, classes=NUM_CLASSES)))
    rows = split_data(data, protocol="small", split_by="photo", seed=0)
    arrays = [SplitArrays(data.images, data.labels, part) for part in (rows.train, rows.validation)]
    return TrainingSplits(*arrays, num_classes=NUM_CLASSES, invert=True, fingerprint=data.fingerprint)


def configure(**changes: Any) -> dict[str, Any]:
    limits = SpaceLimits(max_epochs=3, pretrained=True)
    config = configuration_of("squeezenet1_1", recipe_configuration("squeezenet1_1", limits), limits)
    return config | {"batch_size": 16, "warmup_steps": 10} | changes


def build(config: dict[str, Any], weights: Path | None) -> nn.Module:
    torch.manual_seed(0)
    path = None if weights is None else str(weights)
    parts = {name: config[name] for name in ("dropout", "freeze", "head")}
    return build_model("squeezenet1_1", NUM_CLASSES, weights_path=path, **parts)


def test_loaded_weights_are_worth_it(splits: TrainingSplits, real_squeezenet: Path) -> None:
    config = configure(epochs=6, learning_rate=2e-3)
    loaded, new = (
        [metrics["val_top1"] for metrics, _ in fit(build(config, file), splits, config, seed=1, pretrained=True)]
        for file in (real_squeezenet, None)
    )
    assert loaded[-1] > 0.5, "of eight classes"
    assert loaded[-1] > new[-1] + 0.2


def test_the_network_sees_what_its_weights_were_made_for(splits: TrainingSplits, real_squeezenet: Path) -> None:
    config = configure(epochs=1, **STILL)
    model = build(config, real_squeezenet)
    seen: list[torch.Tensor] = []
    model.features[0].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    next(fit(model, splits, config, seed=1, pretrained=True))
    for channel, (mean, deviation) in enumerate(zip(IMAGENET.mean, IMAGENET.std, strict=True)):
        values = torch.cat([inputs[:, channel].flatten() for inputs in seen])
        assert values.min() == pytest.approx(-mean / deviation), "the paper is black"
        assert values.max() == pytest.approx((1 - mean) / deviation), "the ink is white"


@pytest.mark.parametrize("freeze", ["none", "fire3", "head_only"])
def test_frozen_layers_stay_those_of_the_file(freeze: str, splits: TrainingSplits, real_squeezenet: Path) -> None:
    config = configure(epochs=1, freeze=freeze)
    _, state = next(fit(build(config, real_squeezenet), splits, config, seed=1, pretrained=True))
    prefixes = ARCHITECTURES["squeezenet1_1"].freeze_points[freeze]
    file = torch.load(real_squeezenet, weights_only=True)
    for weights in (state["model"], state["averaged"]):
        for name in (name for name in file if name.startswith("features")):
            frozen = name.startswith(tuple(f"{prefix}." for prefix in prefixes))
            assert torch.equal(weights[name], file[name]) == frozen, name


def test_first_layers_move_less_than_last_ones(splits: TrainingSplits, real_squeezenet: Path) -> None:
    file = torch.load(real_squeezenet, weights_only=True)
    moved = {}
    for factor in (1.0, 0.01):
        config = configure(epochs=1, layer_rate_factor=factor)
        _, state = next(fit(build(config, real_squeezenet), splits, config, seed=1, pretrained=True))
        moved[factor] = {n: (state["model"][n] - file[n]).norm() for n in file if n.startswith("features")}
    ratios = {name: float(moved[0.01][name] / moved[1.0][name]) for name in moved[1.0]}
    assert ratios["features.0.weight"] < 0.05
    assert ratios["features.0.weight"] < ratios["features.4.expand3x3.weight"] < ratios["features.12.expand3x3.weight"]


def test_stored_activations_give_the_same_network(
    splits: TrainingSplits, real_squeezenet: Path, tmp_path: Path
) -> None:
    config = configure(epochs=3, freeze="fire5", **STILL)
    anew = [m for m, _ in fit(build(config, real_squeezenet), splits, config, seed=1, pretrained=True)]
    policy = CachePolicy(0, seed=1, least_speedup=0.0, root=tmp_path)
    stored = [
        m for m, _ in fit(build(config, real_squeezenet), splits, config, seed=1, pretrained=True, cache_policy=policy)
    ]
    assert [m["frozen_views"] for m in stored] == [0, 1, 1]
    for ours, expected in zip(stored, anew, strict=True):
        assert ours["val_loss"] == pytest.approx(expected["val_loss"], rel=0.05)  # half precision
        assert ours["val_top1"] == pytest.approx(expected["val_top1"], abs=0.06)  # two of 37 drawings


def test_it_resumes_bit_for_bit_and_predicts_what_it_validated(splits: TrainingSplits, real_squeezenet: Path) -> None:
    config = configure()
    whole = list(fit(build(config, real_squeezenet), splits, config, seed=1, pretrained=True))
    model = build(config, None)
    resumed = list(fit(model, splits, config, seed=1, pretrained=True, state=whole[0][1]))
    for (metrics, state), (expected, expected_state) in zip(resumed, whole[1:], strict=True):
        assert without_times(metrics) == without_times(expected)
        assert_same_weights(best_weights(state), best_weights(expected_state))
    metrics, state = resumed[-1]
    model.load_state_dict(best_weights(state))
    rows = splits.validation.indices
    probabilities = predict_probabilities(
        model, splits.validation.images[rows], device="cpu", invert=True, pretrained=True
    )
    assert metrics["val_top1"] == pytest.approx((probabilities.argmax(axis=1) == splits.validation.labels[rows]).mean())

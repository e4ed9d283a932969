"""A network of timm with real ImageNet weights on real sketches: worth, freezing, rates, stored activations, resume."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.support.real_weights import SKETCHY, needs_efficientnet, needs_sketchy
from tests.support.small_training import STILL, assert_same_weights, without_times
from tune_sketch.data import open_data, prepare_data
from tune_sketch.data.request import DataRequest
from tune_sketch.data.splits import split_data
from tune_sketch.search_spaces import SpaceLimits, configuration_of, recipe_configuration
from tune_sketch.trainables.averaging import best_weights
from tune_sketch.trainables.batches import SplitArrays, TrainingSplits
from tune_sketch.trainables.evaluation import predict_probabilities
from tune_sketch.trainables.networks.build import build_model
from tune_sketch.trainables.networks.registry import known_architecture
from tune_sketch.trainables.speed.feature_cache import CachePolicy
from tune_sketch.trainables.training import fit

pytestmark = [pytest.mark.slow, pytest.mark.parallel, needs_efficientnet, needs_sketchy]
NAME, NUM_CLASSES, PX = "timm:efficientnet_lite0", 10, 64


@pytest.fixture(scope="module")
def splits(tmp_path_factory: pytest.TempPathFactory) -> TrainingSplits:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TUNE_SKETCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        data = open_data(prepare_data(DataRequest(str(SKETCHY), PX, classes=NUM_CLASSES)))
    rows = split_data(data, protocol="small", split_by="photo", seed=0)
    arrays = [SplitArrays(data.images, data.labels, part) for part in (rows.train, rows.validation)]
    return TrainingSplits(*arrays, num_classes=NUM_CLASSES, invert=True, fingerprint=data.fingerprint)


def configure(**changes: Any) -> dict[str, Any]:
    limits = SpaceLimits(max_epochs=2, pretrained=True)
    config = configuration_of(NAME, recipe_configuration(NAME, limits), limits)
    return config | {"batch_size": 16, "warmup_steps": 5, "learning_rate": 3e-3} | changes


def build(config: dict[str, Any], weights: Path | None) -> nn.Module:
    torch.manual_seed(0)
    parts = {name: config[name] for name in ("dropout", "freeze", "head")}
    path = None if weights is None else str(weights)
    return build_model(NAME, NUM_CLASSES, weights_path=path, image_px=PX, **parts)


def test_loaded_weights_are_worth_it(splits: TrainingSplits, real_efficientnet: Path) -> None:
    config = configure()
    loaded, new = (
        [metrics["val_top1"] for metrics, _ in fit(build(config, file), splits, config, seed=1, pretrained=True)]
        for file in (real_efficientnet, None)
    )
    assert loaded[-1] > new[-1] + 0.15
    assert loaded[-1] > 0.35, "of ten classes"


def test_frozen_layers_stay_and_first_ones_move_least(splits: TrainingSplits, real_efficientnet: Path) -> None:
    file = torch.load(real_efficientnet, weights_only=True)
    moved = {}
    for factor, freeze in ((1.0, "none"), (0.01, "none"), (1.0, "quarter")):
        config = configure(epochs=1, layer_rate_factor=factor, freeze=freeze)
        _, state = next(fit(build(config, real_efficientnet), splits, config, seed=1, pretrained=True))
        moved[factor, freeze] = {n: (state["model"][f"body.{n}"] - file[n]).norm() for n in file if "conv" in n}
    frozen = {n.removeprefix("body.") for n in known_architecture(NAME, PX).freeze_points["quarter"]}
    assert {n for n, distance in moved[1.0, "quarter"].items() if distance == 0} == {n for n in frozen if "conv" in n}
    ratios = {name: float(moved[0.01, "none"][name] / moved[1.0, "none"][name]) for name in moved[1.0, "none"]}
    assert ratios["conv_stem.weight"] < 0.05
    assert ratios["conv_stem.weight"] < ratios["blocks.3.0.conv_pw.weight"] < ratios["conv_head.weight"]


def test_stored_activations_give_the_same_network(
    splits: TrainingSplits, real_efficientnet: Path, tmp_path: Path
) -> None:
    # Small steps: rounding to half precision then moves no drawing far, as large ones let it.
    config = configure(epochs=3, freeze="three_quarters", averaging=False, learning_rate=3e-4, **STILL)
    policy = CachePolicy(0, seed=1, least_speedup=0.0, root=tmp_path)
    anew, stored = (
        [
            m
            for m, _ in fit(
                build(config, real_efficientnet), splits, config, seed=1, pretrained=True, cache_policy=kept
            )
        ]
        for kept in (None, policy)
    )
    assert [metrics["frozen_views"] for metrics in stored] == [0, 1, 1]
    for ours, expected in zip(stored, anew, strict=True):
        assert ours["val_loss"] == pytest.approx(expected["val_loss"], rel=0.05)  # half precision


def test_it_resumes_bit_for_bit_and_predicts_what_it_validated(splits: TrainingSplits, real_efficientnet: Path) -> None:
    config = configure()
    whole = list(fit(build(config, real_efficientnet), splits, config, seed=1, pretrained=True))
    model = build(config, None)
    ((metrics, state),) = fit(model, splits, config, seed=1, pretrained=True, state=whole[0][1])
    assert without_times(metrics) == without_times(whole[1][0])
    assert_same_weights(best_weights(state), best_weights(whole[1][1]))
    model.load_state_dict(best_weights(state))
    rows = splits.validation.indices
    probabilities = predict_probabilities(
        model, splits.validation.images[rows], device="cpu", invert=True, pretrained=True
    )
    assert metrics["val_top1"] == pytest.approx((probabilities.argmax(axis=1) == splits.validation.labels[rows]).mean())

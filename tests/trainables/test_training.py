"""fit: what is read, what is learned, what resumes, and what ends a training."""

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import torch

from tests.support.small_training import (
    AUGMENTED,
    CONFIG,
    assert_same_weights,
    build,
    drawings,
    splits_of,
    train,
    without_times,
)
from tune_sketch.search_spaces import SPACES, SpaceLimits
from tune_sketch.trainables.checkpoints import read_newest_checkpoint, write_checkpoint
from tune_sketch.trainables.evaluation import evaluate, normalise, predict_probabilities, to_unit
from tune_sketch.trainables.networks.build import build_model
from tune_sketch.trainables.networks.registry import ARCHITECTURES
from tune_sketch.trainables.training import DivergedError, fit


class ReadRecord(dict):
    """A configuration that remembers which of its names were read."""

    def __init__(self, values: dict[str, Any]) -> None:
        super().__init__(values)
        self.read: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        self.read.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        raise AssertionError(f"{name} is read with a default: a misspelt name would go unnoticed")


# contract over every model


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_sampled_name_is_read_and_every_read_name_exists(name: str, optimizer: str) -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    study.enqueue_trial({"optimizer": optimizer, "epochs": 1, "batch_size": 16, "flip": True})
    config = ReadRecord(SPACES[name].space(study.ask(), SpaceLimits(max_epochs=1, pretrained=True, class_ratio=9.0)))
    model = build(name, config)
    train(model, splits_of(drawings(16)), config)
    assert config.read == set(config)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_learns_32_drawings_by_heart(name: str) -> None:
    num_epochs, batch_size = {"sketch_a_net": (12, 8), "resnet50": (7, 32), "densenet121": (3, 32)}.get(name, (15, 8))
    config = CONFIG | {"epochs": num_epochs, "learning_rate": 1e-3, "batch_size": batch_size}
    metrics = train(build(name, config), splits_of(drawings()), config)
    assert metrics[-1]["train_loss"] < 0.5 * metrics[0]["train_loss"]
    assert metrics[-1]["train_top1"] > 0.9


@pytest.mark.parametrize(
    ("name", "optimizer", "num_images"),
    [("baseline", "adam", 22), ("squeezenet1_1", "rmsprop", 22), ("densenet121", "sgd", 8)],
)
def test_resume_is_bit_for_bit(name: str, optimizer: str, num_images: int, tmp_path: Path) -> None:
    config = AUGMENTED | {"epochs": 4, "optimizer": optimizer, "momentum": 0.9, "decay": 1e-2, "dropout": 0.3}
    splits = splits_of(drawings(num_images))
    whole = list(fit(build(name, config), splits, config, seed=5))
    epochs = fit(build(name, config), splits, config, seed=5)
    for _ in range(2):
        metrics, state = next(epochs)
    epochs.close()
    write_checkpoint(tmp_path, 2, {"state": state})
    checkpoint = read_newest_checkpoint(tmp_path)
    assert checkpoint is not None
    torch.manual_seed(99)  # a resumed process is elsewhere in its random numbers, and begins from new weights
    model = build_model(name, 4, dropout=0.3)
    resumed = list(fit(model, splits, config, seed=5, state=checkpoint[1]["state"]))
    assert [metrics["epoch"] for metrics, _ in resumed] == [3, 4]
    for (metrics, _), (expected, _) in zip(resumed, whole[2:], strict=True):
        assert without_times(metrics) == without_times(expected)
    assert_same_weights(resumed[-1][1]["model"], whole[-1][1]["model"])
    assert resumed[-1][1]["step"] == whole[-1][1]["step"]
    assert list(fit(model, splits, config, seed=5, state=whole[-1][1])) == []  # nothing is left to train


def test_resume_is_bit_for_bit_in_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tune_sketch.trainables.speed.devices.uses_bfloat16", lambda model, device: True)
    splits = splits_of(drawings(16))
    whole = list(fit(build(), splits, AUGMENTED | {"epochs": 3}, seed=5))
    resumed = list(fit(build(), splits, AUGMENTED | {"epochs": 3}, seed=5, state=whole[0][1]))
    assert without_times(resumed[-1][0]) == without_times(whole[-1][0])
    assert_same_weights(resumed[-1][1]["model"], whole[-1][1]["model"])
    assert {tensor.dtype for tensor in whole[0][1]["model"].values()} == {torch.float32}
    monkeypatch.undo()
    assert train(build(), splits, AUGMENTED)[0]["train_loss"] != whole[0][0]["train_loss"]  # it was bfloat16


# training


def test_seeds_matter_and_repeat() -> None:
    splits = splits_of(drawings())
    losses = [train(build(), splits, AUGMENTED, seed=seed)[-1]["train_loss"] for seed in (1, 1, 2)]
    assert losses[0] == losses[1] != losses[2]


def test_a_state_is_not_changed_by_later_epochs() -> None:
    epochs = fit(build(), splits_of(drawings()), CONFIG, seed=0)
    _, first = next(epochs)
    before = {name: tensor.clone() for name, tensor in first["model"].items()}
    next(epochs)
    assert_same_weights(first["model"], before)


@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop", "adam", "adamw"])
def test_a_state_that_training_goes_on_from_is_not_changed(optimizer: str) -> None:
    config = CONFIG | {"optimizer": optimizer, "momentum": 0.9, "averaging": True}
    splits = splits_of(drawings())
    _, state = next(fit(build(), splits, config, seed=0))
    before = copy.deepcopy(state)
    for _ in fit(build(), splits, config, seed=0, state=state):
        pass
    assert str(state) == str(before)
    for index, values in before["optimizer"]["state"].items():
        for name, value in values.items():
            assert torch.equal(torch.as_tensor(state["optimizer"]["state"][index][name]), torch.as_tensor(value)), name


def test_metrics_of_an_epoch() -> None:
    config = CONFIG | {"decay": 0.5, "label_smoothing": 0.2}
    data = drawings(20)
    model = build()
    metrics = train(model, splits_of(data), config)[-1]
    assert metrics["epoch"] == 2
    assert metrics["micro_batch"] == 8
    assert metrics["learning_rate"] == pytest.approx(2e-3 / (1 + 0.5 * 5))  # the sixth step, counted from 0
    assert metrics["train_top5"] == metrics["val_top5"] == 1.0  # four classes
    probabilities = predict_probabilities(model, data.images, device="cpu", invert=True, pretrained=False)
    result = evaluate(probabilities, np.asarray(data.labels))
    assert metrics["val_loss"] == pytest.approx(result["loss"], rel=1e-5)  # no smoothing in it
    assert metrics["val_top1"] == pytest.approx(result["top1"])
    assert metrics["images_per_second"] > 0
    assert metrics["epoch_seconds"] > 0


def test_label_smoothing_acts_on_the_gradient_alone() -> None:
    losses = {}
    for smoothing in (0.0, 0.2):
        config = CONFIG | {"label_smoothing": smoothing, "batch_size": 32, "epochs": 2}
        losses[smoothing] = [metrics["train_loss"] for metrics in train(build(), splits_of(drawings()), config)]
    assert losses[0.0][0] == losses[0.2][0]  # the one step of the first epoch starts from the same weights
    assert losses[0.0][1] != losses[0.2][1]


@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop", "adam", "adamw"])
def test_every_optimizer_descends(optimizer: str) -> None:
    rate = {"sgd": 0.02}.get(optimizer, 1e-3)
    config = CONFIG | {"optimizer": optimizer, "momentum": 0.9, "learning_rate": rate, "epochs": 6}
    metrics = train(build(), splits_of(drawings()), config)
    assert metrics[-1]["train_loss"] < metrics[0]["train_loss"]


def test_unknown_optimizer_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"unknown optimizer 'adm'; known: sgd, rmsprop, adam, adamw"):
        train(build(), splits_of(drawings()), CONFIG | {"optimizer": "adm"})


def test_what_is_frozen_does_not_move() -> None:
    config = CONFIG | {"freeze": "head_only", "optimizer": "adamw", "weight_decay": 0.1, "epochs": 1}
    model = build("squeezenet1_1", config)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    train(model, splits_of(drawings(16)), config)
    moved = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved == {"classifier.linear.weight", "classifier.linear.bias"}


def test_batch_norm_knows_the_drawings_after_one_step() -> None:
    data = drawings(16)
    config = CONFIG | {"epochs": 1, "batch_size": 16, "learning_rate": 1e-12}
    model = build("densenet121", config)
    train(model, splits_of(data), config)
    inputs = normalise(to_unit(torch.as_tensor(data.images)), model, pretrained=False)
    features = model.features.conv0(inputs)
    assert torch.allclose(model.features.norm0.running_mean, features.mean(dim=(0, 2, 3)), atol=0.03)  # bfloat16
    assert model.features.norm0.momentum == 0.1  # as it was


@pytest.mark.parametrize("name", ["baseline", "densenet121"])
@pytest.mark.parametrize(("num_images", "batch_size"), [(9, 8), (5, 64), (2, 2)])
def test_odd_batches(name: str, num_images: int, batch_size: int) -> None:
    config = CONFIG | {"batch_size": batch_size, "epochs": 1}
    metrics = train(build(name), splits_of(drawings(num_images)), config)[-1]
    assert metrics["micro_batch"] == min(num_images, batch_size)
    assert math.isfinite(metrics["train_loss"])


def test_too_few_or_too_small_drawings() -> None:
    with pytest.raises(ValueError, match="at least 2 drawings"):
        train(build(), splits_of(drawings(1)), CONFIG)
    with pytest.raises(ValueError, match="image_px must be at least 32 for resnet50, got 31"):
        train(build("resnet50"), splits_of(drawings(image_px=31)), CONFIG)
    with pytest.raises(ValueError, match="image_px must be at least 32 for resnet50, got 28"):
        predict_probabilities(
            build("resnet50"), np.zeros((1, 28, 28), np.uint8), device="cpu", invert=True, pretrained=False
        )


def test_divergence_is_an_ending_with_its_epoch() -> None:
    config = CONFIG | {"optimizer": "sgd", "momentum": 0.0, "learning_rate": 1e12, "epochs": 5}
    with pytest.raises(DivergedError, match="not finite in epoch 1") as caught:
        train(build(), splits_of(drawings()), config)
    assert caught.value.epoch == 1

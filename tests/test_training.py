"""fit, prediction and metrics: what is read, what is learned, what resumes, what fails and how."""

import math
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from torch import Tensor, nn

from search_spaces import SPACES, SpaceLimits
from trainables import ARCHITECTURES, build_model
from trainables.batches import BatchSource, shuffled_batches
from trainables.checkpoints import read_newest_checkpoint, write_checkpoint
from trainables.prediction import normalise, to_unit
from trainables.training import (
    Diverged,
    OutOfMemory,
    SplitArrays,
    TrainingSplits,
    evaluate,
    fit,
    predict_probabilities,
)

CONFIG = {
    "optimizer": "adam",
    "learning_rate": 2e-3,
    "decay": 0.0,
    "epochs": 2,
    "batch_size": 8,
    "weight_decay": 0.0,
    "label_smoothing": 0.0,
    "dropout": 0.0,
    "freeze": "none",
    "rotation_degrees": 0.0,
    "width_shift": 0.0,
    "height_shift": 0.0,
    "shear_degrees": 0.0,
    "zoom": 0.0,
    "flip": False,
    "pen_width": 0.0,
}
AUGMENTED = CONFIG | {"rotation_degrees": 20.0, "width_shift": 0.1, "zoom": 0.2, "flip": True, "pen_width": 0.3}
TIMES = ("epoch_seconds", "images_per_second")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """The network's sums in one order, and no fight over cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def drawings(num_images: int = 32, image_px: int = 32, num_classes: int = 4) -> SplitArrays:
    """Boxes, one size and place per class, under salt and pepper that differs in each drawing."""
    random = np.random.default_rng(0)
    labels = np.arange(num_images) % num_classes
    images = (random.random((num_images, image_px, image_px)) < 0.05) * np.uint8(255)
    for image, label in zip(images, labels, strict=True):
        image[4 : 10 + 5 * label, 6 + 3 * label : 12 + 3 * label] = 255
    return SplitArrays(images, labels)


def splits_of(train: SplitArrays, num_classes: int = 4) -> TrainingSplits:
    return TrainingSplits(train, train, num_classes=num_classes, invert=True)


def build(name: str = "baseline", config: dict[str, Any] = CONFIG, num_classes: int = 4) -> nn.Module:
    torch.manual_seed(0)
    return build_model(name, num_classes, dropout=config["dropout"], freeze=config["freeze"])


def train(model: nn.Module, splits: TrainingSplits, config: dict[str, Any], **options: Any) -> list[dict]:
    return [metrics for metrics, _ in fit(model, splits, config, **({"seed": 5} | options))]


def without_times(metrics: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in metrics.items() if name not in TIMES}


def assert_same_weights(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    assert first.keys() == second.keys()
    different = [name for name in first if not torch.equal(first[name], second[name])]
    assert different == []


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
    config = ReadRecord(SPACES[name].space(study.ask(), SpaceLimits(max_epochs=1, pretrained=True)))
    model = build(name, config)
    train(model, splits_of(drawings(16)), config)
    assert config.read == set(config)


@pytest.mark.parametrize(
    ("name", "num_epochs", "batch_size"),
    [
        ("baseline", 15, 8),
        ("sketch_a_net", 12, 8),
        ("squeezenet1_1", 15, 8),
        ("resnet50", 4, 32),
        ("densenet121", 3, 32),
    ],
)
def test_learns_32_drawings_by_heart(name: str, num_epochs: int, batch_size: int) -> None:
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
    monkeypatch.setattr("trainables.devices.uses_bfloat16", lambda model, device: True)
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
    copy = {name: tensor.clone() for name, tensor in first["model"].items()}
    next(epochs)
    assert_same_weights(first["model"], copy)


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


@pytest.mark.parametrize("name", ["baseline", "densenet121"])
@pytest.mark.parametrize(("num_images", "batch_size"), [(9, 8), (5, 64), (2, 2)])
def test_odd_batches(name: str, num_images: int, batch_size: int) -> None:
    config = CONFIG | {"batch_size": batch_size, "epochs": 1}
    metrics = train(build(name), splits_of(drawings(num_images)), config)[-1]
    assert metrics["micro_batch"] == min(num_images, batch_size)
    assert math.isfinite(metrics["train_loss"])


def test_shuffled_batches_hold_every_drawing_once() -> None:
    for num_images, batch_size, sizes in ((10, 4, [4, 4, 2]), (9, 4, [4, 5]), (3, 8, [3]), (1, 8, [1])):
        batches = shuffled_batches(num_images, batch_size, torch.Generator().manual_seed(0))
        assert [len(batch) for batch in batches] == sizes
        assert sorted(np.concatenate(batches)) == list(range(num_images))


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
    with pytest.raises(Diverged, match="not finite in epoch 1") as caught:
        train(build(), splits_of(drawings()), config)
    assert caught.value.epoch == 1


# data: in memory, memory-mapped, by rows


def test_a_memory_map_gives_the_same_as_memory(tmp_path: Path) -> None:
    data = drawings(40)
    np.save(tmp_path / "images.npy", data.images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    rows = np.arange(1, 40, 2)
    states = []
    for split in (
        SplitArrays(data.images[rows], data.labels[rows]),
        SplitArrays(mapped, data.labels, indices=rows),
        SplitArrays(torch.from_numpy(data.images), torch.from_numpy(data.labels), indices=rows),
    ):
        assert len(split) == 20
        states.append(list(fit(build(), splits_of(split), AUGMENTED, seed=3))[-1])
    for metrics, state in states[1:]:
        assert without_times(metrics) == without_times(states[0][0])
        assert_same_weights(state["model"], states[0][1]["model"])


def test_prefetch_ends_with_the_reader_and_passes_errors_on(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", drawings().images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    source = BatchSource(SplitArrays(mapped, np.arange(32)), torch.device("cpu"))
    assert source.prefetches
    num_threads = threading.active_count()
    batches = source.iterate([np.arange(4)] * 10)
    images, labels = next(batches)
    assert images.shape == (4, 32, 32)
    assert labels.tolist() == [0, 1, 2, 3]
    assert threading.active_count() == num_threads + 1
    batches.close()
    assert threading.active_count() == num_threads
    with pytest.raises(IndexError):
        list(source.iterate([np.array([99])]))


# out of memory


class SmallDevice(nn.Module):
    """A network on a device that holds at most `limit` drawings at a time."""

    def __init__(self, network: nn.Module, limit: int) -> None:
        super().__init__()
        self.network, self.limit = network, limit
        self.sizes: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        if len(images) > self.limit:
            raise torch.OutOfMemoryError("out of memory, says the test")
        self.sizes.append(len(images))
        return self.network(images)


def test_a_batch_that_does_not_fit_is_halved_with_the_same_gradient() -> None:
    splits = splits_of(drawings(22))
    config = AUGMENTED | {"batch_size": 16, "optimizer": "sgd", "momentum": 0.9, "label_smoothing": 0.1}
    expected_metrics = train(expected := build(), splits, config)
    small = SmallDevice(build(), 5)
    epochs = list(fit(small, splits, config, seed=5))
    assert [metrics["micro_batch"] for metrics, _ in epochs] == [4, 4]
    assert epochs[-1][1]["micro_batch"] == 4  # a resumed trial does not try the large batch again
    assert max(small.sizes) <= 5
    for (metrics, _), whole in zip(epochs, expected_metrics, strict=True):
        for name in ("train_loss", "train_top1", "val_loss", "val_top1"):
            assert metrics[name] == pytest.approx(whole[name], rel=1e-4)
    for name, parameter in small.network.named_parameters():
        assert torch.allclose(parameter, expected.get_parameter(name), atol=1e-5), name


def test_out_of_memory_with_one_drawing_is_an_ending() -> None:
    with pytest.raises(OutOfMemory, match="a micro batch of 1 drawings does not fit"):
        train(SmallDevice(build(), 0), splits_of(drawings()), CONFIG)


def test_batch_norm_never_sees_a_single_drawing() -> None:
    small = SmallDevice(build("densenet121"), 3)
    config = CONFIG | {"epochs": 1, "batch_size": 8}
    metrics = train(small, splits_of(drawings(11)), config)[-1]  # batches of 8 and 3, parts of 2 and at most 3
    assert metrics["micro_batch"] == 2
    with pytest.raises(OutOfMemory, match="micro batch of 2"):
        train(SmallDevice(build("densenet121"), 1), splits_of(drawings(8)), config)


def test_another_error_is_not_taken_for_out_of_memory() -> None:
    class Broken(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1))

        def forward(self, images: Tensor) -> Tensor:
            raise RuntimeError("a mistake in the code")

    with pytest.raises(RuntimeError, match="a mistake in the code"):
        train(Broken(), splits_of(drawings()), CONFIG)


# prediction and metrics


def test_predictions_do_not_depend_on_the_batch() -> None:
    model = build("squeezenet1_1")
    images = drawings(10).images
    predict: Callable[..., np.ndarray] = lambda m, size: predict_probabilities(  # noqa: E731
        m, images, device="cpu", invert=True, pretrained=False, batch_size=size
    )
    whole = predict(model, 256)
    assert whole.shape == (10, 4)
    assert whole.dtype == np.float32
    assert np.allclose(whole.sum(axis=1), 1, atol=1e-6)
    assert np.allclose(predict(model, 3), whole, atol=1e-6)
    assert np.allclose(predict(SmallDevice(model, 3), 256), whole, atol=1e-6)  # halved until it fits


def test_normalisation() -> None:
    images = to_unit(torch.tensor([[[0, 255]]], dtype=torch.uint8))  # paper and ink, inverted
    assert images.shape == (1, 1, 1, 2)
    new = normalise(images, build("squeezenet1_1"), pretrained=False)
    assert new[0, :, 0].tolist() == [[0.0, 4.0]] * 3  # paper stays 0
    loaded = normalise(images, build("squeezenet1_1"), pretrained=True)
    assert loaded[0, 0, 0].tolist() == pytest.approx([-0.485 / 0.229, (1 - 0.485) / 0.229])
    assert loaded[0, 2, 0].tolist() == pytest.approx([-0.406 / 0.225, (1 - 0.406) / 0.225])
    # Weights of a network that has none from ImageNet were trained here, on drawings as they are for new ones.
    assert torch.equal(normalise(images, build("baseline"), pretrained=True), new)


def test_metrics_by_hand() -> None:
    probabilities = np.array(
        [
            [0.5, 0.2, 0.1, 0.1, 0.06, 0.04, 0.0],  # class 0: right
            [0.5, 0.2, 0.1, 0.1, 0.06, 0.04, 0.0],  # class 1: second
            [0.0, 0.6, 0.1, 0.1, 0.1, 0.1, 0.0],  # class 1: right
            [0.25, 0.2, 0.15, 0.15, 0.15, 0.1, 0.0],  # class 5: sixth, not among the five best
        ]
    )
    result = evaluate(probabilities, np.array([0, 1, 1, 5]))
    assert result["top1"] == 0.5
    assert result["top5"] == 0.75
    assert result["loss"] == pytest.approx(-(math.log(0.5) + math.log(0.2) + math.log(0.6) + math.log(0.1)) / 4)
    # class 0: 3 predictions, 1 right, 1 label; class 1: 1 prediction, 1 right, 2 labels; class 5: none, 1 label
    assert result["precision"] == pytest.approx((1 / 3 + 1 + 0) / 3)
    assert result["recall"] == pytest.approx((1 + 0.5 + 0) / 3)
    assert result["f1"] == pytest.approx((0.5 + 2 / 3 + 0) / 3)


def test_metrics_of_certain_errors_and_of_few_classes_are_finite() -> None:
    result = evaluate(np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([0, 1]))
    assert math.isfinite(result["loss"])
    assert (result["top1"], result["top5"]) == (0.5, 1.0)


def test_a_network_that_says_nothing_is_not_rewarded() -> None:
    labels = np.arange(10)
    assert evaluate(np.full((10, 10), 0.1), labels)["top1"] == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("probabilities", "labels", "match"),
    [
        (np.array([[3.0, -1.0]]), np.array([0]), "got logits"),
        (np.zeros((0, 3)), np.zeros(0, int), "N > 0"),
        (np.full((2, 2), 0.5), np.array([0]), r"got \(2, 2\) and \(1,\)"),
    ],
)
def test_metrics_refuse_what_they_cannot_measure(probabilities: np.ndarray, labels: np.ndarray, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        evaluate(probabilities, labels)

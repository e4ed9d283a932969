"""Prediction and metrics: what the network sees, and the paper's numbers by hand."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from tests.support.small_training import (
    SmallDevice,
    build,
    drawings,
)
from tune_sketch.trainables.evaluation import (
    count_hits,
    evaluate,
    normalise,
    predict_probabilities,
    summarise_hits,
    to_unit,
)


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


def test_balanced_accuracy_counts_the_classes_of_the_labels_alike() -> None:
    result = evaluate(np.eye(4)[[0, 0, 0, 0, 0, 3]], np.array([0, 0, 0, 0, 1, 1]))
    assert result["top1"] == pytest.approx(4 / 6)
    assert result["balanced_accuracy"] == pytest.approx((1 + 0) / 2), "of two classes, though three were guessed"
    assert result["recall"] == pytest.approx((1 + 0 + 0) / 3), "the paper's, over all that occur"


def test_the_epochs_metrics_equal_those_of_the_test_split() -> None:
    random = np.random.default_rng(0)
    logits = torch.from_numpy(random.normal(size=(60, 7)))
    labels = torch.from_numpy(random.choice([0, 1, 2, 4], 60, p=[0.7, 0.1, 0.1, 0.1]))
    logits[:, 6] = -99.0  # neither a label nor a prediction
    logits[torch.arange(60), labels] += 1.0
    expected = evaluate(logits.softmax(dim=1).numpy(), labels.numpy())
    halves = count_hits(logits[:25], labels[:25]) + count_hits(logits[25:], labels[25:])
    assert summarise_hits(halves) == pytest.approx((expected["balanced_accuracy"], expected["f1"]))


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

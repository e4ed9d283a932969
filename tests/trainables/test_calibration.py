"""One temperature for a network: found again where it is known, and harmless where it cannot be known."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support.jobs import decode_doodles, make_job
from tests.support.small_training import CONFIG, build
from tune_sketch.data import open_data
from tune_sketch.data.splits import read_splits
from tune_sketch.trainables.calibration import change_temperature, fit_temperature, mean_temperature
from tune_sketch.trainables.evaluation import predict_logits, predict_probabilities
from tune_sketch.trainables.job import score_on_test


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
    return probabilities


def answers(num_drawings: int, temperature: float) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are `temperature` times too large for labels that are drawn by chance from the right ones."""
    rng = np.random.default_rng(0)
    logits = rng.normal(scale=2.0, size=(num_drawings, 6))
    labels = np.array([rng.choice(6, p=row) for row in softmax(logits)])
    return temperature * logits, labels


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_the_temperature_that_was_put_in_is_found(temperature: float) -> None:
    logits, labels = answers(20_000, temperature)
    assert fit_temperature(logits, labels) == pytest.approx(temperature, rel=0.03)


def test_no_other_temperature_has_a_lower_cross_entropy() -> None:
    logits, labels = answers(300, 2.0)
    found = fit_temperature(logits, labels)

    def loss(temperature: float) -> float:
        return -float(np.log(softmax(logits / temperature)[np.arange(300), labels]).mean())

    assert loss(found) < loss(1.0)
    for near in (0.999, 1.001):
        assert loss(found) <= loss(near * found)


def test_drawings_that_are_all_right_leave_the_network_as_it_is() -> None:
    logits = 3.0 * np.eye(4)
    assert fit_temperature(logits, np.arange(4)) == 1.0
    assert fit_temperature(logits[:1], np.arange(1)) == 1.0


def test_a_network_that_is_worse_than_chance_says_that_it_does_not_know() -> None:
    temperature = fit_temperature(3.0 * np.eye(4), (np.arange(4) + 1) % 4)
    assert 15 < temperature < 21
    assert softmax(3.0 * np.eye(4) / temperature).max() < 0.3


def test_large_logits_do_not_overflow() -> None:
    logits, labels = answers(200, 1.0)
    assert fit_temperature(1e3 * logits, labels) == pytest.approx(20.0, rel=0.01)


@pytest.mark.parametrize(
    ("logits", "labels"),
    [
        (np.zeros((0, 3)), np.zeros(0, int)),
        (np.full((2, 3), np.nan), np.zeros(2, int)),
        (np.zeros((2, 3)), np.zeros(1)),
    ],
)
def test_what_cannot_be_fitted_is_refused(logits: np.ndarray, labels: np.ndarray) -> None:
    with pytest.raises(ValueError, match="a temperature needs finite logits"):
        fit_temperature(logits, labels)


def test_probabilities_before_calibration_are_found_again() -> None:
    logits, _ = answers(50, 1.0)
    calibrated = softmax(logits / 1.7).astype(np.float32)
    assert np.allclose(change_temperature(calibrated, 1 / 1.7), softmax(logits), atol=1e-6)
    assert change_temperature(np.array([[1.0, 0.0]]), 2.0).tolist() == [[1.0, 0.0]]


def test_a_network_without_validation_has_the_mean_of_its_other_seeds() -> None:
    assert mean_temperature([1.0, 1.2, 2.0]) == pytest.approx(1.4)
    with pytest.raises(ValueError, match="at least one"):
        mean_temperature([])


def test_the_test_split_is_scored_with_the_temperature_of_validation(tmp_path: Path) -> None:
    decoded = decode_doodles(tmp_path)
    job = make_job(tmp_path, decoded, CONFIG)
    model = build("baseline")
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    scores = score_on_test(job, str(tmp_path / "weights.pt"))
    result, probabilities = scores.result, scores.test
    data = open_data(decoded)
    splits = read_splits(Path(job.splits), data)
    logits = predict_logits(model, data.images[splits.validation], device="cpu", pretrained=False).numpy()
    assert result.temperature == fit_temperature(logits, data.labels[splits.validation])
    assert result.temperature != 1.0
    plain = predict_probabilities(model, data.images[splits.test], device="cpu", invert=True, pretrained=False)
    assert np.allclose(change_temperature(probabilities, 1 / result.temperature), plain, atol=1e-5)
    assert (probabilities.argmax(axis=1) == plain.argmax(axis=1)).all()
    labels = data.labels[splits.test]
    of_label = probabilities[np.arange(len(labels)), labels]
    assert result.metrics["loss"] == pytest.approx(-np.log(of_label).mean(), rel=1e-5)
    json.dumps(result.temperature)  # plain, for the journal

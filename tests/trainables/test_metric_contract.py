"""The contract of metrics: each is there after every epoch, in its range, repeats, and reaches the tables as it is."""

import math

import numpy as np
import pytest

from tests.support.small_training import CONFIG, TIMES, build, drawings, splits_of, train
from tests.support.trials import add_trial
from tune_sketch.events import Epoch
from tune_sketch.storage.files import read_csv
from tune_sketch.storage.journal import Journal
from tune_sketch.storage.run_directory import RunDirectory
from tune_sketch.storage.tables import METRICS, write_tables
from tune_sketch.trainables.evaluation import evaluate

FRACTIONS = ("top1", "top5", "balanced_accuracy", "f1", "precision", "recall")
COUNTS = ("micro_batch", "frozen_views")
TEST_METRICS = ("top1", "top5", "loss", "precision", "recall", "f1", "balanced_accuracy")


def is_fraction(name):
    return name.endswith(FRACTIONS)


@pytest.fixture(scope="module")
def epochs():
    """The metrics of a training with averaged weights, and of the same once more."""
    config = CONFIG | {"averaging": True, "epochs": 3, "warmup_steps": 2}
    return [train(build("baseline", config), splits_of(drawings(24)), config) for _ in range(2)]


@pytest.fixture(scope="module")
def rows(epochs, tmp_path_factory):
    """epochs.csv of a trial with these epochs."""
    journal = Journal()
    trial = add_trial(journal)
    for metrics in epochs[0]:
        values = {name: float(value) for name, value in metrics.items() if name != "epoch"}
        journal.record_epoch(trial.key, Epoch(int(metrics["epoch"]), values))
    run = RunDirectory(tmp_path_factory.mktemp("run"))
    write_tables(run, journal)
    return read_csv(run.epochs_csv)


def test_every_metric_of_a_training_is_known_to_the_tables(epochs):
    assert {name for metrics in epochs[0] for name in metrics} - {"epoch"} == set(METRICS)


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_of_an_epoch(name, epochs, rows):
    first, again = ([metrics[name] for metrics in training if name in metrics] for training in epochs)
    assert first, "a training with averaging gives every metric"
    assert all(math.isfinite(value) for value in first)
    assert all(value >= 0 for value in first)
    if is_fraction(name):
        assert all(value <= 1 for value in first)
    elif name in COUNTS:
        assert all(value == int(value) for value in first)
    if name not in TIMES:
        assert first == again, "the same seed gives the same value"
    assert [float(row[name]) for row in rows if row[name]] == first, "read back to the same number"


@pytest.fixture
def predictions():
    """(probabilities [N, 6] of a mediocre network, labels [N])"""
    random = np.random.default_rng(3)
    labels = random.integers(6, size=80)
    logits = random.normal(size=(80, 6)) + 1.5 * np.eye(6)[labels]
    values = np.exp(logits)
    return values / values.sum(axis=1, keepdims=True), labels


def test_every_metric_of_the_test_split_is_here(predictions):
    assert tuple(evaluate(*predictions)) == TEST_METRICS


@pytest.mark.parametrize("name", TEST_METRICS)
def test_a_metric_of_the_test_split(name, predictions):
    probabilities, labels = predictions
    value = evaluate(probabilities, labels)[name]
    assert 0 < value < (math.inf if name == "loss" else 1), "neither chance nor perfection"
    order = np.random.default_rng(0).permutation(len(labels))
    assert evaluate(probabilities[order], labels[order])[name] == pytest.approx(value), "the order does not matter"
    names = np.random.default_rng(1).permutation(6)
    renamed = np.empty_like(probabilities)
    renamed[:, names] = probabilities
    assert evaluate(renamed, names[labels])[name] == pytest.approx(value), "nor which class is which"
    perfect = evaluate(np.eye(6)[labels], labels)[name]
    assert perfect == pytest.approx(0.0 if name == "loss" else 1.0, abs=1e-12)
    better = evaluate((probabilities + np.eye(6)[labels]) / 2, labels)[name]
    assert better < value if name == "loss" else better > value

"""Figures and tables: numbers checked by hand, and where networks look."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from tests.support.fake_runs import TEMPERATURE, make_finished_run
from tune_sketch.analysis.figures.best_so_far import best_quantile, expected_best, tabulate_best_so_far
from tune_sketch.analysis.figures.calibration import tabulate_calibration
from tune_sketch.analysis.figures.classes import tabulate_classes
from tune_sketch.analysis.figures.confused_pairs import tabulate_confused_pairs
from tune_sketch.analysis.figures.confusion import count_confusion, order_by_similarity
from tune_sketch.analysis.figures.importance import measure_importance
from tune_sketch.analysis.run_data import read_run
from tune_sketch.analysis.scales import axis_scale, is_logarithmic, is_numeric
from tune_sketch.analysis.tables.calibration import tabulate_temperatures
from tune_sketch.analysis.tables.leaderboard import tabulate_leaderboard
from tune_sketch.analysis.tables.parameters import tabulate_parameters
from tune_sketch.analysis.tables.rungs import tabulate_rungs
from tune_sketch.analysis.tables.votes import tabulate_votes
from tune_sketch.data.doodles import render_doodle
from tune_sketch.inference.grad_cam import first_layer_channels, map_activations, overlay
from tune_sketch.inference.model import Classifier
from tune_sketch.retraining.finalists import find_finalists
from tune_sketch.storage.history import History
from tune_sketch.storage.run_directory import RunDirectory
from tune_sketch.trainables.networks.build import build_model
from tune_sketch.trainables.networks.heads import HEADS
from tune_sketch.trainables.networks.registry import ARCHITECTURES


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return read_run(make_finished_run(tmp_path_factory.mktemp("figures") / "run", num_trials=14).path)


def test_the_run_is_read_as_it_was_written(run):
    assert len(run.trials) == 14
    first = run.trials[0]
    assert isinstance(first.config["flip"], bool)
    assert isinstance(first.config["batch_size"], int)
    assert isinstance(first.config["learning_rate"], float)
    assert len(run.retrainings) == 4
    assert run.chosen.number == 1
    assert [finalist.number for finalist in run.finalists] == [1, 0]


def test_probabilities_are_found_under_the_names_of_version_0_1(run, tmp_path):
    key = run.best_key
    known = run.read_test_probabilities(key)
    old = replace(run, run=RunDirectory(tmp_path))
    assert old.read_test_probabilities(key) is None
    old.run.retrained.mkdir()
    shutil.copyfile(run.run.test_probabilities(key), old.run.retrained / "confirm-0001-02-test.npz")
    assert (old.read_test_probabilities(key) == known).all()


def test_leaderboard_and_rungs_agree_with_the_epochs(run):
    board = tabulate_leaderboard(run)
    deepest = [row["top1_at_9"] for row in board if row["top1_at_9"] is not None]
    assert deepest == sorted(deepest, reverse=True)
    by_number = {trial.number: trial for trial in run.trials}
    for row in board:
        epochs = by_number[row["trial"]].epochs
        assert row["top1_at_1"] == (epochs[0].val_top1 if epochs else None)
    rungs = tabulate_rungs(run)
    assert [row["rung"] for row in rungs] == [1, 3, 9]
    assert sum(row["num_stopped"] for row in rungs) == sum(trial.status == "stopped" for trial in run.trials)
    winner = by_number[board[0]["trial"]]
    ahead = [
        trial.number
        for trial in run.trials
        if trial.status == "stopped" and len(trial.epochs) == 1
        if trial.epochs[0].val_top1 >= winner.epochs[0].val_top1
    ]
    assert rungs[0]["num_stopped_ahead_of_winner"] == len(ahead)


def test_expectation_of_random_search():
    values = [0.1, 0.2, 0.3]
    assert expected_best(values, 1) == pytest.approx(0.2)
    pairs = [max(a, b) for a in values for b in values]
    assert expected_best(values, 2) == pytest.approx(sum(pairs) / 9)
    assert best_quantile(values, 1, 0.5) == 0.2
    assert best_quantile(values, 50, 0.1) == 0.3


def test_best_so_far_never_falls(run):
    best = [row["best_val_top1"] for row in tabulate_best_so_far(run)]
    assert best == sorted(best)


def test_importance_finds_what_matters():
    rng = np.random.default_rng(0)
    configs = [
        {"learning_rate": float(10 ** rng.uniform(-5, -1)), "zoom": float(rng.uniform()), "decay": 0.0}
        for _ in range(60)
    ]
    values = [1 - abs(np.log10(config["learning_rate"]) + 3) / 3 for config in configs]
    shares = measure_importance(configs, values, ["learning_rate", "zoom", "decay"])
    assert shares["learning_rate"] > 0.9
    assert sum(shares.values()) == pytest.approx(1)
    assert "decay" not in shares, "what does not vary explains nothing"


def test_axes_of_parallel_coordinates():
    positions, ticks = axis_scale([1e-4, 1e-3, 1e-2, 1e-2, 1e-4, 1e-4])
    assert positions[:3] == pytest.approx([0, 0.5, 1])
    assert axis_scale(["adam", "sgd", None])[0] == [0, 1, -0.12]
    assert axis_scale([True, False])[1] == [(0.0, "False"), (1.0, "True")]
    assert axis_scale([5, 5])[0] == [0, 0]
    assert len(ticks) == 3
    rng = np.random.default_rng(0)
    assert is_logarithmic(list(10 ** rng.uniform(-5, -1, 30)))
    assert not is_logarithmic(list(rng.uniform(0, 30, 30)))
    assert not is_numeric([16, 32, 64])
    assert is_numeric([0.1, 0.2])


def test_confusion_and_classes_by_hand(run):
    counts = count_confusion(run)
    assert counts.sum() == len(run.predictions)
    right = sum(prediction.true_class == prediction.predicted_class for prediction in run.predictions)
    assert np.trace(counts) == right
    pairs = tabulate_confused_pairs(run)
    assert sum(pair["num_errors"] for pair in pairs) == len(run.predictions) - right
    for row in tabulate_classes(run):
        label = run.class_names.index(row["class"])
        assert row["recall"] == pytest.approx(counts[label, label] / counts[label].sum())
        assert row["num_drawings"] == counts[label].sum()


def test_calibration_before_and_after_by_hand(run):
    """As trained, the probabilities are those of the temperature 1; both are of the same drawings, right alike."""
    right = run.predicted_labels == run.test_labels
    rows = tabulate_calibration(run)
    calibrated = run.read_test_probabilities(run.best_key).astype(float)
    powers = calibrated**TEMPERATURE
    before = powers / powers.sum(axis=1, keepdims=True)
    stated = {"as trained": before.max(axis=1), "calibrated": calibrated.max(axis=1)}
    assert list(dict.fromkeys(row["probabilities"] for row in rows)) == list(stated)
    for state, own in stated.items():
        bins = [row for row in rows if row["probabilities"] == state]
        assert sum(row["num_drawings"] for row in bins) == len(run.predictions)
        assert sum(row["num_drawings"] * row["share_right"] for row in bins) == pytest.approx(right.sum())
        error = 0.0
        for index in range(15):
            inside = (own >= index / 15) & (own < (index + 1) / 15)
            if inside.any():
                error += inside.mean() * abs(right[inside].mean() - own[inside].mean())
        assert bins[0]["expected_calibration_error"] == pytest.approx(error, abs=1e-5)
    *seeds, mean = tabulate_temperatures(run)
    (best,) = [row for row in seeds if row["network"] == run.best_key]
    assert best["error_after"] == pytest.approx(error, abs=1e-5)
    of_label = np.stack([before, calibrated])[:, np.arange(len(right)), run.test_labels]
    assert [best["loss_before"], best["loss_after"]] == pytest.approx(list(-np.log(of_label).mean(axis=1)))
    assert best["top1"] == pytest.approx(right.mean())
    assert best["error_change"] == pytest.approx(best["error_after"] - best["error_before"])
    assert best["loss_change_low"] < best["loss_change"] < best["loss_change_high"]
    assert mean["loss_before"] == pytest.approx(np.mean([row["loss_before"] for row in seeds]))
    assert mean["loss_change_low"] < mean["loss_change"] < mean["loss_change_high"]


def test_a_run_without_temperatures_shows_what_it_says(run):
    """As a run of an earlier version, whose record has none."""
    old = {
        key: replace(trial, test=replace(trial.test, temperature=1.0)) for key, trial in run.history.retrainings.items()
    }
    history = History(run.trials, old, run.history.notes)
    without = replace(run, history=history, finalists=tuple(find_finalists(history)))
    rows = tabulate_calibration(without)
    assert {row["probabilities"] for row in rows} == {"as trained"}
    assert sum(row["num_drawings"] for row in rows) == len(run.predictions)
    assert tabulate_temperatures(without) == []


def test_similar_classes_are_neighbours():
    similarity = np.eye(6)
    for a, b in ((0, 5), (1, 3), (2, 4)):
        similarity[a, b] = similarity[b, a] = 0.5
    order = list(order_by_similarity(similarity))
    assert sorted(order) == list(range(6))
    assert all(abs(order.index(a) - order.index(b)) == 1 for a, b in ((0, 5), (1, 3), (2, 4)))
    assert list(order_by_similarity(np.eye(2))) == [0, 1]


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize(("name", "num_classes"), [("baseline", 10), ("resnet50", 7), ("densenet121", 7)])
def test_parameters_are_reconciled_with_the_paper(run, name, num_classes, head):
    class_names = tuple(str(label) for label in range(num_classes))
    facts = replace(
        run.facts,
        settings=replace(run.settings, model=name, image_px=64),
        data=replace(run.facts.data, class_names=class_names),
    )
    other = replace(run, facts=facts)
    other.__dict__["best_model"] = Classifier(
        build_model(name, num_classes, head=head), name, list(class_names), 64, True, False, "cpu"
    )
    rows = tabulate_parameters(other)
    assert rows[-1] == {"what": "difference", "num_parameters": 0}
    assert ("with the paper's plain head" in {row["what"] for row in rows}) is (head != "plain")


def test_votes_are_measured_against_one_look(run):
    rows = tabulate_votes(run)
    assert [row["look"] for row in rows] == ["one", "sections", "cam", "flips"]
    for row in rows[1:]:
        assert row["gain"] == pytest.approx(row["top1"] - rows[0]["top1"])
        assert row["gain_low"] <= row["gain"] <= row["gain_high"]


@pytest.mark.parametrize("name", list(ARCHITECTURES))
def test_activation_maps_of_every_network(name):
    image_px = max(48, ARCHITECTURES[name].min_image_px)
    model = Classifier(build_model(name, 4).eval(), name, list("abcd"), image_px, True, False, "cpu")
    images = np.stack([render_doodle(kind, 1, seed=2, image_px=image_px) for kind in ("cat", "sun")])
    maps = map_activations(model, images, np.array([0, 3]))
    assert maps.shape == images.shape
    assert 0 <= maps.min() <= maps.max() <= 1
    picture = overlay(images[0], maps[0], True)
    assert picture.shape == (image_px, image_px, 3)
    darkest, paper = picture[images[0] == images[0].max()], picture[images[0] == 0]
    assert darkest.mean() < 0.6 * paper.mean(), "ink stays dark"
    channels = first_layer_channels(model, images[0])
    assert channels.ndim == 3
    assert channels.min() >= 0


def test_the_map_lies_where_the_network_looks():
    """A network whose class is ink in the upper left quarter is shown to look there."""
    import torch

    class Corner(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv4 = torch.nn.Conv2d(3, 1, 1, bias=False)
            torch.nn.init.ones_(self.conv4.weight)

        def forward(self, images):
            corner = self.conv4(images)[:, :, :16, :16].mean(dim=(1, 2, 3))
            return torch.stack([corner, -corner], dim=1)

    model = Classifier(Corner(), "baseline", ["corner", "other"], 32, True, False, "cpu")
    image = np.zeros((32, 32), np.uint8)
    image[4:12, 4:12] = 255
    image[20:28, 20:22] = 128
    activation = map_activations(model, image[None], np.array([0]))[0]
    assert activation[4:12, 4:12].min() == pytest.approx(1)
    assert activation[image == 0].max() == 0

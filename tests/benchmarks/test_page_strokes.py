"""The measure of the page's strokes: its ways to draw, halves and figures, on drawings that are known."""

import json
from dataclasses import replace

import numpy as np
import pytest

from benchmarks import page_strokes
from benchmarks.page_strokes import PLAIN, WAYS, cut_corners, dense, measure, open_network, read_drawings
from tests.support.fake_runs import make_finished_run

pytest.importorskip("flask", reason="the extra `draw` is not installed")
CORNER = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]])


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_finished_run(tmp_path_factory.mktemp("strokes") / "run", num_trials=3, failed=0)


@pytest.fixture
def drawings(run, tmp_path, monkeypatch):
    """Six drawings of two of the network's classes, and one of a class that it does not know."""
    monkeypatch.setattr(page_strokes, "QUICKDRAW", tmp_path)
    model = open_network(run.path)
    for name in (*model.class_names[:2], "no such class"):
        lines = [{"drawing": [[[0, 255, 255], [0, 0, 10 * number]], [[5, 9], [200, 255]]]} for number in range(1, 7)]
        (tmp_path / f"{name}.ndjson").write_text("\n".join(map(json.dumps, lines)))
    return read_drawings(model.class_names)


def test_every_second_drawing_of_shared_classes_is_kept_for_reporting(drawings):
    assert drawings.labels.tolist() == [0] * 6 + [1] * 6
    assert drawings.is_reporting.tolist() == [False, True] * 6
    assert np.allclose(drawings.strokes[0][0], [[0, 0], [1, 0], [1, 10 / 255]])
    assert max(stroke.max() for strokes in drawings.strokes for stroke in strokes) == 1.0


def test_figures_are_those_of_each_half(run, drawings):
    model = open_network(run.best)
    assert model.class_names == open_network(run.path).class_names
    rows = measure("it", model, drawings)
    assert len(rows) == 2 * len(WAYS)
    for row in rows:
        assert row["num_drawings"] == 6
        assert row["num_classes"] == 2
        assert row["top1_low"] <= row["top1"] <= row["top1_high"]
        assert row["top1"] <= row["top5"]
        assert row["gain_low"] <= (row["num_gained"] - row["num_lost"]) / 6 <= row["gain_high"]
    last = rows[-1]
    right = WAYS[last["way"]](model, drawings.strokes).argmax(axis=1) == drawings.labels
    assert last["half"] == "reporting"
    assert last["top1"] == right[1::2].mean()
    plain = next(row for row in rows if (row["way"], row["half"]) == (PLAIN, "reporting"))
    assert last["num_gained"] - last["num_lost"] == round(6 * (last["top1"] - plain["top1"]))


def test_each_way_but_the_last_changes_one_thing(run, drawings):
    """With the fields of an older network, which knows nothing of darkness and sizes, the page's way is the old one."""
    old = replace(open_network(run.path), ink_strength=1.0, extent_range=())
    plain = WAYS[PLAIN](old, drawings.strokes)
    for way, classify in WAYS.items():
        found = classify(old, drawings.strokes)
        assert found.sum(axis=1) == pytest.approx(1.0, abs=1e-5)
        is_same = np.abs(found - plain).max() < 1e-6
        assert is_same == (way in (PLAIN, *list(WAYS)[-2:], "lines as dark as in training")), way


def test_corners_are_cut_and_dense_strokes_keep_them():
    cut = cut_corners(CORNER)
    assert (cut[[0, -1]] == CORNER[[0, -1]]).all()
    assert np.hypot(*(cut - CORNER[1]).T).min() > 0.1
    many = dense(CORNER, step=0.01)
    assert len(many) == 201
    assert many[[0, 100, 200]] == pytest.approx(CORNER, abs=1e-12)
    assert np.hypot(*(cut_corners(many) - CORNER[1]).T).min() < 0.01
    assert (dense(CORNER[:1]) == CORNER[0]).all()

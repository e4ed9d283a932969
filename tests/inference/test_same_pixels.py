"""Prediction sees the very pixels that training saw, for every kind of input."""

import csv
import io

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tests.support.fake_runs import make_finished_run
from tests.support.forms import FORMS, draw, make_every_form
from tune_sketch.data import DataRequest, open_data, prepare_data
from tune_sketch.data.pixels import find_clean_paper, is_clean
from tune_sketch.data.splits import read_splits
from tune_sketch.inference.model import load_classifier
from tune_sketch.inference.photos import read_picture
from tune_sketch.predict import main
from tune_sketch.storage.facts import read_facts


@pytest.fixture(scope="module")
def drawings(tmp_path_factory):
    return make_every_form(tmp_path_factory.mktemp("forms") / "set")


def decode(root, tmp_path, **choices):
    request = DataRequest(str(root), **({"image_px": 64} | choices))
    return open_data(prepare_data(request, cache_dir=tmp_path, progress=False))


@pytest.mark.parametrize("invert", [True, False])
def test_prediction_prepares_a_picture_as_training_did(drawings, tmp_path, invert):
    data = decode(drawings, tmp_path, invert=invert)
    assert len(data.names) == 8 * len(FORMS)
    for name, trained_on in zip(data.names, data.images, strict=True):
        assert (read_picture(drawings / name, 64, invert) == trained_on).all(), name
        with Image.open(drawings / name) as picture:
            assert (read_picture(picture, 64, invert) == trained_on).all(), f"{name} from memory"


def test_every_form_becomes_the_same_ink(drawings, tmp_path):
    """Polarity, transparency and faint ink leave no trace; paper is 0."""
    data = decode(drawings, tmp_path)
    images = dict(zip(data.names, data.images.astype(int), strict=True))
    for form in ("light_on_dark.png", "pencil.png", "dark_on_transparent.png", "light_on_transparent.png", "deep.png"):
        difference = np.abs(images[f"cross/1-{form}"] - images["cross/1-clean.png"])
        assert difference.max() <= 2, form
    for name, image in images.items():
        assert np.median(image) == 0, name
        assert image.max() > 150, name


def test_the_runs_own_test_files_give_the_runs_own_predictions(drawings, tmp_path, capsys):
    run = make_finished_run(tmp_path / "run", num_trials=3, failed=0, data=str(drawings), classes=None, per_class=None)
    data = open_data(read_facts(run).data.cache)
    test = read_splits(run.splits_csv, data).test
    paths = [str(drawings / data.names[index]) for index in test]
    assert main([str(run.path), *paths, "--csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    expected = load_classifier(run.path).compute_probabilities(data.images[test])
    best = expected.argmax(axis=1)
    assert [row["class_1"] for row in rows] == [data.class_names[label] for label in best]
    assert [float(row["probability_1"]) for row in rows] == pytest.approx(expected.max(axis=1), abs=1e-4)


def test_a_frame_at_the_edge_is_ink_and_not_paper():
    framed = Image.new("L", (100, 100), 255)
    ImageDraw.Draw(framed).rectangle((0, 0, 99, 99), outline=0, width=4)
    grey = np.asarray(framed)
    assert is_clean(grey)
    assert find_clean_paper(grey) == 255
    dark = np.asarray(Image.eval(framed, lambda value: 255 - value))
    assert find_clean_paper(np.where(dark == 255, 0, dark)) == 0


def test_classes_that_differ_in_their_paper_are_named(tmp_path):
    for name, paper in (("cat", 255), ("dog", 0)):
        (tmp_path / "set" / name).mkdir(parents=True)
        for number in range(6):
            draw(number, ink=255 - paper, paper=paper).save(tmp_path / "set" / name / f"{number}.png")
    data = decode(tmp_path / "set", tmp_path)
    assert data.paper_by_class == {"cat": 255.0, "dog": 0.0}
    assert data.num_light_on_dark == 6
    for number in range(6):
        draw(number + 10, ink=255, paper=0).save(tmp_path / "set" / "cat" / f"{number}.png")
    assert decode(tmp_path / "set", tmp_path).paper_by_class is None

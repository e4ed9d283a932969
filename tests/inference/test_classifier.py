"""The Python interface: paths, PIL images and arrays give the predictions that the command prints."""

import csv
import io
import json
import shutil

import numpy as np
import pytest
from PIL import Image, ImageFilter

from tests.support.fake_runs import TEMPERATURE, begin_run, make_finished_run
from tune_sketch.data.doodles import render_doodle
from tune_sketch.inference.model import load_classifier
from tune_sketch.predict import main
from tune_sketch.storage.run_directory import RunDirectory


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_finished_run(tmp_path_factory.mktemp("classifier") / "run", num_trials=3, failed=0)


@pytest.fixture(scope="module")
def classifier(run):
    return load_classifier(str(run.path))


@pytest.fixture
def pictures(tmp_path):
    """Files of each kind: dark ink, light ink, ink on transparent paper of both shades, colour, turned by EXIF."""
    ink = render_doodle("cat", 3, seed=1, image_px=200)
    images = {"dark.png": Image.fromarray(255 - ink), "light.png": Image.fromarray(ink)}
    rgba = np.zeros((*ink.shape, 4), np.uint8)
    rgba[..., 3] = ink
    images["black.png"] = Image.fromarray(rgba)
    images["white.png"] = Image.fromarray(rgba | np.array([255, 255, 255, 0], np.uint8))
    shades = np.full((300, 260, 3), (214, 209, 190), np.uint8)
    shades[50:250, 30:230] -= (ink[..., None] * 0.6).astype(np.uint8)
    images["photo.png"] = Image.fromarray(shades).filter(ImageFilter.GaussianBlur(0.7))
    for name, image in images.items():
        image.save(tmp_path / name)
    exif = Image.Exif()
    exif[274] = 6  # to be turned by 90 degrees
    Image.fromarray(255 - ink).save(tmp_path / "turned.jpg", exif=exif)
    return sorted(path for path in tmp_path.iterdir() if path.is_file())


def test_predictions_are_those_of_the_command(run, classifier, pictures, capsys):
    found = classifier.predict(pictures)
    assert found.probabilities.shape == (6, len(classifier.class_names))
    assert found.probabilities.dtype == np.float32
    assert found.probabilities.sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert main([str(run.path), *map(str, pictures), "--csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    for row, label, probabilities in zip(rows, found.labels, found.probabilities, strict=True):
        assert row["class_1"] == label
        assert float(row["probability_1"]) == pytest.approx(probabilities.max(), abs=2e-6)


def test_probabilities_are_those_of_the_networks_temperature(run, classifier, pictures, tmp_path):
    """And of a run without one, as of an earlier version, those of the network itself."""
    info = json.loads((run.best / "model.json").read_text())
    assert classifier.temperature == info.pop("temperature") == TEMPERATURE
    old = RunDirectory(tmp_path / "old")
    shutil.copytree(run.path, old.path)
    (old.best / "model.json").write_text(json.dumps(info))
    plain = load_classifier(old.path).predict(pictures)
    powers = plain.probabilities ** (1 / TEMPERATURE)
    expected = powers / powers.sum(axis=1, keepdims=True)
    found = classifier.predict(pictures)
    assert np.abs(expected - found.probabilities).max() < 1e-5
    assert np.abs(plain.probabilities - found.probabilities).max() > 1e-4
    assert found.labels == plain.labels


def test_paths_images_and_arrays_are_prepared_alike(classifier, pictures):
    by_path = classifier.predict([str(path) for path in pictures]).probabilities
    images = [Image.open(path) for path in pictures]
    assert (classifier.predict(images).probabilities == by_path).all()
    upright = [index for index, path in enumerate(pictures) if path.suffix == ".png"]  # an array has no EXIF
    arrays = [np.asarray(images[index]) for index in upright]
    assert classifier.predict(arrays).probabilities == pytest.approx(by_path[upright], abs=1e-6)
    for image in images:
        image.close()


def test_one_picture_or_several(classifier, pictures):
    squares = np.stack([255 - render_doodle(name, 1, seed=2, image_px=50) for name in ("cat", "sun")])
    stack = classifier.predict(squares)
    assert len(stack.labels) == 2
    for one in (squares[1], Image.fromarray(squares[1]), np.repeat(squares[1][..., None], 3, axis=2), [squares[1]]):
        found = classifier.predict(one)
        assert found.labels == stack.labels[1:]
        assert found.probabilities == pytest.approx(stack.probabilities[1:], abs=1e-6)
    assert len(classifier.predict(pictures[0]).labels) == 1
    nothing = classifier.predict([])
    assert nothing.labels == []
    assert nothing.probabilities.shape == (0, len(classifier.class_names))


def test_prepared_drawings_keep_their_probabilities(classifier):
    """Drawings at the training's size are not changed on their way."""
    ink = np.stack([render_doodle(name, 4, seed=3, image_px=classifier.image_px) for name in ("cat", "car")])
    direct = classifier.compute_probabilities(ink if classifier.invert else 255 - ink)
    assert classifier.predict(255 - ink).probabilities == pytest.approx(direct, abs=1e-6)


def test_errors_name_position_rule_and_value(classifier, pictures, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"not a picture")
    for images, message in [
        ([pictures[0], tmp_path / "broken.png"], r"images\[1\]: .*broken\.png: not an image"),
        (tmp_path / "missing.png", r"images\[0\]: .*missing\.png: unreadable: No such file"),
        (Image.new("L", (40, 40), 255), r"images\[0\]: blank: one shade only"),
        (np.zeros((4, 9, 9), np.float32), r"uint8 array \[H, W\], \[H, W, 3\] or \[H, W, 4\], got float32 \[9, 9\]"),
        ([np.zeros((9, 9, 2), np.uint8)], r"got uint8 \[9, 9, 2\]"),
        ([None], "must be a path, a PIL image or a uint8 array .*, got NoneType"),
    ]:
        with pytest.raises(ValueError, match=message):
            classifier.predict(images)


def test_a_run_without_a_network_says_how_to_get_one(tmp_path):
    with pytest.raises(ValueError, match="is not a run directory"):
        load_classifier(tmp_path)
    unfinished, journal = begin_run(tmp_path / "unfinished")
    journal.close()
    with pytest.raises(ValueError, match=r"has no network yet.*python -m tune_sketch\.search --resume .*unfinished"):
        load_classifier(unfinished.path)

"""Predicting: the training's preprocessing for clean files, sense made of all others, options, export, clear errors."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from tests.support.fake_runs import begin_run, make_finished_run
from tune_sketch.data import open_data
from tune_sketch.data.doodles import render_doodle
from tune_sketch.data.splits import read_splits
from tune_sketch.inference.model import best_classes, load_classifier
from tune_sketch.inference.photos import read_picture
from tune_sketch.inference.test_time_augmentation import VOTES, section_slices, vote_by_majority
from tune_sketch.predict import main
from tune_sketch.storage.facts import read_facts
from tune_sketch.storage.files import read_csv


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_finished_run(tmp_path_factory.mktemp("predict") / "run", num_trials=4, failed=0)


@pytest.fixture(scope="module")
def ink():
    return render_doodle("cat", 3, seed=1, image_px=256)


def save_photo(ink, path):
    """A drawing on shaded, grainy paper with a dark table at its left."""
    rng = np.random.default_rng(0)
    down, right = np.mgrid[:450, :600]
    paper = 150 + 60 * right / 600 - 40 * down / 450 + rng.normal(0, 4, (450, 600))
    where = np.zeros((450, 600))
    where[120:376, 200:456] = ink
    photo = paper * (1 - 0.55 * where / 255)
    photo[:, :45] = 50 + rng.normal(0, 6, (450, 45))
    shades = np.stack([photo, photo * 0.97, photo * 0.88], axis=-1).clip(0, 255).astype(np.uint8)
    Image.fromarray(shades).filter(ImageFilter.GaussianBlur(0.7)).save(path, quality=80)


def test_clean_files_of_any_polarity_are_the_same_square(ink, tmp_path):
    Image.fromarray(255 - ink).save(tmp_path / "dark.png")
    Image.fromarray(ink).save(tmp_path / "light.png")
    transparent = np.zeros((*ink.shape, 4), np.uint8)
    transparent[..., 3] = ink
    Image.fromarray(transparent).save(tmp_path / "black.png")
    transparent[..., :3] = 255
    Image.fromarray(transparent).save(tmp_path / "white.png")
    dark = read_picture(tmp_path / "dark.png", 64, True)
    assert dark.shape == (64, 64)
    assert dark[0, 0] == 0
    assert dark.max() > 200
    for name in ("light", "black", "white"):
        assert np.abs(read_picture(tmp_path / f"{name}.png", 64, True).astype(int) - dark).max() <= 2, name
    assert (read_picture(tmp_path / "dark.png", 64, False) == 255 - dark).all()


def test_a_picture_of_a_sticker_keeps_its_own_paper(ink, tmp_path):
    sticker = np.zeros((300, 300, 4), np.uint8)
    sticker[22:278, 22:278, :3] = (255 - ink)[..., None]
    sticker[22:278, 22:278, 3] = 255
    Image.fromarray(sticker).save(tmp_path / "sticker.png")
    assert read_picture(tmp_path / "sticker.png", 64, True)[0, 0] == 0


@pytest.mark.parametrize("board", [False, True])
def test_a_photo_is_cut_out_of_its_shadows(ink, tmp_path, board):
    save_photo(ink, tmp_path / "photo.jpg")
    if board:  # chalk: the same in light on dark
        Image.fromarray(255 - np.asarray(Image.open(tmp_path / "photo.jpg"))).save(tmp_path / "photo.jpg")
    found = read_picture(tmp_path / "photo.jpg", 64, True)
    assert np.median(found) == 0, "the paper is clean"
    rows, columns = np.flatnonzero((ink > 128).any(axis=1)), np.flatnonzero((ink > 128).any(axis=0))
    cut = Image.fromarray(ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    side = round(max(cut.size) * 1.16) + 2
    wanted = Image.new("L", (side, side))
    wanted.paste(cut, ((side - cut.width) // 2, (side - cut.height) // 2))
    wanted_ink = np.asarray(wanted.resize((64, 64), Image.Resampling.HAMMING), float)
    assert np.corrcoef(wanted_ink.ravel(), found.astype(float).ravel())[0, 1] > 0.85


def test_a_table_beside_the_paper_is_no_drawing(tmp_path):
    """Thin lines and a dark band at the picture's edge, which is larger than all of them together."""
    rng = np.random.default_rng(1)
    photo = 170 + rng.normal(0, 4, (450, 600))
    photo[150:300, 300:302] -= 70
    photo[150:152, 300:420] -= 70
    photo[:, :45] = 50 + rng.normal(0, 6, (450, 45))
    shades = Image.fromarray(photo.clip(0, 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(0.7))
    shades.save(tmp_path / "photo.png")
    found = read_picture(tmp_path / "photo.png", 64, True)
    assert found[:, 30:].max() > 100, "the corner fills the square"
    assert (found > 100).any(axis=0).sum() > 30
    assert (found > 100).any(axis=1).sum() > 40


def test_the_test_splits_own_drawings_give_the_runs_own_predictions(run, tmp_path, capsys):
    data = open_data(Path(read_facts(run).data.cache))
    test = read_splits(run.splits_csv, data).test
    model = load_classifier(run.path)
    for position, index in enumerate(test[:5]):
        Image.fromarray(255 - data.images[index]).save(tmp_path / f"{position}.png")
    assert main([str(run.path), str(tmp_path), "--csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    probabilities = model.compute_probabilities(data.images[test[:5]])
    for index, (row, own) in enumerate(zip(rows, probabilities, strict=True)):
        assert row["image"].endswith(f"{index}.png")
        wanted = best_classes(own, data.class_names)
        assert [row[f"class_{n}"] for n in range(1, 6)] == [name for name, _ in wanted]
        assert float(row["probability_1"]) == pytest.approx(wanted[0][1], abs=1e-5)
    heads = list(read_csv(run.predictions_csv)[0])
    assert list(rows[0]) == [name for name in heads if name != "true_class"], "columns as in predictions.csv"


def test_text_json_and_overlay(run, ink, tmp_path, capsys):
    Image.fromarray(255 - ink).save(tmp_path / "cat.png")
    assert main([str(run.path), str(tmp_path / "cat.png")]) == 0
    text = capsys.readouterr().out.splitlines()
    assert text[0].endswith("cat.png")
    assert len(text) == 6
    assert main([str(run.path), str(tmp_path / "cat.png"), "--json", "--cam", str(tmp_path / "cam")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["predictions"]) == 5
    with Image.open(tmp_path / "cam" / "cat-cam.png") as picture:
        assert picture.width == picture.height == 448


def test_votes_are_probabilities(run):
    model = load_classifier(run.path)
    images = np.stack([render_doodle(name, 1, seed=2, image_px=model.image_px) for name in ("cat", "sun", "car")])
    for name, vote in VOTES.items():
        probabilities = vote(model, images)
        assert probabilities.shape == (3, len(model.class_names)), name
        assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-5), name
        assert (probabilities >= 0).all(), name
    mirrored = VOTES["flips"](model, images[:, :, ::-1].copy())
    assert np.allclose(mirrored, VOTES["flips"](model, images), atol=1e-5)


def test_sections_cover_the_drawing_and_the_majority_wins():
    seen = np.zeros((64, 64), int)
    for rows, columns in section_slices(64):
        seen[rows, columns] += 1
    assert seen.min() >= 1
    assert seen.max() == 9
    by_section = np.array([[[0.6, 0.4, 0.0]], [[0.55, 0.45, 0.0]], [[0.0, 0.9, 0.1]]])  # two for 0, one surer for 1
    assert vote_by_majority(by_section).argmax() == 0
    assert by_section.mean(axis=0).argmax() == 1


def test_export_to_onnx_is_checked(run, ink, tmp_path, capsys):
    pytest.importorskip("onnxscript", reason="the extra `onnx` is not installed")
    onnxruntime = pytest.importorskip("onnxruntime")
    assert main([str(run.path), "--export", "onnx"]) == 0
    model = load_classifier(run.path)
    images = np.stack([render_doodle("sun", index, seed=5, image_px=model.image_px) for index in range(3)])
    session = onnxruntime.InferenceSession(run.best / "model.onnx", providers=["CPUExecutionProvider"])
    (computed,) = session.run(None, {"images": images})
    assert np.abs(computed - model.compute_probabilities(images)).max() < 1e-4
    Image.fromarray(255 - ink).save(tmp_path / "drawing.png")
    pictures = [tmp_path / "drawing.png", Image.fromarray(ink)]  # dark on light, and light on dark
    (computed,) = session.run(None, {"images": model.prepare(pictures)})
    assert np.abs(computed - model.predict(pictures).probabilities).max() < 1e-4
    assert session.get_modelmeta().custom_metadata_map["class_names"].split("\n") == model.class_names


def test_errors_are_one_clear_line(run, ink, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.png").write_bytes(b"not a picture")
    Image.new("L", (50, 50), 255).save(tmp_path / "blank.png")
    Image.fromarray(255 - ink).save(tmp_path / "good.png")
    unfinished, journal = begin_run(tmp_path / "unfinished")
    journal.close()
    for words, arguments in {
        "is not a run directory": [tmp_path, tmp_path / "good.png"],
        "has no network yet": [unfinished.path, tmp_path / "good.png"],
        "there is no file or folder": [run.path, tmp_path / "missing.png"],
        "holds no image": [run.path, tmp_path / "empty"],
        "not an image": [run.path, tmp_path / "broken.png"],
        "blank": [run.path, tmp_path / "blank.png"],
    }.items():
        assert main([str(argument) for argument in arguments]) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert words in error
        assert error.count("\n") == 1
    assert main([str(run.path), str(tmp_path / "broken.png"), str(tmp_path / "good.png")]) == 2
    captured = capsys.readouterr()
    assert "good.png" in captured.out, "the others are still recognised"
    with pytest.raises(SystemExit, match="2"):
        main([str(run.path)])

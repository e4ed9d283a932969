"""The winner's seeds together: the mean of their probabilities, by `predict --ensemble` as in winner.csv."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.support.fake_runs import TEMPERATURE, make_finished_run
from tune_sketch.data import open_data
from tune_sketch.export import recorded_result
from tune_sketch.inference.ensemble import load_ensemble
from tune_sketch.predict import main
from tune_sketch.retraining.ensemble import mean_probabilities
from tune_sketch.storage.facts import read_facts
from tune_sketch.storage.files import read_csv
from tune_sketch.storage.run_directory import RunDirectory
from tune_sketch.trainables.job import score_on_test
from tune_sketch.trainables.networks.build import build_model


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_finished_run(tmp_path_factory.mktemp("ensemble") / "run", num_trials=4, failed=0)


def probabilities_of(run, key, squares):
    """By the network alone, as the search predicts."""
    import torch

    from tune_sketch.trainables.evaluation import predict_probabilities

    network = build_model("baseline", 6)
    network.load_state_dict(torch.load(run.retrained / f"{key}.pt"))
    return predict_probabilities(network, squares, device="cpu", invert=True, pretrained=False, temperature=TEMPERATURE)


def test_its_probabilities_are_the_mean_of_the_members(run):
    squares = np.asarray(open_data(read_facts(run).data.cache).images[:7])
    keys = ["retraining-0001-01", "retraining-0001-02"]
    assert json.loads((run.best / "model.json").read_text())["ensemble"] == dict.fromkeys(keys, TEMPERATURE)
    expected = np.mean([probabilities_of(run, key, squares) for key in keys], axis=0)
    found = load_ensemble(run.path).compute_probabilities(squares)
    assert np.abs(found - expected).max() < 1e-6
    assert np.abs(probabilities_of(run, keys[0], squares) - expected).max() > 1e-4, "one member is something else"


def test_the_table_has_its_test_top1_from_the_kept_probabilities(run):
    row = next(row for row in read_csv(run.winner_csv) if row["network"] == "ensemble")
    files = [run.test_probabilities(f"retraining-0001-{index:02d}") for index in (1, 2)]
    with np.load(files[0]) as first, np.load(files[1]) as second:
        mean = (first["probabilities"].astype(float) + second["probabilities"]) / 2
    assert np.allclose(mean_probabilities(files), mean)
    rows = read_csv(run.predictions_csv)
    names = read_facts(run).data.class_names
    right = [names[label] == row["true_class"] for label, row in zip(mean.argmax(axis=1), rows, strict=True)]
    assert float(row["test_top1"]) == pytest.approx(np.mean(right))
    assert float(row["test_top1_wilson_low"]) < float(row["test_top1"]) < float(row["test_top1_wilson_high"])
    assert (row["num_networks"], row["is_in_best"], row["val_top1"]) == ("2", "False", ""), "none kept of validation"


def test_predict_uses_it_where_it_is_asked_to(run, tmp_path, capsys):
    from PIL import Image

    from tune_sketch.data.doodles import render_doodle

    Image.fromarray(255 - render_doodle("cat", 0, seed=0, image_px=64)).save(tmp_path / "cat.png")
    answers = []
    for flags in ([], ["--ensemble"]):
        assert main([str(run.path), str(tmp_path / "cat.png"), "--json", *flags]) == 0
        answers.append(json.loads(capsys.readouterr().out))
    assert answers[0] != answers[1]


@pytest.mark.parametrize("flags", [["--cam", "maps"], ["--vote", "cam"]])
def test_an_activation_map_is_of_one_network(run, flags, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cat.png").touch()
    with pytest.raises(SystemExit):
        main([str(run.path), "cat.png", "--ensemble", *flags])
    assert "leave out --cam and --vote cam" in capsys.readouterr().err


def test_a_run_with_one_network_says_what_is_missing(run, tmp_path, capsys):
    import shutil

    path = shutil.copytree(run.path, tmp_path / "run")
    file = path / "best" / "model.json"
    info = json.loads(file.read_text())
    file.write_text(json.dumps({name: value for name, value in info.items() if name != "ensemble"}))
    with pytest.raises(ValueError, match="--retraining-seeds of at least 2"):
        load_ensemble(path)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("ensemble", {"retraining-0001-01": 1.0, "retraining-0001-02": 0}, r"model\.json is damaged: ensemble"),
        ("ensemble", {"../best/weights": 1.0, "retraining-0001-02": 1.0}, r"model\.json is damaged: ensemble"),
        ("ensemble", ["retraining-0001-01", "retraining-0001-02"], r"model\.json is damaged: ensemble"),
        ("test", {"top1": "high", "num_images": 3}, r"model\.json is damaged: test\.top1"),
        ("test", [], r"model\.json is damaged: test"),
    ],
)
def test_what_model_json_says_of_the_ensemble_and_the_test_is_checked(run, tmp_path, name, value, message):
    import shutil

    other = RunDirectory(Path(shutil.copytree(run.path, tmp_path / "run")))
    file = other.best / "model.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {name: value}))
    with pytest.raises(ValueError, match=message):
        load_ensemble(other.path)
    with pytest.raises(ValueError, match=message):
        recorded_result(other)


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04", b"\x80\x02}q\x00."])
def test_a_damaged_member_is_named(run, tmp_path, content):
    import shutil

    other = RunDirectory(Path(shutil.copytree(run.path, tmp_path / "run")))
    file = other.retrained / "retraining-0001-02.pt"
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ValueError, match=r"retraining-0001-02\.pt does not hold a network of the winner"):
        load_ensemble(other.path)


def test_scores_have_the_validation_drawings_unless_they_were_trained_on(tmp_path):
    import torch

    from tests.support.jobs import decode_doodles, make_job
    from tests.support.small_training import CONFIG
    from tune_sketch.data.splits import read_splits

    decoded = decode_doodles(tmp_path / "cache")
    torch.save(build_model("baseline", 4).state_dict(), tmp_path / "weights.pt")
    for trains_on_validation in (False, True):
        job = make_job(tmp_path, decoded, CONFIG, trains_on_validation=trains_on_validation)
        scores = score_on_test(job, str(tmp_path / "weights.pt"))
        splits = read_splits(tmp_path / "splits.csv", open_data(decoded))
        assert scores.test.shape == (len(splits.test), 4)
        if trains_on_validation:
            assert scores.validation is None
        else:
            assert scores.validation.shape == (len(splits.validation), 4)

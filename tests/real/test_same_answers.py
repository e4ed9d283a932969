"""A search's answers for its test files, and those of `predict` and the Python API for the same files in every form."""

import csv
import io
import subprocess
import sys

import pytest

from tests.support.forms import FORMS, make_every_form
from tests.support.real_search import ROOT, search_once
from tune_sketch import open_run
from tune_sketch.storage.files import read_csv
from tune_sketch.storage.run_directory import RunDirectory

pytestmark = [pytest.mark.real, pytest.mark.parallel, pytest.mark.timeout(600)]


def predict(run, *arguments):
    command = [sys.executable, "-m", "tune_sketch.predict", str(run.path), *arguments, "--csv"]
    answer = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=200)
    assert answer.returncode == 0, answer.stderr
    return list(csv.DictReader(io.StringIO(answer.stdout)))


def test_predict_gives_the_searchs_own_answers(tmp_path):
    """Photos of paper, light on dark, transparent paper, pencil, scans: each drawing prepared as for training."""
    drawings = make_every_form(tmp_path / "drawings", per_form=6)
    answer = search_once(tmp_path, "--data", str(drawings), "--protocol", "small")
    assert answer.returncode == 0, answer.stderr
    assert f"{12 * len(FORMS)} drawings, 2 classes" in answer.stderr
    run = RunDirectory(tmp_path / "small")
    expected = read_csv(run.path / "predictions.csv")
    assert len(expected) == 36
    files = [str(drawings / row["image"]) for row in expected]

    again = predict(run, *files)
    assert [row["class_1"] for row in again] == [row["class_1"] for row in expected]
    assert [float(row["probability_1"]) for row in again] == pytest.approx(
        [float(row["probability_1"]) for row in expected], abs=1e-4
    )
    labels, probabilities = open_run(run.path).classifier.predict(files)
    assert labels == [row["class_1"] for row in expected]
    assert probabilities.max(axis=1) == pytest.approx([float(row["probability_1"]) for row in expected], abs=1e-4)
    # The folder as a whole is found by predict as the search found it.
    assert len(predict(run, str(drawings))) == 12 * len(FORMS)

"""A real search over data that are divided already: what is predicted at its end are the test folder's files."""

import csv
import shutil
import subprocess
import sys

import pytest

from tests.support.drawings import make_split_folder
from tests.support.real_search import ROOT, search_once
from tune_sketch.storage.facts import read_facts
from tune_sketch.storage.files import read_csv
from tune_sketch.storage.run_directory import RunDirectory

pytestmark = [pytest.mark.real, pytest.mark.parallel, pytest.mark.timeout(900)]


def run_command(*arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=500, check=True)


def test_the_test_folder_is_what_is_predicted(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNE_SKETCH_CACHE", str(tmp_path / "cache"))
    root = make_split_folder(tmp_path / "set", {"train": 8, "val": 3, "test": 4}, classes=("cat", "dog", "owl"))
    shutil.rmtree(root / "test" / "owl")
    shutil.copy(root / "train" / "cat" / "0.png", root / "test" / "cat" / "again.png")
    answer = search_once(tmp_path, "--data", str(root))
    assert answer.returncode == 0, answer.stderr
    assert "24 train, 9 validation, 9 test (folders train, val, test)" in answer.stderr
    assert "WARNING   1 class has no drawings in test: owl" in answer.stderr
    run = RunDirectory(tmp_path / "small")
    in_test = sorted(path.relative_to(root).as_posix() for path in (root / "test").rglob("*.png"))
    predictions = read_csv(run.predictions_csv)
    assert sorted(row["image"] for row in predictions) == in_test
    report = run.report_html.read_text()
    assert "The split (folders train, val, test): 24 drawings to train, 9 to choose, 9 to test." in report
    assert "1 drawing with the same content as another one, 1 of them in another split than it." in report
    assert "1 class has no drawings in test: owl." in report

    answer = run_command("tune_sketch.predict", run.path, root / "test", "--csv")
    predicted = {
        row["image"].removeprefix(f"{root}/"): row["class_1"] for row in csv.DictReader(answer.stdout.splitlines())
    }
    assert predicted == {row["image"]: row["class_1"] for row in predictions}

    shutil.rmtree(tmp_path / "cache")
    run_command("tune_sketch.search", "--resume", run.path, "--num-samples", 5)
    assert read_facts(run).data.split_origin == "folders train, val, test"
    assert sorted(row["image"] for row in read_csv(run.predictions_csv)) == in_test

"""A search of paths and classes with any names: it ends whole, and its commands can be pasted into a shell."""

import csv
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.drawings import make_image_folder
from tests.support.fake_runs import make_finished_run
from tests.support.real_search import ROOT
from tune_sketch.data.names import from_cell, written_name
from tune_sketch.predict import main as predict
from tune_sketch.storage.run_directory import RunDirectory

pytestmark = [pytest.mark.real, pytest.mark.parallel, pytest.mark.timeout(900)]
HARD = "#?%20{} '\"$ café 猫 😀 =x"
CLASSES = ("$a$b", f"={HARD}", "two\nlines", "b\udce9b\udce9")
FLAGS = (
    "--image-px 32 --protocol small --num-samples 2 --max-epochs 3 --finalists 1 --retraining-seeds 1 "
    "--max-concurrent 2 --weights none"
)


def run_in_shell(command: str, folder: Path) -> subprocess.CompletedProcess:
    """Run the command as a user who pastes it into a shell."""
    environment = os.environ | {
        "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    }  # fmt: skip
    answer = subprocess.run(["bash", "-c", command], cwd=folder, env=environment, capture_output=True, check=False)
    answer.stdout, answer.stderr = answer.stdout.decode(), answer.stderr.decode()
    assert answer.returncode == 0, f"{command}\n{answer.stdout}\n{answer.stderr}"
    assert "Traceback" not in answer.stderr
    assert "Warning" not in answer.stderr
    assert "\x1b" not in answer.stdout + answer.stderr
    return answer


def printed_command(text: str, name: str) -> str:
    """The command that was printed under a name."""
    return next(line for line in text.splitlines() if line.startswith(f"{name} ")).removeprefix(name).strip()


def test_a_search_of_hard_names_ends_whole_and_its_commands_can_be_pasted(tmp_path):
    folder = tmp_path / HARD
    folder.mkdir()
    root = make_image_folder(folder / f"data {HARD}", CLASSES, per_class=12)
    search = f"python -m tune_sketch.search --model baseline {FLAGS} --name first"
    folder_text = shlex.quote(str(folder.relative_to(tmp_path)))
    answer = run_in_shell(f"{search} --data {shlex.quote(str(root))} --runs-dir {folder_text}/runs", tmp_path)
    run = RunDirectory(folder / "runs" / "first")
    page = run.report_html.read_text(encoding="utf-8")
    assert all(title in page for title in ("Confusion matrix", "The most confused pairs", "Class activation maps"))
    assert run.report_html.is_file()
    names = sorted(map(written_name, CLASSES))
    assert json.loads(run.search_json.read_text(encoding="utf-8"))["data"]["class_names"] == names
    assert json.loads((run.best / "model.json").read_text(encoding="utf-8"))["class_names"] == names

    tested = list(csv.DictReader(run.predictions_csv.read_text(encoding="utf-8").splitlines()))
    assert {from_cell(row["true_class"]) for row in tested} == set(names)
    recognise = printed_command(answer.stdout, "recognise").replace("IMAGE...", shlex.quote(str(root)))
    seen = run_in_shell(f"{recognise} --csv", tmp_path).stdout.splitlines()
    by_image = {row["image"]: row for row in csv.DictReader(seen)}
    for row in tested:
        assert by_image[written_name(str(root / from_cell(row["image"])))]["class_1"] == row["class_1"]

    extend = printed_command(answer.stdout, "extend").replace("--num-samples N", "--num-samples 3")
    run_in_shell(f"{extend} --data {shlex.quote(os.path.relpath(root, tmp_path))}", tmp_path)
    assert "3 of 3" in run_in_shell(f"python -m tune_sketch.status {folder_text}/runs/first", tmp_path).stdout
    run_in_shell(f"cd {folder_text}/runs && mv first ./-x && python -m tune_sketch.report ./-x", tmp_path)


def test_names_survive_the_export_to_onnx(tmp_path):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    root = make_image_folder(tmp_path / "data", CLASSES, per_class=12)
    run = make_finished_run(tmp_path / HARD, data=str(root), classes=None, per_class=None, num_trials=2, failed=0)
    assert predict([str(run.path), "--export", "onnx"]) == 0
    model = onnx.load(str(run.best / "model.onnx"))
    found = {entry.key: entry.value for entry in model.metadata_props}["class_names"].split("\n")
    assert found == sorted(map(written_name, CLASSES))

"""Networks, data sets and strategies of a user's own: known in every process, and mistakes told."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tune_sketch.extensions import VARIABLE, extend

ROOT = Path(__file__).parents[1]


def run_python(code: str, *files: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {VARIABLE: os.pathsep.join(map(str, files)), "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False, timeout=120
    )


def test_every_process_knows_them():
    """A training is such a process: it inherits the environment, and knows the name of the network alone."""
    code = """
from tune_sketch.config.settings import Settings
from tune_sketch.data import DATASETS
from tune_sketch.trainables.networks.build import build_model
import torch
print(sorted(DATASETS), build_model("two_layers", num_classes=4, dropout=0.1)(torch.zeros(2, 3, 32, 32)).shape)
print(Settings(model="two_layers", strategy="one-change").strategy)
"""
    answer = run_python(code, *(ROOT / "examples" / f"own_{name}.py" for name in ("network", "data", "strategy")))
    assert answer.stdout.splitlines() == ["['digits', 'doodles', 'quickdraw'] torch.Size([2, 4])", "one-change"], (
        answer.stderr
    )


def test_extend_tells_this_process_and_the_next(tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, "")
    file = tmp_path / "marked.py"
    file.write_text("import os\nos.environ['MARKED'] = str(int(os.environ.get('MARKED', 0)) + 1)\n")
    monkeypatch.setenv("MARKED", "0")
    extend(file)
    extend(file)
    assert os.environ["MARKED"] == "1", "imported once"
    assert os.environ[VARIABLE] == str(file)
    monkeypatch.delitem(sys.modules, "tune_sketch_extension_marked")


@pytest.mark.parametrize("name", ["lacking.py", "text.txt"])
def test_what_is_no_python_file_is_told_in_one_line(tmp_path, name):
    (tmp_path / "text.txt").write_text("none")
    answer = run_python("import tune_sketch", tmp_path / name)
    assert answer.returncode == 1
    assert answer.stderr == f"error: {VARIABLE} must name Python files, got {str(tmp_path / name)!r}\n"


def test_two_files_of_one_name_are_told(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.py").write_text("")
    answer = run_python("import tune_sketch", tmp_path / "a" / "mine.py", tmp_path / "b" / "mine.py")
    assert answer.returncode == 1
    assert "two files have the same name" in answer.stderr


def test_without_any_nothing_is_imported():
    answer = run_python("import sys, tune_sketch; print('tune_sketch.extensions' in sys.modules)")
    assert answer.stdout == "False\n"

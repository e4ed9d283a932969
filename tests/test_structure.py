"""The shape of the house: who may import whom, short files, one job said in each first line."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("tune_sketch", "search_spaces", "trainables", "analysis")
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def roots(path):
    """The packages that a file imports; of ours in the top-level folders without the tune_sketch before their name."""
    linked = tuple(f"tune_sketch.{package}" for package in PACKAGES)
    return {
        (name.removeprefix("tune_sketch.") if name.startswith(linked) else name).split(".")[0]
        for name in imported(path)
    }


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_one_way(path):
    package = path.relative_to(ROOT).parts[0]
    found = roots(path)
    if package == "search_spaces":
        assert found - set(sys.stdlib_module_names) <= {"optuna", "search_spaces"}
    if package == "trainables":
        assert not found & {"optuna", "analysis", "search_spaces"}
        if path.name != "trial.py":
            assert "ray" not in found
        assert {
            name
            for name in imported(path)
            if name.startswith("tune_sketch") and not name.startswith("tune_sketch.trainables")
        } <= {"tune_sketch.data", "tune_sketch.data.splits", "tune_sketch.events"}
    if package == "analysis":
        assert "ray" not in found
    if path.relative_to(ROOT).parts[:2] == ("tune_sketch", "data"):
        assert not found & {"ray", "torch", "optuna", "trainables", "analysis"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_is_short_and_says_its_job_in_its_first_line(path):
    text = path.read_text()
    assert text.startswith('"""')
    assert len(text.splitlines()[0]) > 30
    assert text.count("\n") <= 330


def test_settings_load_without_torch_and_ray():
    """Errors in the flags come fast: neither is imported to find them."""
    code = "import sys, tune_sketch.config.flags; print([m for m in ('torch', 'ray') if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert answer.stdout.strip() == "[]"

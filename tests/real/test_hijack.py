"""A user's own analysis.py, utils.py ... in the current folder: no command and no worker imports them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

ROOT = Path(__file__).parents[2]
# Names of our packages and modules, and names that a user is likely to have.
NAMES = ("analysis", "trainables", "search_spaces", "utils", "data", "statistics_", "events", "run", "search", "config")
SEARCH = "--model baseline --classes 3 --per-class 12 --image-px 32 --num-samples 2 --max-epochs 2 --finalists 1"
SEARCH += " --retraining-seeds 1 --name mine"
pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A user's folder with modules that make a file when they are imported, and a drawing."""
    folder = tmp_path / "project"
    folder.mkdir()
    for name in NAMES:
        marker = tmp_path / f"imported-{name}"
        (folder / f"{name}.py").write_text(f"open({str(marker)!r}, 'w').close()\nraise RuntimeError('my own {name}')\n")
    drawing = Image.new("L", (64, 64), 255)
    ImageDraw.Draw(drawing).ellipse((10, 14, 50, 48), width=3)
    drawing.save(folder / "drawing.png")
    return folder


def command(folder: Path, *arguments: str) -> str:
    """The output of a command that is typed in the folder; it must succeed there."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    answer = subprocess.run(
        [sys.executable, "-m", *arguments], capture_output=True, text=True, cwd=folder, env=environment, timeout=300
    )
    assert answer.returncode == 0, f"{arguments}: {answer.stderr}"
    return answer.stdout


def test_nothing_of_the_users_own_is_imported(folder: Path) -> None:
    run = "runs/mine"
    command(folder, "tune_sketch.search", *SEARCH.split())
    assert (folder / run / "report.html").stat().st_size > 1000
    assert "trials         2 of 2" in command(folder, "tune_sketch.status", run)
    assert "trial 1" in command(folder, "tune_sketch.explain", run, "1")
    assert "drawing.png" in command(folder, "tune_sketch.predict", run, "drawing.png")
    command(folder, "tune_sketch.confirm", run, "--retraining-seeds", "2")
    command(folder, "tune_sketch.report", run)
    command(folder, "tune_sketch.data", "doodles", "--image-px", "32", "--classes", "3", "--per-class", "12")
    assert [path.name for path in folder.parent.glob("imported-*")] == []

"""A user's own analysis.py, utils.py ... in the current folder: no command and no worker imports them."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
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


ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def command(folder: Path, *arguments: str, python: Sequence[str] = (sys.executable, "-m")) -> str:
    """The output of a command that is typed in the folder; it must succeed there."""
    answer = subprocess.run(
        [*python, *arguments], capture_output=True, text=True, cwd=folder, env=ENVIRONMENT, timeout=300
    )
    assert answer.returncode == 0, f"{arguments}: {answer.stderr}"
    return answer.stdout


def serve_and_stop(folder: Path, *arguments: str) -> str:
    """The first line of a server that is started in the folder, and ended by Ctrl-C."""
    command = [sys.executable, "-m", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=folder, env=ENVIRONMENT) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0
        finally:
            process.kill()
    return line


def imported(folder: Path) -> list[str]:
    """The marks of the user's modules that were imported."""
    return [path.name for path in folder.parent.glob("imported-*")]


def console_script() -> str:
    """The installed `tune-sketch`, as a shell would find it beside this Python."""
    found = shutil.which("tune-sketch", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    assert found is not None, "pip install -e . makes it"
    return found


def test_nothing_of_the_users_own_is_imported(folder: Path) -> None:
    run = "runs/mine"
    command(folder, "tune_sketch.search", *SEARCH.split())
    assert (folder / run / "report.html").stat().st_size > 1000
    assert "trials         2 of 2" in command(folder, "tune_sketch.status", run)
    assert "trial 1" in command(folder, "tune_sketch.explain", run, "1")
    assert "drawing.png" in command(folder, "tune_sketch.predict", run, "drawing.png")
    assert "draw at  http://" in serve_and_stop(folder, "tune_sketch.draw", run, "--port", "0")
    assert "trials         2 of 2" in command(folder, "tune_sketch", "status", run)
    assert "trials         2 of 2" in command(folder, "status", run, python=[console_script()])
    command(folder, "tune_sketch.confirm", run, "--retraining-seeds", "2")
    command(folder, "tune_sketch.report", run)
    command(folder, "tune_sketch.data", "doodles", "--image-px", "32", "--classes", "3", "--per-class", "12")
    assert imported(folder) == []
    pytest.importorskip("onnxscript", reason="the extra `onnx` is not installed")
    command(folder, "tune_sketch.export", run, "--to", "onnx")
    assert imported(folder) == []

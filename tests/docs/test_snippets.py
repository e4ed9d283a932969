"""Every Python snippet of README and docs runs as it stands, in a folder that holds what its text speaks of.

Each runs alone, so it must define every name that it uses. The words after ```python say how it is run: "real" where it
starts a search or reads one that was run before, "exported" where it loads an exported ResNet50: those are run by
tests/inference/test_plain_networks.py, which compares what they load.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from tests.docs.pages import PAGES, ROOT, Block, blocks_of
from tune_sketch.predict import main as predict
from tune_sketch.storage.run_directory import RunDirectory

SNIPPETS = [block for page in PAGES for block in blocks_of(page) if block.words[:1] == ("python",)]
MARKERS = {"real", "exported"}


def parametrize(*, real: bool) -> pytest.MarkDecorator:
    chosen = [b for b in SNIPPETS if ("real" in b.words) is real and "exported" not in b.words]
    return pytest.mark.parametrize("snippet", chosen, ids=lambda snippet: snippet.name)


def run_snippet(snippet: Block, folder: Path) -> None:
    """Run it as a script: a search in it owns its process."""
    script = folder / "snippet.py"
    script.write_text(snippet.text)
    answer = subprocess.run(
        [sys.executable, script.name],
        cwd=folder,
        env=dict(os.environ) | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert answer.returncode == 0, f"{snippet.name}\n{answer.stdout}\n{answer.stderr}"


def draw(path: Path, label: int, number: int) -> None:
    """A drawing of 96 px: a polygon with three more corners for each class, each of them a little elsewhere."""
    image = Image.new("L", (96, 96), 255)
    corners = 3 + 3 * label
    ImageDraw.Draw(image).regular_polygon(
        (46 + number % 5, 46 + number // 5, 36), corners, rotation=3 * number, outline=0
    )
    image.save(path)


@pytest.fixture
def folder(tmp_path: Path, searched: tuple[RunDirectory, object]) -> Path:
    """drawings/ with three classes, cat.png, own_network.py of the examples, and a finished search in runs/first."""
    for label, name in enumerate(("bee", "cat", "dog")):
        (tmp_path / "drawings" / name).mkdir(parents=True)
        for number in range(20):
            draw(tmp_path / "drawings" / name / f"{number}.png", label, number)
    shutil.copy(tmp_path / "drawings" / "cat" / "0.png", tmp_path / "cat.png")
    shutil.copytree(searched[0].path, tmp_path / "runs" / "first")
    shutil.copy(ROOT / "examples" / "own_network.py", tmp_path)
    return tmp_path


@parametrize(real=False)
def test_snippet(snippet: Block, tmp_path: Path) -> None:
    run_snippet(snippet, tmp_path)


@pytest.mark.real
@pytest.mark.parallel
@pytest.mark.timeout(600)
@parametrize(real=True)
def test_snippet_of_a_search(snippet: Block, folder: Path) -> None:
    if "model.onnx" in snippet.text:  # the text around it names the command
        pytest.importorskip("onnxruntime", reason="the extra `onnx` is not installed")
        assert predict([str(folder / "runs" / "first"), "--export", "onnx"]) == 0
    run_snippet(snippet, folder)


def test_markers_are_known_and_some_snippets_run() -> None:
    assert {word for snippet in SNIPPETS for word in snippet.words[1:]} <= MARKERS
    assert any("exported" not in snippet.words for snippet in SNIPPETS)
    assert {snippet.page.name for snippet in SNIPPETS if "exported" in snippet.words} == {"take-along.md"}

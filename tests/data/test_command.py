"""python -m tune_sketch.data: what it prints, writes and answers to mistakes."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tune_sketch.data.__main__ import main


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNE_SKETCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MPLCONFIGDIR", str(tmp_path / "matplotlib"))


def make_folder(root: Path) -> Path:
    for position, name in enumerate(f"{label}/{number}" for label in ("cat", "dog") for number in range(5)):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        image = Image.new("L", (30, 20), 255)
        image.paste(0, (5 + position, 3, 10 + position, 15))
        image.save(root / f"{name}.png")
    return root


def test_prints_and_plots_a_folder(tmp_path, capsys):
    out = tmp_path / "out"
    assert main([str(make_folder(tmp_path / "set")), "--image-px", "32", "--protocol", "small", "--out", str(out)]) == 0
    text = capsys.readouterr().out
    assert "10 drawings in 2 classes, decoded to 32 x 32 px" in text
    assert "original longer side: 30 px" in text
    assert "min 5, median 5, max 5" in text
    assert "train 6 (60.0%), validation 2 (20.0%), test 2 (20.0%)" in text
    assert "cat 5" in text
    assert "no bad drawings" in text
    with Image.open(out / "samples.png") as image:
        assert image.width > 300
    with (out / "classes.csv").open() as file:
        assert next(csv.DictReader(file)) == {
            "class": "cat",
            "drawings": "5",
            "train": "3",
            "validation": "1",
            "test": "1",
        }
    assert len((out / "splits.csv").read_text().splitlines()) == 11


def test_bad_files_are_listed_and_skipped(tmp_path, capsys):
    root = make_folder(tmp_path / "set")
    (root / "cat" / "0.png").write_bytes(b"")
    arguments = [str(root), "--image-px", "32", "--out", str(tmp_path / "out")]
    assert main(arguments) == 2
    assert f"{root}/cat/0.png: zero bytes" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert main([*arguments, "--skip-bad-images"]) == 0
    assert "1 left out:\n  cat/0.png: zero bytes" in capsys.readouterr().out


def test_doodles_say_that_they_are_synthetic(tmp_path, capsys):
    assert main(["doodles", "--classes", "3", "--per-class", "10", "--image-px", "16", "--out", str(tmp_path)]) == 0
    assert "Synthetic: a program drew them" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "must be an existing path or one of doodles, quickdraw, got 'nowhere'"),
        (["doodles", "--classes", "cat", "unicron"], "unknown name 'unicron'"),
        (["doodles", "--classes", "1"], "at least two classes"),
        (["doodles", "--per-class", "0"], "per_class must be at least 1"),
        (["doodles", "--per-class", "2"], "usable drawings, but train, validation and test need one each"),
        (["doodles", "--image-px", "0"], "image_px must be from 8"),
        (["doodles", "--protcol", "small"], "unrecognized arguments: --protcol"),
        (["doodles", "--protocol", "studdy"], "invalid choice: 'studdy'"),
        (["quickdraw"], "add --download"),
    ],
)
def test_mistakes_are_answered_with_2_and_no_traceback(arguments, message):
    command = [sys.executable, "-m", "tune_sketch.data", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], timeout=60)
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr

"""The command that makes the pictures of README and docs, on a run that is there already."""

import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tests.docs.pages import ROOT
from tests.support.fake_runs import make_finished_run
from tests.support.needs_browser import needs_browser
from tune_sketch.analysis.report import write_report
from tune_sketch.callbacks.tensorboard import TensorBoardLog
from tune_sketch.inference.web_runtime import find_runtime
from tune_sketch.storage.reading import read_history

WIDTHS_PX = {"report": 1400, "tensorboard": 1400, "draw": 1100, "phone": 585}


@pytest.mark.real
@pytest.mark.parallel
@pytest.mark.timeout(600)
@needs_browser
def test_the_pictures_of_a_run(tmp_path):
    pytest.importorskip("onnxscript", reason="the extra `onnx` is not installed")
    try:
        find_runtime()
    except ValueError as error:
        pytest.skip(str(error))
    run = make_finished_run(tmp_path / "run", num_trials=5, failed=0)
    write_report([run.path], run.report_html)
    TensorBoardLog(run.tensorboard, read_history(run).trials)
    command = [sys.executable, str(ROOT / "docs" / "pictures.py"), "--run", str(run.path)]
    answer = subprocess.run(
        [*command, "--pictures", str(tmp_path / "pictures")],
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert {path.stem for path in (tmp_path / "pictures").iterdir()} == set(WIDTHS_PX)
    for name, width in WIDTHS_PX.items():
        file = tmp_path / "pictures" / f"{name}.webp"
        assert file.stat().st_size < 150_000
        with Image.open(file) as picture:
            assert abs(picture.width - width) < 5
            assert np.asarray(picture.convert("L")).std() > 10, "it shows something"
            if name == "phone":
                assert picture.height > 2 * picture.width


def test_an_unfinished_run_is_one_clear_line(tmp_path):
    command = [sys.executable, str(ROOT / "docs" / "pictures.py"), "--run", str(tmp_path)]
    answer = subprocess.run(
        [*command, "--pictures", str(tmp_path / "pictures")], capture_output=True, text=True, check=False
    )
    assert answer.returncode == 1
    assert "is not finished: it has no report.html" in answer.stderr

"""The search that shows how busy a GPU is kept: its figures, what the driver does not tell, and its rehearsal."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from benchmarks import gpu_search
from benchmarks.gpu.watching import ask_nvidia_smi

ROOT = Path(__file__).parents[2]
FLAGS = ["--model", "baseline"]
BEGUN_AT = 1000.0
EPOCHS = [{"trial": "0", "recorded_at": "1010.0"}, {"trial": "1", "recorded_at": "1070.0"}]
SHARING = {"trials_per_gpu": 2, "reason": "", "images_per_second": [1000.0, 1900.0, 1950.0]}


def sample(seconds: float, busy: float | None) -> gpu_search.Sample:
    return {"seconds": seconds, "busy": busy, "memory_mib": 500.0}


def test_utilisation_counts_from_the_first_to_the_last_epoch_and_is_shown_over_time() -> None:
    samples = [sample(2, 0.0), sample(12, 0.9), sample(40, 0.8), sample(62, 0.7), sample(90, 0.1)]
    lines, busy = gpu_search.describe(FLAGS, BEGUN_AT, 95.0, samples, EPOCHS, {"gpu_sharing": SHARING})
    assert busy == 0.8
    assert "- GPU busy, between the first and the last epoch: 0.8 (0.7 to 0.9)" in lines
    assert "- to the end of the first epoch of a trial: 10 s" in lines
    assert "- 2 trials, 2 epochs" in lines
    at_once = "2, for 1, 2, ... trained 1,000, 1,900, 1,950 drawings per second all together"
    assert f"- trials on the GPU at once: {at_once}" in lines
    assert lines[-2:] == ["| 0 | 0.57 |", "| 1 | 0.40 |"]


def test_a_slice_of_a_card_has_no_utilisation_and_all_else_is_kept() -> None:
    lines, busy = gpu_search.describe(FLAGS, BEGUN_AT, 95.0, [sample(12, None), sample(70, None)], EPOCHS, {})
    assert busy is None
    assert "- GPU busy, between the first and the last epoch: nobody tells" in lines
    assert "- memory, MiB: 500 (500 to 500)" in lines
    assert lines[-2:] == ["| 0 |  |", "| 1 |  |"]


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ("echo '87, 1234'", [87.0, 1234.0]),
        ("echo '[N/A], 1234.5'", [None, 1234.5]),
        ("echo 'No devices were found'; exit 6", [None, None]),
        (None, [None, None]),
    ],
)
def test_what_the_driver_tells(
    answer: str | None, told: list[float | None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if answer is not None:
        program = tmp_path / "nvidia-smi"
        program.write_text(f'#!/bin/sh\n[ "$1" = --id=GPU-abc ] || exit 9\n{answer}\n')
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="abc"))
    assert ask_nvidia_smi(0, "utilization.gpu", "memory.used") == told


def test_without_a_gpu_it_says_so_before_it_searches() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    command = [sys.executable, "-m", "benchmarks.gpu_search"]
    answer = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=100)
    assert answer.returncode == 2
    assert "--rehearse" in answer.stderr


@pytest.mark.real
@pytest.mark.timeout(300)
def test_the_rehearsal_shares_a_gpu_that_is_not_there(tmp_path: Path) -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu_search", "--rehearse"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=280,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "2 trials at once, each with 0.5 GPU" in answer.stdout + answer.stderr
    assert "- trials on the GPU at once: as the command says" in answer.stdout
    assert "busy, mean" in answer.stdout
    assert answer.stdout.splitlines()[-1].startswith("busy ")
    assert not (ROOT / "benchmarks" / "results" / "gpu_search-cpu.md").exists()

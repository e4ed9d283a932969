"""The command that measures a GPU: its rehearsal on a CPU, on a bare machine, and what its files say."""

import csv
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.gpu import correct, runner
from benchmarks.gpu.accuracy import NO_TIMM, TIMM_NETWORK
from benchmarks.gpu.context import REHEARSAL, configure
from benchmarks.gpu.inputs import describe, open_inputs, prepare, resize, write_decoded
from benchmarks.gpu.limit import count_work
from benchmarks.gpu.results import Note, ResultFile, Row
from benchmarks.gpu.runner import PARTS, Begun, Machine, describe_error
from tests.support.processes import family
from tests.support.real_weights import needs_efficientnet, needs_real_weights
from tune_sketch.data.sketch_data import open_data
from tune_sketch.search_spaces import SPACES, SpaceLimits, configuration_of, paper_configuration, recipe_configuration

ROOT = Path(__file__).parents[2]
# Only torch, torchvision and numpy, with what they bring along themselves.
BARE = """
import sys
from importlib.machinery import PathFinder
KNOWN = {"torch", "torchvision", "torchgen", "functorch", "numpy", "PIL", "filelock", "fsspec", "sympy", "mpmath",
         "jinja2", "markupsafe", "networkx", "typing_extensions", "setuptools", "_distutils_hack", "pkg_resources",
         "triton", "nvidia", "cuda", "tune_sketch", "benchmarks"}
find = PathFinder.find_spec
def find_spec(name, path=None, target=None):
    spec = find(name, path, target)
    if spec is None or "site-packages" not in (spec.origin or "") or name.split(".")[0] in KNOWN:
        return spec
    return find(name, [entry for entry in sys.path if "site-packages" not in entry], target)
PathFinder.find_spec = find_spec
sys.argv[0] = "gpu"
"""


def run(code: str, timeout: float = 590) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", BARE + code], capture_output=True, text=True, cwd=ROOT, timeout=timeout
    )


def test_the_bare_machine_of_these_tests_lacks_what_it_should() -> None:
    answer = run(
        "import torch, torchvision, numpy\nfor name in ('ray', 'optuna', 'pandas', 'sklearn', 'psutil', 'timm'):\n"
        "    try:\n        __import__(name)\n    except ImportError:\n        print(name)\n"
    )
    assert answer.stdout.split() == ["ray", "optuna", "pandas", "sklearn", "psutil", "timm"], answer.stderr


@pytest.mark.slow
@pytest.mark.timeout(600)  # on a quiet machine half a minute
def test_the_rehearsal_goes_through_every_part_on_a_bare_machine(tmp_path: Path) -> None:
    flags = ["--rehearse", "--inputs", f"{tmp_path}/none.zip", "--results", str(tmp_path), "--minutes", "9"]
    answer = run(f"sys.argv[1:] = {flags}" + "\nimport runpy; runpy.run_module('benchmarks.gpu', run_name='__main__')")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "FAILED" not in answer.stdout
    assert "not begun" not in answer.stdout
    with (tmp_path / "gpu-cpu-rehearsal.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["part"].replace(" ", "_") for row in rows} | {"more_limits"} == set(PARTS)
    assert "epoch over ceiling" in {row["quantity"] for row in rows}
    assert all(row["value"] or row["note"] for row in rows)
    assert [row["note"] for row in rows if row["case"] == TIMM_NETWORK] == [NO_TIMM]
    text = (tmp_path / "gpu-cpu-rehearsal.md").read_text()
    assert "aten::" in text, "the profile's table"
    assert "torch.compile" in text
    last = answer.stdout.rstrip().splitlines()[-1]  # of whichever part has a target and came last
    assert last.endswith((": met", ": missed", ": not measured")), "the ratios come last"


@needs_real_weights
@needs_efficientnet
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_prepared_file_brings_weights_and_timm_to_a_bare_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNE_SKETCH_CACHE", str(tmp_path / "cache"))
    drawings = tmp_path / "drawings"
    for number, name in enumerate("abc"):
        (drawings / name).mkdir(parents=True)
        for index in range(12):
            pixels = np.full((40, 40), 255, np.uint8)
            pixels[8 * number + 3 : 8 * number + 6, index : index + 24] = 0
            Image.fromarray(pixels).save(drawings / name / f"{index}.png")
    file = prepare(str(drawings), tmp_path / "prepared.zip")
    flags = ["--rehearse", "--only", "accuracy", "--inputs", str(file), "--results", str(tmp_path)]
    answer = run(f"sys.argv[1:] = {flags}" + "\nimport runpy; runpy.run_module('benchmarks.gpu', run_name='__main__')")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    with (tmp_path / "gpu-cpu-rehearsal.csv").open() as file_of_rows:
        rows = [row for row in csv.DictReader(file_of_rows) if row["quantity"] == "test top-1"]
    cases = [f"{name} with weights, 48 px, 2 epochs" for name in ("squeezenet1_1", TIMM_NETWORK)]
    assert [row["case"] for row in rows] == cases
    assert all(row["n"] == "2" and 0 <= float(row["value"]) <= 1 for row in rows)


@pytest.mark.slow
def test_it_ends_in_time_with_what_it_has(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.gpu", "--rehearse", "--results", str(tmp_path), "--minutes", "0.3"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    output, _ = process.communicate(timeout=60)
    assert "no time left" in output
    assert family(process) == []


def test_without_a_gpu_it_says_so_and_writes_nothing(tmp_path: Path) -> None:
    if torch.cuda.is_available() or torch.backends.mps.is_available():
        pytest.skip("there is a GPU")
    command = [sys.executable, "-m", "benchmarks.gpu", "--results", str(tmp_path)]
    answer = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=100)
    assert answer.returncode == 2
    assert "--rehearse" in answer.stdout
    assert list(tmp_path.iterdir()) == []


def test_results_are_written_at_once_and_kept_by_the_next_run(tmp_path: Path) -> None:
    first = ResultFile(tmp_path, "NVIDIA H100 80GB HBM3", "here, then")
    first.add(Row("limit", "a", "ratio", 0.8, at_least=0.9, lowest=0.7, highest=0.85, n=3))
    assert "| a | ratio | 0.8 | 0.7 .. 0.85 | 3 | at least 0.9 |  |" in first.md.read_text()
    assert first.csv.name == "gpu-nvidia-h100-80gb-hbm3.csv"
    second = ResultFile(tmp_path, "NVIDIA H100 80GB HBM3", "here, now")
    second.add(Row("limit", "b", "ratio", None, at_least=0.9, note="no time"))
    second.add(Row("limit", "a", "ratio", None, note="no time"))
    assert second.rows["limit", "a", "ratio"].value == 0.8, "what was not measured replaces no number"
    assert second.rows["limit", "a", "ratio"].where == "here, then"
    assert second.verdict(("limit",)) == (["limit, b, ratio: no time (at least 0.9): not measured"], True)
    second.add(Row("limit", "a", "ratio", 0.95, at_least=0.9))
    second.add(Note("limit", "c", "Traceback ...\nRuntimeError: x", is_error=True))
    lines, good = second.verdict(("limit",))
    assert not good
    assert lines[-2:] == ["limit, a, ratio: 0.95, n = 1 (at least 0.9): met", "limit, c: FAILED: RuntimeError: x"]


def forks(test: Callable) -> Callable:
    """For Linux alone, where the parts' processes are forked: of this one, whose threads Python 3.12 warns of."""
    quiet = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
    return pytest.mark.skipif(sys.platform != "linux", reason="elsewhere they are spawned")(quiet(test))


def send_and_end(part: str, *given: Any) -> None:
    """A part that ends while most of what it found is still on its way."""
    results: Connection = given[-1]
    results.send(Machine("card", "here"))
    for number in range(200):
        results.send(Row(part, f"case {number}", "quantity", 1.0))


def hang(*given: Any) -> None:
    """A part whose device never answers."""
    time.sleep(60)


def break_in_the_second_case(part: str, first_case: int, *given: Any) -> None:
    """A part of three cases, of which one leaves the device of its process unusable."""
    results: Connection = given[-1]
    results.send(Machine("card", "here"))
    for case in range(first_case, 3):
        results.send(Begun(case))
        if case == 1:
            os._exit(3)
        results.send(Row(part, f"case {case}", "quantity", 1.0))


@forks
def test_what_a_part_found_before_it_ended_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "run_part", send_and_end)
    assert runner.measure(("limit", "accuracy"), REHEARSAL, tmp_path, tmp_path, time.monotonic() + 100) == 0
    with (tmp_path / "gpu-card.csv").open() as file:
        found = [(row["part"], row["case"]) for row in csv.DictReader(file)]
    assert found == [(part, f"case {number}") for part in ("limit", "accuracy") for number in range(200)]


@forks
def test_the_cases_after_one_that_broke_its_process_are_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "run_part", break_in_the_second_case)
    assert runner.measure(("limit", "accuracy"), REHEARSAL, tmp_path, tmp_path, time.monotonic() + 100) == 1
    with (tmp_path / "gpu-card.csv").open() as file:
        found = [(row["part"], row["case"]) for row in csv.DictReader(file)]
    assert found == [(part, f"case {number}") for part in ("limit", "accuracy") for number in (0, 2)]
    assert "case 2: its process ended with code 3" in (tmp_path / "gpu-card.md").read_text()


def test_a_traceback_names_no_folder_of_the_machine() -> None:
    try:
        open_data(Path("/nowhere"))
    except ValueError:
        text = describe_error()
    assert 'File "tests/benchmarks/test_gpu.py"' in text
    assert 'File "tune_sketch/data/sketch_data.py"' in text
    assert str(ROOT) not in text
    assert text.rstrip().splitlines()[-1].startswith("ValueError: /nowhere is not")


@forks
def test_a_device_that_never_answers_ends_at_the_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(runner, "run_part", hang)
    monkeypatch.setattr(runner, "RESERVED_SECONDS", 0.0)
    assert runner.measure(("correct",), REHEARSAL, tmp_path, tmp_path, time.monotonic() + 0.5) == 1
    assert "correct: ended at the deadline before it said anything" in capsys.readouterr().out


SIDES = [(0.9, False), (0.89, True), (1.1, True), (math.nan, True), (None, False)]


@pytest.mark.parametrize(("value", "misses"), SIDES)
def test_a_target_is_missed_on_the_wrong_side(value: float | None, misses: bool) -> None:
    assert Row("p", "c", "q", value, at_least=0.9, at_most=1.0).misses == misses


@pytest.mark.parametrize("model", [*SPACES, TIMM_NETWORK])
@pytest.mark.parametrize("pretrained", [False, True])
def test_configurations_without_optuna_are_those_of_the_search(model: str, pretrained: bool) -> None:
    limits = SpaceLimits(50, pretrained)
    for choose, recipe in ((recipe_configuration, True), (paper_configuration, False)):
        expected = configuration_of(model, choose(model, limits) | {"epochs": 50}, limits)
        assert configure(model, 50, pretrained=pretrained, recipe=recipe) == expected


def test_drawings_at_another_size_are_opened_as_decoded_ones(tmp_path: Path) -> None:
    images = np.zeros((4, 8, 8), np.uint8)
    images[:, :4] = 255
    data = describe(images, np.array([0, 0, 1, 1]), ["a", "b"], list("wxyz"))
    write_decoded(tmp_path / "decoded", data, resize(images, 4))
    opened = open_data(tmp_path / "decoded")
    assert opened.images[0].tolist() == [[255] * 4] * 2 + [[0] * 4] * 2
    assert (opened.class_names, opened.labels.tolist(), opened.names) == (["a", "b"], [0, 0, 1, 1], list("wxyz"))
    assert open_inputs(tmp_path / "none.zip", tmp_path, 2, 3).data.images.shape == (6, 64, 64)


def test_the_work_of_a_step_is_counted() -> None:
    flops, num_bytes = count_work("resnet50", 224)
    assert flops / 1e9 == pytest.approx(24.5, rel=0.02), "three times 4.09 G multiply-adds, less the first gradient"
    assert num_bytes / 1e9 == pytest.approx(0.36, rel=0.25), "as by the profile of another program"


def test_a_wrong_device_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison of two devices is no comparison of one thing with itself."""
    trained = iter([{"w": torch.tensor(values)} for values in ([1.0, 2.0], [1.0, 1.0], [1.0, 2.1])])
    monkeypatch.setattr(correct, "few", lambda context: None)
    monkeypatch.setattr(correct, "build", lambda *given: SimpleNamespace(state_dict=lambda: {"w": torch.zeros(2)}))
    monkeypatch.setattr(correct, "train", lambda *given: [({"train_loss": 1.0}, {"model": next(trained)})])
    own, row, _ = correct.compare_epoch(SimpleNamespace(device=torch.device("cpu")), "baseline")
    assert own.value == pytest.approx(0.1 / 5**0.5)
    assert row.value == pytest.approx(1 / 5**0.5)
    assert row.misses

"""The scripts in examples/ run: those that only read in seconds, those that search as real tests."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.fake_runs import make_finished_run
from tests.support.quickdraw_files import polylines, write_ndjson
from tune_sketch.storage.facts import read_facts
from tune_sketch.storage.run_directory import RunDirectory

EXAMPLES = Path(__file__).parents[2] / "examples"
SEARCHES = {  # its marks of success, in what it prints
    "search_from_python.py": "a circle is a ",
    "own_network.py": "test_top1_mean",
    "own_data.py": "test_top1_mean",
    "own_strategy.py": "mutated",
}


def run_example(folder: Path, name: str, *words: str) -> str:
    environment = os.environ | {"PYTHONPATH": str(EXAMPLES.parent), "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    answer = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout


def test_every_example_is_run_here():
    assert {path.name for path in EXAMPLES.glob("*.py")} == {*SEARCHES, "read_results.py", "two_stages.py"}


def test_reading_results(tmp_path):
    run = make_finished_run(tmp_path / "run", num_trials=6)
    printed = run_example(tmp_path, "read_results.py", str(run.path))
    best = max(float(value) for value in column_of(run.trials_csv, "best_val_top1") if value)
    assert f"{best:.6f}"[:6] in printed
    num_epochs = len(column_of(run.epochs_csv, "epoch"))
    assert f"epochs trained: {num_epochs} of " in printed


def column_of(path: Path, name: str) -> list[str]:
    from tune_sketch.storage.files import read_csv

    return [row[name] for row in read_csv(path)]


@pytest.mark.real
@pytest.mark.parallel
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", SEARCHES)
def test_an_example_that_searches(tmp_path, name):
    assert SEARCHES[name] in run_example(tmp_path, name)
    assert list(tmp_path.glob("runs/*/report.html"))


@pytest.mark.real
@pytest.mark.parallel
@pytest.mark.timeout(600)
def test_the_second_stage_begins_with_the_first_ones_network(tmp_path):
    """The first stage on a folder as Quick, Draw! publishes it."""
    many = tmp_path / "many"
    many.mkdir()
    for shift, word in enumerate(("apple", "cloud", "moon")):
        write_ndjson(many / f"{word}.ndjson", word, [polylines(30 * shift + number) for number in range(12)])
    printed = run_example(tmp_path, "two_stages.py", "--first", str(many), "--num-samples", "2", "--max-epochs", "2")
    assert "test_top1_mean" in printed
    first, second = (RunDirectory(tmp_path / "runs" / name) for name in ("first_stage", "second_stage"))
    facts = read_facts(first)
    assert facts.settings.data == str(many)
    assert facts.data.num_classes == 3
    assert facts.weights.path is None
    facts = read_facts(second)
    assert (tmp_path / facts.settings.weights).resolve() == first.path.resolve()
    assert (tmp_path / facts.weights.path).resolve() == (first.best / "weights.safetensors").resolve()
    assert "first_stage" in facts.weights.description
    assert second.report_html.is_file()

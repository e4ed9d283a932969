"""The memory and open files of a driver do not grow with the trials of its search."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.long_search import LEAKED_BYTES
from tests.support.real_search import ROOT
from tune_sketch.storage.reading import read_history
from tune_sketch.storage.run_directory import RunDirectory

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="counts as Linux does")]
NUM_TRIALS = 300
# From the 50th to the last trial. The records themselves, which samplers look at, are some 0.1 MB per trial.
MOST_BYTES, MOST_DESCRIPTORS = 50_000_000, 10


def growth(folder: Path, leak: str = "") -> tuple[int, int]:
    """(bytes, descriptors) by which a search's process grew."""
    command = [sys.executable, "-m", "tests.support.long_search", str(folder), str(NUM_TRIALS)]
    answer = subprocess.run([*command, *filter(None, [leak])], capture_output=True, text=True, cwd=ROOT, timeout=600)
    assert answer.returncode == 0, answer.stderr
    first, last = (found for _, found in sorted(json.loads(answer.stdout).items(), key=lambda pair: int(pair[0])))
    print(f"after 50 trials {first}, after {NUM_TRIALS} {last}")
    return last[0] - first[0], last[1] - first[1]


def test_memory_and_descriptors_over_300_trials(tmp_path):
    num_bytes, num_descriptors = growth(tmp_path / "run")
    run = RunDirectory(tmp_path / "run")
    trials = read_history(run).trials
    assert len(trials) == NUM_TRIALS
    assert {trial.status for trial in trials} == {"completed", "stopped"}
    assert len(list(run.tensorboard.rglob("events*"))) > NUM_TRIALS, "all was written that a search writes"
    assert num_bytes < MOST_BYTES
    assert num_descriptors < MOST_DESCRIPTORS


@pytest.mark.parametrize("leak", ["memory", "descriptor"])
def test_a_leak_of_each_trial_would_be_seen(tmp_path, leak):
    num_bytes, num_descriptors = growth(tmp_path / "run", leak)
    assert (num_bytes > MOST_BYTES) == (leak == "memory"), f"{LEAKED_BYTES} bytes of each"
    assert (num_descriptors > MOST_DESCRIPTORS) == (leak == "descriptor")

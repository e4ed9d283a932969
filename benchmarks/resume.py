"""Seconds from `--resume` to the first new epoch with 64 recorded trials, beside a new search: must be under 10.

python -m benchmarks.resume [--quick]     makes a search of 64 trials, kills it, resumes copies of it
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from benchmarks.machine import describe, write_result
from tests.support.kill_rows import spread
from tests.support.processes import end_family, wait_until_gone
from tests.support.recorded import recorded_epochs, snapshot
from tune_sketch.storage.run_directory import RunDirectory

ROOT = Path(__file__).parent.parent
NUM_TRIALS = 64
MOST_SECONDS = 10.0
SEARCH = "--model baseline --classes 4 --per-class 24 --image-px 32 --max-epochs 9 --seed 3 --num-samples 96"


def start(*flags: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "tune_sketch.search", *flags],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def end(process: subprocess.Popen) -> None:
    end_family(process)
    process.wait()
    wait_until_gone(process)


def record_trials(runs: Path) -> RunDirectory:
    """A search that was killed when it had begun its 64th trial, four at a time, so that four are unfinished."""
    process = start(*SEARCH.split(), "--cpus-per-trial", "0.5", "--name", "recorded", "--runs-dir", str(runs))
    run = RunDirectory(runs / "recorded")
    while len(snapshot(run)) < NUM_TRIALS:
        assert process.poll() is None, "the search ended early"
        time.sleep(0.2)
    end(process)
    return run


def seconds_to_first_epoch(run: RunDirectory, *flags: str) -> float:
    """From the command to the first recorded epoch that was not there before; then the search is killed."""
    known, seen = recorded_epochs(run).keys(), journal_size(run)
    started = time.monotonic()
    process = start(*flags)
    while True:
        assert process.poll() is None, "the search ended without a new epoch"
        time.sleep(0.02)
        # Read only when something was written: reading a long journal again and again takes a core from the search.
        if (size := journal_size(run)) != seen:
            seen, seconds = size, time.monotonic() - started
            if recorded_epochs(run).keys() - known:
                break
    end(process)
    return seconds


def journal_size(run: RunDirectory) -> int:
    return run.journal_log.stat().st_size if run.journal_log.exists() else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two repetitions instead of seven; writes no result file")
    arguments = parser.parse_args()
    resumed, fresh = [], []
    with tempfile.TemporaryDirectory() as folder:
        runs = Path(folder)
        recorded = record_trials(runs)
        states = Counter("unfinished" if t.is_unfinished else t.status for t in snapshot(recorded).values())
        for number in range(2 if arguments.quick else 7):
            copy = RunDirectory(runs / f"copy-{number}")
            shutil.copytree(recorded.path, copy.path)
            resumed.append(seconds_to_first_epoch(copy, "--resume", str(copy.path), "--cpus-per-trial", "1"))
            name = f"fresh-{number}"
            fresh.append(
                seconds_to_first_epoch(
                    RunDirectory(runs / name), *SEARCH.split(), "--name", name, "--runs-dir", str(runs)
                )
            )
    mix = ", ".join(f"{number} {state}" for state, number in sorted(states.items()))
    lines = [
        "| from the command to the first new epoch | seconds, least / median / most | n |",
        "|---|---|---|",
        f"| resumed with {states.total()} recorded trials ({mix}) | {spread(resumed, '.2f')} | {len(resumed)} |",
        f"| a new search | {spread(fresh, '.2f')} | {len(fresh)} |",
    ]
    print("\n".join(lines))
    if not arguments.quick:
        write_result("resume", __doc__.splitlines()[0], lines)
    passed = max(resumed) < MOST_SECONDS
    print(f"resume {spread(resumed, '.2f')} s of at most {MOST_SECONDS:.0f} (n = {len(resumed)}), {describe()}")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())

"""A trial written to SQLite by Optuna's own calls, and by tune_sketch/commits.py: CPU and wall-clock time of each.

    python -m benchmarks.commits [--quick]

A trial here is a suggestion of the baseline's space, one epoch and an ending. Both databases lie on the disk of
$TMPDIR, in write-ahead mode, as a search opens them; the two write in turn.
"""

import argparse
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FixedTrial, TrialState, create_trial

from benchmarks.machine import describe, spread, write_result
from tune_sketch.search_spaces import SPACES, study_configuration
from tune_sketch.search_spaces.common import SpaceLimits
from tune_sketch.storage import commits
from tune_sketch.storage.database import open_storage

MODEL = "baseline"
LEAST_RATIO = 2.0  # of CPU time


def make_writers(folder: Path) -> list[Callable[[int], None]]:
    """What writes trial number N by Optuna's calls, what writes it by ours, and what commits one row of SQLite."""
    limits = SpaceLimits(max_epochs=50, pretrained=False)
    trial = FixedTrial(study_configuration(MODEL, limits))
    config = SPACES[MODEL].space(trial, limits)
    attributes = {"config": config, "seed": 0, "origin": {"kind": "study", "rung": None}, "started_at": time.time()}
    names = ("val_top1", "val_top5", "val_loss", "train_top1", "train_top5", "train_loss", "images_per_second")
    metrics = {"epoch": 1, "recorded_at": time.time(), "node": "127.0.0.1", "process": 1} | dict.fromkeys(names, 0.123)
    ending, completed = {"status": "completed", "error": "", "ended_at": time.time()}, TrialState.COMPLETE

    def open_study(name: str) -> tuple[RDBStorage, int]:
        storage = open_storage(f"sqlite:///{folder / name}")
        return storage, storage.create_new_study([StudyDirection.MAXIMIZE], name)

    theirs, their_study = open_study("optuna.db")
    ours, our_study = open_study("ours.db")

    def write_by_optuna(number: int) -> None:
        template = create_trial(
            state=TrialState.RUNNING, params=trial.params, distributions=trial.distributions, user_attrs=attributes
        )
        identifier = theirs.create_new_trial(their_study, template)
        theirs.set_trial_user_attr(identifier, "epoch_0001", metrics)
        theirs.set_trial_intermediate_value(identifier, 1, metrics["val_top1"])
        theirs.set_trial_user_attr(identifier, "ending", ending)
        theirs.set_trial_state_values(identifier, completed, [metrics["val_top1"]])

    def write_by_us(number: int) -> None:
        identifier = commits.insert_trial(ours, our_study, number, trial.params, trial.distributions, attributes)
        commits.insert_epoch(ours, identifier, metrics)
        commits.insert_ending(ours, identifier, ending, completed, metrics["val_top1"])

    connection = sqlite3.connect(folder / "row.db")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE t (number INTEGER)")

    def write_row(number: int) -> None:
        with connection:
            connection.execute("INSERT INTO t VALUES (?)", (number,))

    return [write_by_optuna, write_by_us, write_row]


def measure(write: Callable[[int], None], numbers: range) -> tuple[float, float]:
    """(CPU, wall-clock) milliseconds of writing a trial."""
    start, cpu = time.perf_counter(), time.process_time()
    for number in numbers:
        write(number)
    spent = (time.process_time() - cpu, time.perf_counter() - start)
    return spent[0] * 1000 / len(numbers), spent[1] * 1000 / len(numbers)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer trials; writes no result file")
    quick = parser.parse_args().quick
    print(describe(), flush=True)
    rounds, num_trials = (3, 20) if quick else (7, 60)
    with tempfile.TemporaryDirectory() as folder:
        writers = make_writers(Path(folder))
        for write in writers:
            measure(write, range(10))  # warms up
        spent = [
            [measure(write, range(10 + n * num_trials, 10 + (n + 1) * num_trials)) for write in writers]
            for n in range(rounds)
        ]
    lines = [
        f"| a trial, n = {rounds} rounds of {num_trials} | commits | CPU ms | wall-clock ms |",
        "|---|---|---|---|",
    ]
    kinds = (("a trial by Optuna's calls", 5), ("a trial by ours", 3), ("one number by sqlite3 alone: the disk", 1))
    for place, (name, num_commits) in enumerate(kinds):
        cpu, wall = ([row[place][kind] for row in spent] for kind in (0, 1))
        lines.append(f"| {name} | {num_commits} | {spread(cpu)} | {spread(wall)} |")
    cpu, wall = ([theirs[kind] / ours[kind] for theirs, ours, _ in spent] for kind in (0, 1))
    said = f"Optuna's calls over ours, round by round: CPU {spread(cpu)} (at least {LEAST_RATIO:g}), wall-clock "
    said += f"{spread(wall)}; n = {rounds}"
    if not quick:
        write_result("commits", "What it costs to write a trial into the study's database", [*lines, "", said])
    print("\n".join([*lines, "", said]))
    return 0 if statistics.median(cpu) >= LEAST_RATIO else 1


if __name__ == "__main__":
    sys.exit(main())

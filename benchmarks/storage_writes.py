"""Measures the cost of recording a trial: over the log file, over SQLite by Optuna's public calls, in memory alone.

    python -m benchmarks.storage_writes [--quick]

A trial here is a proposal of the baseline's space, five epochs and an ending, recorded by the journal of a search. Log
file and database lie on the disk of $TMPDIR; the three write in turn. Recording alone: nothing is proposed or decided.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.machine import busy_seconds, describe, spread, write_result
from tune_sketch.config.seeds import derive_seed
from tune_sketch.events import Epoch, Source, Worker
from tune_sketch.samplers.base import SearchTask, propose_fixed
from tune_sketch.search_spaces import SpaceLimits, known_space, paper_configuration
from tune_sketch.storage.database import open_database, open_log
from tune_sketch.storage.journal import Journal

MODEL, NUM_EPOCHS = "baseline", 5
LOG, SQLITE, MEMORY = "log file", "SQLite", "in memory"
NAMES = ("train_loss", "train_top1", "train_top5", "val_loss", "val_top1", "val_top5", "images_per_second")
LEAST_RATIO = 2.0  # of CPU time, SQLite over the log file


def open_journals(folder: Path) -> dict[str, Journal]:
    """An empty journal of each kind."""
    return {
        LOG: Journal(open_log(folder / "journal.log"), "writes", create=True),
        SQLITE: Journal(open_database(f"sqlite:///{folder / 'study.db'}"), "writes", create=True),
        MEMORY: Journal(),
    }


def make_writer() -> Callable[[Journal], None]:
    """A function that records one trial."""
    limits = SpaceLimits(max_epochs=50, pretrained=False)
    task = SearchTask(known_space(MODEL).space, limits, rungs=(50,), num_samples=10**6)
    proposal = propose_fixed(task, paper_configuration(MODEL, limits), Source("paper"))
    metrics = dict.fromkeys(NAMES, 0.123) | {"learning_rate": 0.1, "epoch_seconds": 1.5, "micro_batch": 32.0}

    def write(journal: Journal) -> None:
        trial = journal.add_trial(proposal, derive_seed(0, "trial", len(journal.trials)))
        for number in range(1, NUM_EPOCHS + 1):
            journal.record_epoch(trial.key, Epoch(number, metrics, Worker("127.0.0.1", 1)))
        journal.end(trial.key, "stopped")

    return write


def measure(write: Callable[[Journal], None], journal: Journal, num_trials: int) -> tuple[float, float]:
    """(CPU, wall-clock) milliseconds of recording a trial."""
    start, cpu = time.perf_counter(), time.process_time()
    for _ in range(num_trials):
        write(journal)
    spent = (time.process_time() - cpu, time.perf_counter() - start)
    return 1000 * spent[0] / num_trials, 1000 * spent[1] / num_trials


def main() -> int:
    """Measure, write the result, print the ratio; 1 when it is under its target."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer trials; writes no result file")
    quick = parser.parse_args().quick
    num_rounds, num_trials = (3, 20) if quick else (7, 30)
    write = make_writer()
    found: dict[str, list[tuple[float, float]]] = {LOG: [], SQLITE: [], MEMORY: []}
    busy, own, started = busy_seconds(), time.process_time(), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        journals = open_journals(Path(folder))
        for number in range(num_rounds + 1):  # the first warms up
            for way, journal in journals.items():
                times = measure(write, journal, num_trials)
                found[way] += [times] if number else []
        log_bytes = (Path(folder) / "journal.log").stat().st_size / len(journals[LOG].trials)
        for journal in journals.values():
            journal.close()
    seconds = time.perf_counter() - started
    others = (busy_seconds() - busy - (time.process_time() - own)) / seconds
    lines = [f"| a trial, n = {num_rounds} rounds of {num_trials} | CPU ms | wall-clock ms |", "|---|---|---|"]
    for way, rounds in found.items():
        cpu, wall = zip(*rounds, strict=True)
        lines.append(f"| {way} | {spread(cpu)} | {spread(wall)} |")
    ratios = [sqlite[0] / log[0] for sqlite, log in zip(found[SQLITE], found[LOG], strict=True)]
    said = (
        f"SQLite over the log file, CPU time round by round: {spread(ratios)} (at least {LEAST_RATIO:g}), "
        f"n = {len(ratios)}"
    )
    about = [
        f"A trial: a proposal, {NUM_EPOCHS} epochs, an ending; {log_bytes / 1000:.1f} kB of log.",
        "Median (least to most).",
        f"Other programs used {max(0.0, others):.1f} cores meanwhile.",
    ]
    print("\n".join([*about, "", *lines, "", said, describe()]))
    if not quick:
        write_result("storage_writes", "What it costs to record a trial", [*about, "", *lines, "", said])
    return int(statistics.median(ratios) < LEAST_RATIO)


if __name__ == "__main__":
    sys.exit(main())

"""Milliseconds of the searcher for one suggestion, after so many trials: under 20 at 1,000, beside Optuna's own TPE.

    python -m benchmarks.suggestion_time [--quick]

The real searchers over `baseline`'s space, taking turns, each with a history of its own of the same length in memory:
the database's commit is not counted. In one history each rung stops two of three trials, in the other none is stopped.
"""

import argparse
import math
import statistics
import sys
import time
from typing import Any

from benchmarks.cluster import MemoryJournal
from benchmarks.machine import describe, write_result
from tune_sketch.samplers.base import SpaceSearcher
from tune_sketch.samplers.strategies import STRATEGIES
from tune_sketch.schedulers.rungs import rung_epochs
from tune_sketch.search_spaces import SPACES, study_configuration
from tune_sketch.search_spaces.common import SpaceLimits

LIMITS = SpaceLimits(max_epochs=27, pretrained=False)
RUNGS = rung_epochs(3, LIMITS.max_epochs, 3)
COMPARED = ("rung-tpe", "tpe", "random")
TARGET_MS, TARGET_TRIALS = 20.0, 1000


def make_searcher(strategy: str, num_trials: int, *, are_stopped: bool) -> SpaceSearcher:
    """A searcher whose journal has so many trials, drawn at random, that ended."""
    journal: Any = MemoryJournal()
    common: dict[str, Any] = {"seed": 0, "num_samples": 10**6, "first": [study_configuration("baseline", LIMITS)]}
    common |= {"job": lambda record: {"key": record.key}}
    history = STRATEGIES["random"](journal, SPACES["baseline"], LIMITS, RUNGS, **common)
    for number in range(num_trials):
        history.suggest(f"history-{number}")
        record = journal.trials[number]
        quality = 1 - abs(math.log10(record.config["learning_rate"]) + 3) / 4 + 0.1 * math.sin(number)
        # Of nine trials six are stopped at the first rung and two at the second.
        last = RUNGS[(number % 9 > 5) + (number % 9 > 7)] if are_stopped else LIMITS.max_epochs
        length = min(last, record.config["epochs"])
        for epoch in range(1, length + 1):
            journal.now += 1.0
            journal.record_epoch(record, {"epoch": epoch, "val_top1": quality * (1 - math.exp(-epoch / 5))})
        journal.end(record, "completed" if length == record.config["epochs"] else "stopped")
    searcher = STRATEGIES[strategy](journal, SPACES["baseline"], LIMITS, RUNGS, **common)
    searcher.suggest("warm-up")  # it reads the history once
    return searcher


def measure(num_trials: int, num_suggestions: int, *, are_stopped: bool) -> dict[str, list[float]]:
    """{strategy: milliseconds of processor time of each suggestion}, measured in turn."""
    searchers = {name: make_searcher(name, num_trials, are_stopped=are_stopped) for name in COMPARED}
    found: dict[str, list[float]] = {name: [] for name in COMPARED}
    for number in range(num_suggestions):
        for name, searcher in searchers.items():
            started = time.thread_time()
            searcher.suggest(f"timed-{number}")
            found[name].append(1000 * (time.thread_time() - started))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer suggestions, at most 1,000 trials; no result file")
    arguments = parser.parse_args()
    counts, num_suggestions = ((100, 1000), 10) if arguments.quick else ((100, 300, 1000, 3000), 40)
    lines = ["| trials before | of them stopped | " + " | ".join(f"{name}, ms: median (most)" for name in COMPARED)]
    lines[0] += " | tpe / rung-tpe |"
    lines.append("|---" * (len(COMPARED) + 3) + "|")
    slowest, ratios = 0.0, []
    for num_trials in counts:
        for are_stopped in (True, False):
            found = measure(num_trials, num_suggestions, are_stopped=are_stopped)
            medians = {name: statistics.median(values) for name, values in found.items()}
            cells = [f"{medians[name]:.1f} ({max(values):.1f})" for name, values in found.items()]
            ratio = medians["tpe"] / medians["rung-tpe"]
            lines.append(
                f"| {num_trials:,} | {'8 of 9' if are_stopped else 'none'} | {' | '.join(cells)} | {ratio:.0f} |"
            )
            print(lines[-1], flush=True)
            if num_trials == TARGET_TRIALS:
                slowest = max(slowest, medians["rung-tpe"])
                ratios.append(ratio)
    if not arguments.quick:
        about = (
            f"{num_suggestions} suggestions each, processor time. `tpe` is Optuna's own, told each trial's last value."
        )
        write_result("suggestion_time", __doc__.splitlines()[0], [about, "", *lines])
    print(
        f"at {TARGET_TRIALS:,} trials rung-tpe {slowest:.1f} ms (under {TARGET_MS:g}), tpe / rung-tpe "
        f"{' and '.join(f'{ratio:.0f}' for ratio in ratios)}, n = {num_suggestions} each; {describe()}"
    )
    return 0 if slowest < TARGET_MS else 1


if __name__ == "__main__":
    sys.exit(main())

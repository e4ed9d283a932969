"""Milliseconds of the sampler per proposal, by number of earlier trials: under 20 at 1,000, beside Optuna's own TPE.

    python -m benchmarks.suggestion_time [--quick]

The real samplers over `baseline`'s space, taking turns, each with a history of its own of the same length in memory:
recording the proposal is not counted. In one history each rung stops two of three trials, in the other none is stopped.
"""

import argparse
import itertools
import math
import statistics
import sys
import time

from benchmarks.machine import describe, write_result
from tune_sketch.config.seeds import derive_seed
from tune_sketch.events import Epoch, Source, Trial
from tune_sketch.samplers import SAMPLERS, Sampler
from tune_sketch.samplers.base import SearchTask
from tune_sketch.schedulers.rungs import rung_epochs
from tune_sketch.search_spaces import known_space, paper_configuration
from tune_sketch.search_spaces.common import SpaceLimits
from tune_sketch.storage.journal import Journal

LIMITS = SpaceLimits(max_epochs=27, pretrained=False)
RUNGS = rung_epochs(3, LIMITS.max_epochs, 3)
COMPARED = ("incumbent", "tpe", "random")
TARGET_MS, TARGET_TRIALS = 20.0, 1000


def make_sampler(strategy: str, num_trials: int, *, are_stopped: bool) -> tuple[Sampler, Journal]:
    """A sampler, and a journal with a number of ended trials, drawn at random."""
    journal = Journal(clock=itertools.count().__next__)
    first = [(paper_configuration("baseline", LIMITS), Source("paper"))]
    task = SearchTask(known_space("baseline").space, LIMITS, RUNGS, num_samples=10**6, first=first)
    history = SAMPLERS["random"](task)
    for number in range(num_trials):
        trial = add_trial(history, journal)
        quality = 1 - abs(math.log10(float(trial.config["learning_rate"])) + 3) / 4 + 0.1 * math.sin(number)
        # Of nine trials six are stopped at the first rung and two at the second.
        last = RUNGS[(number % 9 > 5) + (number % 9 > 7)] if are_stopped else LIMITS.max_epochs
        length = min(last, int(trial.config["epochs"]))
        for epoch in range(1, length + 1):
            journal.record_epoch(trial.key, Epoch(epoch, {"val_top1": quality * (1 - math.exp(-epoch / 5))}))
        journal.end(trial.key, "completed" if length == trial.config["epochs"] else "stopped")
    sampler = SAMPLERS[strategy](task)
    add_trial(sampler, journal)  # it reads the history once
    return sampler, journal


def add_trial(sampler: Sampler, journal: Journal) -> Trial:
    """The next trial, as a search records it."""
    proposal = sampler.next(journal)
    assert proposal is not None
    return journal.add_trial(proposal, derive_seed(0, "trial", len(journal.trials)))


def measure(num_trials: int, num_proposals: int, *, are_stopped: bool) -> dict[str, list[float]]:
    """{strategy: milliseconds of processor time of each proposal}, measured in turn."""
    samplers = {name: make_sampler(name, num_trials, are_stopped=are_stopped) for name in COMPARED}
    found: dict[str, list[float]] = {name: [] for name in COMPARED}
    for _ in range(num_proposals):
        for name, (sampler, journal) in samplers.items():
            started = time.thread_time()
            proposal = sampler.next(journal)
            found[name].append(1000 * (time.thread_time() - started))
            assert proposal is not None
            journal.add_trial(proposal, derive_seed(0, "trial", len(journal.trials)))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer proposals, at most 1,000 trials; no result file")
    arguments = parser.parse_args()
    counts, num_proposals = ((100, 1000), 10) if arguments.quick else ((100, 300, 1000, 3000), 40)
    lines = ["| trials before | of them stopped | " + " | ".join(f"{name}, ms: median (most)" for name in COMPARED)]
    lines[0] += " | tpe / incumbent |"
    lines.append("|---" * (len(COMPARED) + 3) + "|")
    slowest, ratios = 0.0, []
    for num_trials in counts:
        for are_stopped in (True, False):
            found = measure(num_trials, num_proposals, are_stopped=are_stopped)
            medians = {name: statistics.median(values) for name, values in found.items()}
            cells = [f"{medians[name]:.1f} ({max(values):.1f})" for name, values in found.items()]
            ratio = medians["tpe"] / medians["incumbent"]
            lines.append(
                f"| {num_trials:,} | {'8 of 9' if are_stopped else 'none'} | {' | '.join(cells)} | {ratio:.0f} |"
            )
            print(lines[-1], flush=True)
            if num_trials == TARGET_TRIALS:
                slowest = max(slowest, medians["incumbent"])
                ratios.append(ratio)
    if not arguments.quick:
        about = f"{num_proposals} proposals each, processor time. `tpe` is Optuna's own, told each trial's last value."
        write_result("suggestion_time", __doc__.splitlines()[0], [about, "", *lines])
    print(
        f"at {TARGET_TRIALS:,} trials incumbent {slowest:.1f} ms (under {TARGET_MS:g}), tpe / incumbent "
        f"{' and '.join(f'{ratio:.0f}' for ratio in ratios)}, n = {num_proposals} each; {describe()}"
    )
    return 0 if slowest < TARGET_MS else 1


if __name__ == "__main__":
    sys.exit(main())

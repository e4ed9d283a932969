"""Finds the share of --total-time that is best kept for retraining: python -m benchmarks.total_time [--quick].

Searches are simulated on known learning curves, with the real sampler and ASHA, on two workers. What a search knows
after each share of T is given to the program's own plan of retrainings, whose curves are known too. Regret of the
network that comes out: 0 for the best configuration known at its full length, 1 for the median of random ones. T is
counted in median full trainings.
"""

import argparse
import statistics
import sys
from collections import defaultdict
from dataclasses import replace

import numpy as np
import optuna

from benchmarks.curves.tasks import SketchTable, Task, load_tasks
from benchmarks.machine import write_result
from benchmarks.search_quality_report import interval
from tests.support.untrained import make_job
from tune_sketch.backend.simulated import Curve, SimulatedBackend
from tune_sketch.config.seeds import derive_seed
from tune_sketch.config.total_time import RETRAINING_SHARE
from tune_sketch.events import Job, Source, Trial
from tune_sketch.retraining.time_plan import find_candidates, plan_retrainings
from tune_sketch.samplers import SAMPLERS
from tune_sketch.samplers.base import SearchTask
from tune_sketch.schedulers.asha import ASHA
from tune_sketch.schedulers.queue import TrialQueue
from tune_sketch.schedulers.recorder import Recorder
from tune_sketch.schedulers.rungs import rung_epochs
from tune_sketch.search_spaces.common import fewest_epochs
from tune_sketch.storage.journal import Journal

SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
TIMES = (2.0, 4.0, 8.0, 16.0)
NUM_WORKERS, NUM_BEST, MEAN_SEEDS = 2, 2, 3


def simulate(task: Task, seconds: float, seed: int) -> list[Trial]:
    """The trials of a search that was left to itself for so long."""

    def curve_of(job: Job) -> Curve:
        curve = task.curve(job.config, derive_seed(task.name, job.seed))
        return Curve(curve.values.tolist(), curve.losses.tolist(), curve.seconds.tolist())

    backend = SimulatedBackend(curve_of, NUM_WORKERS, end_at=seconds)
    journal = Journal(clock=backend.clock)
    rungs = rung_epochs(task.grace_epochs, task.max_epochs, 3)
    first = [(params, Source("paper")) for params in task.first]
    sampler = SAMPLERS["incumbent"](SearchTask(task.space, task.limits, rungs, 2000, seed, first, 1))

    def propose() -> Trial | None:
        proposal = sampler.next(journal)
        seed_of_trial = derive_seed(seed, "trial", len(journal.trials))
        return None if proposal is None else journal.add_trial(proposal, seed_of_trial)

    queue = TrialQueue(journal, [], propose, make_job)
    backend.simulate(queue, Recorder(journal, queue, ASHA(rungs, 3)))
    return journal.trials


def network(task: Task, trials: list[Trial], now: float, seconds: float, seed: int) -> tuple[float, bool]:
    """(validation value without noise of the network that comes out, whether it was retrained).

    The search is over at `now`, and the remaining seconds are for retraining, which are the search's where nothing
    fits into them.
    """
    known = known_at(trials, now)
    seen: dict[int, list[float]] = defaultdict(list)
    true: dict[int, float] = {}
    for planned in plan_retrainings(
        find_candidates(known, NUM_BEST, fewest_epochs=fewest_epochs(task.limits)),
        {},
        seconds=seconds,
        num_workers=NUM_WORKERS,
        mean_seeds=MEAN_SEEDS,
    ):
        config = known[planned.number].config | {"epochs": task.max_epochs}
        curve = task.curve(config, derive_seed(seed, planned.number, planned.seed_index))
        seen[planned.number].append(float(curve.values[planned.num_epochs - 1]))
        true[planned.number] = smooth(task, config, planned.num_epochs)
    if seen:
        return true[max(sorted(seen), key=lambda number: statistics.fmean(seen[number]))], True
    best = max(
        (t for t in known_at(trials, now + seconds) if t.epochs),
        key=lambda t: (t.epochs[-1].val_top1, -t.number),
        default=None,
    )
    if best is None:
        return task.scale()[1], False
    return smooth(task, best.config | {"epochs": task.max_epochs}, len(best.epochs)), False


def known_at(trials: list[Trial], now: float) -> list[Trial]:
    """The trials as they were recorded by then."""
    return [
        replace(trial, epochs=tuple(epoch for epoch in trial.epochs if epoch.recorded_at <= now))
        for trial in trials
        if trial.started_at <= now
    ]


def smooth(task: Task, config: dict[str, object], num_epochs: int) -> float:
    """The value after a number of epochs without the noise of a seed: the mean of many seeds."""
    num_seeds = 20 if isinstance(task, SketchTable) else 1
    return statistics.fmean(float(task.curve(config, seed).values[num_epochs - 1]) for seed in range(num_seeds))


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(allow_abbrev=False, description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two tasks, one seed; writes no result file")
    quick = parser.parse_args(argv).quick
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    tasks = [SketchTable("sketchy"), SketchTable("doodles"), *load_tasks("choose", ("taskset",)).values()]
    tasks += list(load_tasks("choose", ("lcbench",)).values())[:6]
    seeds = range(1 if quick else 3)
    regrets: dict[tuple[float, float], list[np.ndarray]] = defaultdict(list)  # per task its seeds
    retrained: dict[tuple[float, float], list[bool]] = defaultdict(list)
    for task in tasks[:2] if quick else tasks:
        best, median, unit = task.scale()
        own: dict[tuple[float, float], list[float]] = defaultdict(list)
        for seed in seeds:
            trials = simulate(task, TIMES[-1] * unit, seed)
            for total in TIMES:
                for share in SHARES:
                    spent = (1 - share) * total * unit
                    value, is_retrained = network(task, trials, spent, share * total * unit, seed)
                    own[total, share].append((best - value) / (best - median))
                    retrained[total, share].append(is_retrained)
        for key, values in own.items():
            regrets[key].append(np.array(values))
        print(task.name, flush=True)
    lines = [
        f"{len(seeds)} searches on each of {len(regrets[TIMES[0], 0.0])} tasks; regret [95 % over tasks], and how many "
        "networks were retrained;",
        f"the others are the search's own, for want of time. The program keeps {RETRAINING_SHARE:.0%}.",
        "",
        f"| share | {' | '.join(f'T = {total:g} trainings' for total in TIMES)} |",
        f"|---|{'---|' * len(TIMES)}",
    ]
    for share in SHARES:
        cells = []
        for total in TIMES:
            mean, low, high = interval(regrets[total, share])
            cells.append(f"{mean:.2f} [{low:.2f}, {high:.2f}], {statistics.fmean(retrained[total, share]):.0%}")
        lines.append(f"| {share:.0%} | {' | '.join(cells)} |")
    if quick:
        print("\n".join(lines))
    else:
        print(write_result("total_time", "The share of --total-time that is kept for retraining", lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())

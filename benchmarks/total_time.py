"""Finds the share of --total-time that is best kept for retraining: python -m benchmarks.total_time [--quick].

Searches are simulated on known learning curves, with the real sampler and ASHA, on two workers. What a search knows
after each share of T is given to the program's own plan of retrainings, whose curves are known too. Regret of the
network that comes out: 0 for the best configuration known at its full length, 1 for the median of random ones. T is
counted in median full trainings.

A second table: what a search loses that ends early enough for a last step of its own best network, which is shorter
where it would take more than a share of T, in points of validation top-1 on tables whose values are accuracies. What a
last step brings is measured by other benchmarks (searches, last_step).
"""

import argparse
import itertools
import statistics
import sys
from collections import defaultdict
from dataclasses import replace

import numpy as np
import optuna

from benchmarks.curves.tasks import SketchTable, Task, load_tasks
from benchmarks.machine import write_result
from benchmarks.race import interval as interval_of_mean
from benchmarks.search_quality_report import interval
from tests.support.untrained import make_job
from tune_sketch.backend.simulated import Curve, SimulatedBackend
from tune_sketch.config.seeds import derive_seed
from tune_sketch.config.total_time import (
    KEPT_LAST_STEP_LENGTH,
    LAST_STEP_SHARE,
    LEAST_LAST_STEP_LENGTH,
    RETRAINING_SHARE,
)
from tune_sketch.events import Job, Source, Trial
from tune_sketch.retraining.time_plan import find_candidates, plan_retrainings
from tune_sketch.retraining.timetable import SPARE_EPOCHS
from tune_sketch.samplers import SAMPLERS
from tune_sketch.samplers.base import SearchTask
from tune_sketch.schedulers.asha import ASHA
from tune_sketch.schedulers.queue import TrialQueue
from tune_sketch.schedulers.recorder import Recorder
from tune_sketch.schedulers.rungs import best_own_network, rung_epochs
from tune_sketch.search_spaces.common import fewest_epochs
from tune_sketch.storage.journal import Journal

LAST_STEP_SHARES = (0.1, 0.2, 0.3, 0.4)
LAST_STEP_TIMES = (1.0, 2.0, 4.0, 8.0)
EPOCH_GROWTH = 4 / 3  # of an epoch with the validation drawings, which are a third of the others
SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
TIMES = (2.0, 4.0, 8.0, 16.0)
NUM_WORKERS, NUM_BEST, MEAN_SEEDS = 2, 2, 3


def simulate(task: Task, seconds: float, seed: int, *, with_recipe: bool = False) -> list[Trial]:
    """The trials of a search that was left to itself for so long. with_recipe: where the task has one."""

    def curve_of(job: Job) -> Curve:
        curve = task.curve(job.config, derive_seed(task.name, job.seed))
        return Curve(curve.values.tolist(), curve.losses.tolist(), curve.seconds.tolist())

    backend = SimulatedBackend(curve_of, NUM_WORKERS, end_at=seconds)
    journal = Journal(clock=backend.clock)
    rungs = rung_epochs(task.grace_epochs, task.max_epochs, 3)
    first = [(params, Source("paper")) for params in task.first]
    first += [(task.recipe, Source("recipe"))] if with_recipe and task.recipe is not None else []
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


def own_network(trials: list[Trial], seconds: float, share: float) -> tuple[Trial | None, bool]:
    """(the best trial as it was when the search ended, whether time was left for its last step).

    The search ends at the first epoch after which no more than the last step's time is left, or the share, if the
    shortest last step fits into that; else when all the time is over.
    """
    moments = sorted({epoch.recorded_at for trial in trials for epoch in trial.epochs if epoch.recorded_at <= seconds})
    for now in moments if share else ():
        best = best_own_network(known_at(trials, now))
        assert best is not None
        with_spare = EPOCH_GROWTH * best.train_seconds * (1 + SPARE_EPOCHS / len(best.epochs))
        kept = min(share * seconds, KEPT_LAST_STEP_LENGTH * with_spare)
        if kept >= LEAST_LAST_STEP_LENGTH * with_spare and now + kept >= seconds:
            return best, True
    return best_own_network(known_at(trials, seconds)), False


def last_step_rows(tasks: list[Task], seeds: range) -> list[str]:
    """The second table, in Markdown."""
    lost: dict[tuple[float, float], list[float]] = defaultdict(list)
    for task, seed in itertools.product(tasks, seeds):
        _, median, unit = task.scale()
        trials = simulate(task, LAST_STEP_TIMES[-1] * unit, seed, with_recipe=True)
        for total in LAST_STEP_TIMES:
            values = {}
            for share in (0.0, *LAST_STEP_SHARES):
                best, is_kept = own_network(trials, total * unit, share)
                value = smooth(task, best.config | {"epochs": task.max_epochs}, len(best.epochs)) if best else median
                values[share] = value
                if is_kept:
                    lost[total, share].append(100 * (values[0.0] - value))
    lines = [
        f"{len(seeds)} searches on each of {len(tasks)} tables: points lost [95 %] by the searches that ended for a "
        f"last step, and how many did. The program gives it up to {LAST_STEP_SHARE:.0%}.",
        "",
        f"| share | {' | '.join(f'T = {total:g} trainings' for total in LAST_STEP_TIMES)} |",
        f"|---|{'---|' * len(LAST_STEP_TIMES)}",
    ]
    for share in LAST_STEP_SHARES:
        cells = []
        for total in LAST_STEP_TIMES:
            values_lost = np.array(lost[total, share])
            if not len(values_lost):
                cells.append("none")
                continue
            kept = f"{len(values_lost) / len(tasks) / len(seeds):.0%}"
            low, high = interval_of_mean(values_lost)
            cells.append(f"{values_lost.mean():.1f} [{low:.1f}, {high:.1f}], {kept}")
        lines.append(f"| {share:.0%} | {' | '.join(cells)} |")
    return lines


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
    accuracies = [*load_tasks("choose", ("lcbench", "pretrained")).values()]
    lines += ["", *last_step_rows(accuracies[:3] if quick else accuracies, seeds)]
    if quick:
        print("\n".join(lines))
    else:
        print(write_result("total_time", "The share of --total-time that is kept for retraining", lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())

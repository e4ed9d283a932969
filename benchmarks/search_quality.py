"""Compares samplers on learning curves that are known: python -m benchmarks.search_quality [--quick].

    ... rows --seeds 20 --workers 8 25 --seconds 280 --part 0 --parts 2   # appends what is missing; stops in time
    ... report                                                            # tables, intervals, targets; exit code

A search is simulated on W asynchronous workers with the real sampler and ASHA (simulated_search.py). t is counted in
median full trainings, so W x t trainings' worth of time is spent. Regret is 0 for the best configuration known and 1
for the median of random ones. The sampler's own time is part of the simulated time.
"""

import argparse
import csv
import io
import itertools
import math
import random
import sys
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import optuna

from benchmarks import machine
from benchmarks.curves.tasks import GROUPS, SHARED, Task, load_tasks
from benchmarks.opponents import METHODS, factors_of
from benchmarks.simulated_search import Outcome, simulate
from tune_sketch.events import Config, Source
from tune_sketch.samplers.warm_start import choose_in_turn
from tune_sketch.schedulers.rungs import rung_epochs
from tune_sketch.storage.facts import EarlierTrial

ROWS = Path(__file__).parent / "results" / "search_quality-cpu.csv"
TIMES = {
    **{1: (2.0, 4.0, 8.0), 2: (2.0, 4.0, 8.0, 16.0), 4: (2.0, 4.0, 8.0)},  # few trainings
    **{8: (1.0, 2.0, 4.0, 8.0), 25: (0.5, 1.0, 2.0, 4.0, 8.0), 200: (0.5, 1.0, 2.0)},
}
TEXTS = ("group", "task", "method")
NUMBERS = ("workers", "seed", "t", "by_rung", "by_best", "best", "median", "num_trials", "sampler_ms")
COLUMNS = TEXTS + NUMBERS


def run_one(
    task: Task,
    method: str,
    num_workers: int,
    seed: int,
    others: Sequence[Task] = (),
    times: Sequence[float] | None = None,
    earlier: Sequence[tuple[Config, Source]] = (),
) -> list[dict[str, Any]]:
    """One simulated search; a row for each time.

    others: tasks of which a warm start may know earlier searches; earlier: what is tried after the first
    configurations in any case.
    """
    unit_seconds = task.scale()[2]
    chosen, times = METHODS[method], times or TIMES[num_workers]
    outcome = simulate(
        task,
        lambda search_task: chosen.make_sampler(search_task, **factors_of(method, task)),
        num_workers=num_workers,
        times=[t * unit_seconds for t in times],
        # The final choice is made by one rule for all: at the product's rungs.
        rungs=rung_epochs(task.grace_epochs, task.max_epochs, 3),
        scheduler_rungs=chosen.rungs(task),
        reduction_factor=chosen.reduction_factor or 3,
        seed=seed,
        first=list(task.first),
        recipe=task.recipe,
        earlier=search_earlier(task, others, seed) if method == "incumbent-warm" else earlier,
        passes=chosen.passes,
    )
    return to_rows(task, method, num_workers, seed, times, outcome)


def to_rows(
    task: Task, method: str, num_workers: int, seed: int, times: Sequence[float], outcome: Outcome
) -> list[dict[str, Any]]:
    """A row for each time of a search; where nothing was found yet, the median of random configurations."""
    best, median, _ = task.scale()
    common = {
        "group": task.group,
        "task": task.name,
        "method": method,
        "workers": num_workers,
        "seed": seed,
        "best": best,
        "median": median,
        "num_trials": outcome.num_trials,
        "sampler_ms": round(1000 * outcome.sampler_seconds / max(1, outcome.num_suggestions), 3),
    }
    found = zip(times, outcome.by_rung, outcome.by_best, strict=True)
    return [
        common | {"t": t, "by_rung": median if r is None else r, "by_best": median if b is None else b}
        for t, r, b in found
    ]


@lru_cache(maxsize=1000)
def find_best(task: Task, seed: int) -> tuple[Config, ...]:
    """The best parameters of a cold search with 8 workers for 4 full trainings' time."""
    rungs = rung_epochs(task.grace_epochs, task.max_epochs, 3)
    outcome = simulate(
        task,
        METHODS["incumbent"].make_sampler,
        num_workers=8,
        times=[4 * task.scale()[2]],
        rungs=rungs,
        scheduler_rungs=rungs,
        reduction_factor=3,
        seed=seed + 1000,  # an earlier search would have had another seed
        first=list(task.first),
        recipe=task.recipe,
    )
    return tuple(outcome.best_params)


def search_earlier(task: Task, others: Sequence[Task], seed: int) -> list[tuple[Config, Source]]:
    """Trials for a warm start, from earlier searches on up to two other tasks of the group, drawn by the seed."""
    same = [other for other in others if other.group == task.group and other is not task]
    chosen = random.Random(f"{task.name}/{seed}").sample(same, min(2, len(same)))
    ranked = [
        [
            EarlierTrial(other.name, number, params, other.max_epochs)
            for number, params in enumerate(find_best(other, seed))
        ]
        for other in chosen
    ]
    return [(earlier.params, Source("warm-start")) for earlier in choose_in_turn(ranked)]


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of earlier runs, numbers as numbers."""
    return [{k: v if k in TEXTS else float(v) for k, v in row.items()} for row in machine.read_rows(path)]


class Search(NamedTuple):
    """One simulated search: what it is known by in a file of rows, and how to do it."""

    task: str
    method: str
    workers: int
    seed: int
    run: Callable[[], list[dict[str, Any]]]


def run_missing(path: Path, searches: Iterable[Search], seconds: float = math.inf) -> int:
    """Append the searches that the file has not, one after the other, until the time is over; how many are missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    done = {(row["task"], row["method"], int(row["workers"]), int(row["seed"])) for row in read_rows(path)}
    deadline, num_missing = time.monotonic() + seconds, 0
    for search in searches:
        if search[:4] in done:
            continue
        if time.monotonic() > deadline:
            num_missing += 1
        else:
            append_rows(path, search.run())
    return num_missing


def list_searches(
    tasks: Sequence[Task],
    methods: Sequence[str],
    workers: Sequence[int],
    seeds: Sequence[int],
    others: Sequence[Task] = (),
    times: Sequence[float] | None = None,
) -> Iterator[Search]:
    """Each method on each task, seed after seed, so that any beginning of them is a fair comparison."""
    for seed, num_workers, task, method in itertools.product(seeds, workers, tasks, methods):
        run = partial(run_one, task, method, num_workers, seed, others, times)
        yield Search(task.name, method, num_workers, seed, run)


def append_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """One write, so that two processes may append to one file."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if not path.exists():
        writer.writerow(COLUMNS)
    writer.writerows([row[name] if name in TEXTS else f"{row[name]:.7g}" for name in COLUMNS] for row in rows)
    with path.open("a") as file:
        file.write(text.getvalue())


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(allow_abbrev=False, description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("what", nargs="?", choices=["rows", "report"], default="report")
    add("--quick", action="store_true", help="a few searches, in under five minutes on two cores")
    add("--tasks", choices=["choose", "report"], default="report", help="settings may be chosen on the first only")
    add("--group", nargs="+", choices=GROUPS, default=GROUPS)
    add("--methods", nargs="+", default=list(METHODS), metavar="M", help=", ".join(METHODS))
    add("--workers", nargs="+", type=int, default=[8, 25])
    add("--seeds", type=int, nargs="+", default=[20], help="how many, or from and to")
    add("--seconds", type=float, default=280.0, help="begin no search later than this")
    add("--part", type=int, default=0)
    add("--parts", type=int, default=1)
    add("--rows", type=Path, default=ROWS, help="the file of all searches")
    arguments = parser.parse_args(argv)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if arguments.what == "report" and not arguments.quick:
        from benchmarks.search_quality_report import write_report

        return write_report(read_rows(arguments.rows), arguments.rows.with_suffix(".md"))
    if arguments.quick:
        from benchmarks.search_quality_report import judge_quickly

        return judge_quickly(run_quick())
    others = list(load_tasks(arguments.tasks, arguments.group).values())
    tasks = [task for task in others if zlib.crc32(task.name.encode()) % arguments.parts == arguments.part]
    seeds = list(range(*arguments.seeds))
    started = time.monotonic()
    searches = list_searches(tasks, arguments.methods, arguments.workers, seeds, others)
    missing = run_missing(arguments.rows, searches, arguments.seconds)
    print(f"{time.monotonic() - started:.0f} s, {missing} searches missing")
    return 0


def run_quick() -> list[dict[str, Any]]:
    """A few searches of the methods that matter most; without the shared curves on the sketch table alone."""
    tasks = load_tasks("report", ("lcbench", "sketch") if SHARED.exists() else ("sketch",))
    names = [name for name in tasks if name.startswith("lcbench")][::4] + [n for n in tasks if n.startswith("sketch")]
    rows = []
    for seed in range(3):
        for name in names:
            for method in ("incumbent", "random+asha", "ray-default", "one-factor"):
                rows += run_one(tasks[name], method, 8, seed)
    return rows


if __name__ == "__main__":
    sys.exit(main())

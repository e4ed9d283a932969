"""Searches by other packages on known curves: python -m benchmarks.other_searchers --workers 2 8 --seeds 2.

Appends what is missing to the rows of search_quality.py, whose report ranks them beside ours. Each package has an
environment of its own, made on first use from its file in requirements/ under --cache: their dependencies clash.
"""

import argparse
import itertools
import sys
import time
import zlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import optuna

from benchmarks.against_tools.environments import python_of
from benchmarks.curves.tasks import Task, load_tasks
from benchmarks.other_searchers.process import REQUIREMENTS, SearcherProcess
from benchmarks.other_searchers.simulation import simulate
from benchmarks.search_quality import ROWS, TIMES, Search, run_missing, to_rows
from tune_sketch.data.request import default_cache_dir
from tune_sketch.schedulers.rungs import rung_epochs


class Package(NamedTuple):
    """A searcher: its script, the environment that it needs (None: ours) and what its script is told."""

    script: str
    environment: str | None
    arguments: tuple[str, ...] = ()


PACKAGES = {
    "optuna-hyperband": Package("optuna_hyperband", None),
    "neps-priorband": Package("neps_priorband", "neps"),
    "smac-hyperband": Package("smac_hyperband", "smac"),
    "syne-tune-asha-cqr": Package("syne_tune_asha", "syne_tune", ("cqr",)),
    "syne-tune-asha-bore": Package("syne_tune_asha", "syne_tune", ("bore",)),
    "dehb": Package("dehb_async", "dehb"),
}


def run_one(task: Task, method: str, searcher: SearcherProcess, num_workers: int, seed: int) -> list[dict[str, Any]]:
    """One simulated search; a row for each time."""
    times, unit_seconds = TIMES[num_workers], task.scale()[2]
    outcome = simulate(
        task,
        searcher,
        num_workers=num_workers,
        times=[t * unit_seconds for t in times],
        rungs=rung_epochs(task.grace_epochs, task.max_epochs, 3),
        seed=seed,
        first=[*task.first, *([task.recipe] if task.recipe else [])],
    )
    return to_rows(task, method, num_workers, seed, times, outcome)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(allow_abbrev=False, description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--tasks", choices=["choose", "report"], default="report", help="settings may be chosen on the first only")
    add("--methods", nargs="+", choices=PACKAGES, default=list(PACKAGES), metavar="M", help=", ".join(PACKAGES))
    add("--workers", nargs="+", type=int, choices=TIMES, default=[2, 8])
    add("--seeds", type=int, nargs="+", default=[2], help="how many, or from and to")
    add("--seconds", type=float, default=280.0, help="begin no search later than this")
    add("--part", type=int, default=0)
    add("--parts", type=int, default=1)
    add("--rows", type=Path, default=ROWS, help="the file of all searches")
    add("--cache", type=Path, default=default_cache_dir() / "other-searchers", help="of the environments")
    arguments = parser.parse_args(argv)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    tasks = list(load_tasks(arguments.tasks).values())
    tasks = [task for task in tasks if zlib.crc32(task.name.encode()) % arguments.parts == arguments.part]
    started = time.monotonic()
    missing = 0
    for method in arguments.methods:
        package = PACKAGES[method]
        python = python_of(package.environment, arguments.cache, REQUIREMENTS)
        seconds = arguments.seconds - (time.monotonic() - started)
        with SearcherProcess(python, package.script, package.arguments) as searcher:
            searches = (
                Search(task.name, method, workers, seed, partial(run_one, task, method, searcher, workers, seed))
                for seed, workers, task in itertools.product(range(*arguments.seeds), arguments.workers, tasks)
            )
            missing += run_missing(arguments.rows, searches, seconds)
    print(f"{time.monotonic() - started:.0f} s, {missing} searches missing")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Bundles what was best in recorded trainings, and judges it on other drawings: python -m benchmarks.experience.

    ... make               # search_spaces/experience.json, from benchmarks/curves/
    ... rows --seeds 60    # appends the simulated searches that are missing
    ... [--quick]          # the table; 1 where the shipped experience certainly finds less

A search tries it after the paper's configuration and today's recipe. What is shipped, of `baseline` from scratch, comes
from doodles and is judged on Sketchy, of which it knows nothing: there results are reported. The table is of a space
without the parts of today's recipe, which are added. It is as many configurations as --warm-start takes.

That of SqueezeNet with ImageNet weights gains as much in simulation, and nothing when its configurations are trained
anew (experience_trained.py): what looked best on one set was small changes of the recipe, and luck. It is not shipped.
"""

import argparse
import itertools
import json
import statistics
import sys
from collections.abc import Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import optuna

from benchmarks.curves.tasks import PretrainedTable, RecordedTable, SketchTable
from benchmarks.machine import write_result
from benchmarks.opponents import METHODS
from benchmarks.search_quality import Search, read_rows, run_missing, run_one
from tune_sketch.events import Config, Source
from tune_sketch.samplers.warm_start import NUM_TAKEN
from tune_sketch.search_spaces import known_space
from tune_sketch.statistics import t_interval

ROWS = Path(__file__).parent / "results" / "experience-cpu.csv"
SHIPPED = Path(__file__).parents[1] / "search_spaces" / "experience.json"
NUM_SHIPPED = NUM_TAKEN
COUNTS = (0, 2, 4, 6)  # configurations of experience that a search begins with
PARTS = ("head", "warmup_steps", "averaging")  # of today's recipe, which the sketch table does not know
LAST_EPOCHS = 5  # whose mean ranks the trainings: one epoch alone favours the lucky ones
WORKERS, TIMES = (1, 2, 4, 8), (1.0, 2.0, 4.0, 8.0)
PLAIN_NAMES = {"quickdraw": "Quick, Draw!", "sketchy": "Sketchy", "doodles": "doodles"}


class Pair(NamedTuple):
    """One table of a network, and the one on which its experience is judged."""

    network: str
    weights: str  # as in experience.json
    table: type[RecordedTable]
    source: str
    target: str
    is_shipped: bool = False


PAIRS = (
    Pair("squeezenet1_1", "pretrained", PretrainedTable, "quickdraw", "sketchy"),
    Pair("squeezenet1_1", "pretrained", PretrainedTable, "sketchy", "quickdraw"),
    Pair("baseline", "from scratch", SketchTable, "doodles", "sketchy", is_shipped=True),
    Pair("baseline", "from scratch", SketchTable, "sketchy", "doodles"),
)


def find_best(task: RecordedTable, num_best: int) -> list[tuple[int, Config]]:
    """(row of the table, sampled parameters) of its best trainings, at full length; not what is tried anyway."""
    tried = [without_epochs(params) for params in (*task.first, task.recipe) if params is not None]
    order = np.argsort(-task.values[:, -LAST_EPOCHS:].mean(axis=1), kind="stable")
    best = [(int(row), task.params[row]) for row in order if without_epochs(task.params[row]) not in tried]
    return [(row, shorten(params) | {"epochs": task.max_epochs}) for row, params in best[:num_best]]


def shorten(params: Config) -> Config:
    """Four digits of each number."""
    return {name: float(f"{value:.4g}") if isinstance(value, float) else value for name, value in params.items()}


def without_epochs(params: Config) -> Config:
    return {name: value for name, value in params.items() if name != "epochs"}


def add_parts(network: str, params: Config) -> Config:
    """With the parts of today's recipe that the sketch table does not know."""
    return params | {name: known_space(network).RECIPE[name] for name in PARTS}


def make(path: Path) -> None:
    """Write the shipped experience."""
    content: dict[str, dict[str, Any]] = {}
    for network, weights, table, source, *_ in (pair for pair in PAIRS if pair.is_shipped):
        task = load(table, source)
        known_best = find_best(task, NUM_SHIPPED)
        best = [{"training": row, "params": add_parts(network, params)} for row, params in known_best]
        known = {"drawings": PLAIN_NAMES[source], "max_epochs": task.max_epochs, "best": best}
        content.setdefault(network, {})[weights] = known
    path.write_text(json.dumps(content, indent=1) + "\n")


def method_of(count: int) -> str:
    return f"{count} known"


@cache
def load(table: type[RecordedTable], name: str) -> RecordedTable:
    return table(name)


def search(pair: Pair, count: int, workers: int, seed: int) -> list[dict[str, Any]]:
    """One simulated search that begins with as much experience."""
    METHODS[method_of(count)] = METHODS["incumbent"]
    best = find_best(load(pair.table, pair.source), count)
    known = [(params, Source("experience", run=PLAIN_NAMES[pair.source], trial=row)) for row, params in best]
    return run_one(load(pair.table, pair.target), method_of(count), workers, seed, times=TIMES, earlier=known)


def list_searches(counts: Sequence[int], workers: Sequence[int], num_seeds: int) -> Iterator[Search]:
    """Of each pair with so much experience, seed after seed."""
    for seed, pair, count, num_workers in itertools.product(range(num_seeds), PAIRS, counts, workers):
        target = load(pair.table, pair.target).name
        run = partial(search, pair, count, num_workers, seed)
        yield Search(target, method_of(count), num_workers, seed, run)


def gains_of(rows: Sequence[dict[str, Any]], task: str, count: int, workers: int, t: float) -> list[float]:
    """Points of validation top-1 that the experience brings, of each seed that has both searches."""
    of_task = [row for row in rows if (row["task"], row["workers"], row["t"]) == (task, workers, t)]
    found = {(row["method"], row["seed"]): 100 * row["by_best"] for row in of_task}
    own = {seed: value for (method, seed), value in found.items() if method == method_of(count)}
    return [value - found[method_of(0), seed] for seed, value in own.items() if (method_of(0), seed) in found]


def table(rows: Sequence[dict[str, Any]], counts: Sequence[int]) -> list[str]:
    """A line for each pair, number of workers and time: what so much experience gains over none."""
    columns = [f"{count} known, points [95 %]" for count in counts if count]
    lines = [f"| judged on | known from | workers | t | {' | '.join(columns)} | n |", "|---" * (len(columns) + 5) + "|"]
    for pair, workers, t in itertools.product(PAIRS, WORKERS, TIMES):
        task = load(pair.table, pair.target).name
        found = [gains_of(rows, task, count, workers, t) for count in counts if count]
        if all(found):
            cells = [task, pair.source, str(workers), f"{t:g}", *map(gain_text, found), str(len(found[0]))]
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def interval_of(gains: Sequence[float]) -> tuple[float, float] | None:
    """Student's t interval; None of one gain, and where all are the same."""
    return t_interval(gains) if len(set(gains)) > 1 else None


def gain_text(gains: Sequence[float], num_digits: int = 2) -> str:
    """Mean and Student's t interval."""
    shown = [f"{value:+.{num_digits}f}" for value in (statistics.mean(gains), *(interval_of(gains) or ()))]
    return shown[0] + (f" [{shown[1]}, {shown[2]}]" if len(shown) > 1 else "")


def judge(rows: Sequence[dict[str, Any]]) -> int:
    """1 where what is shipped certainly finds less than nothing known, at any time."""
    for pair, workers, t in itertools.product(filter(lambda pair: pair.is_shipped, PAIRS), WORKERS, TIMES):
        interval = interval_of(gains_of(rows, load(pair.table, pair.target).name, NUM_SHIPPED, workers, t))
        if interval and interval[1] < 0:
            return 1
    return 0


def main(argv: list[str] | None = None) -> int:
    """Make, search, or write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=["make", "rows", "report"], default="report")
    parser.add_argument("--seeds", type=int, default=60)
    parser.add_argument("--counts", type=int, nargs="+", default=COUNTS)
    parser.add_argument("--workers", type=int, nargs="+", default=WORKERS)
    parser.add_argument("--quick", action="store_true", help="two seeds of each kind; writes no result file")
    arguments = parser.parse_args(argv)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if arguments.what == "make":
        make(SHIPPED)
        return 0
    if arguments.what == "rows":
        run_missing(ROWS, list_searches(arguments.counts, arguments.workers, arguments.seeds))
        return 0
    if arguments.quick:
        rows = [row for one in list_searches((0, NUM_SHIPPED), (2,), 2) for row in one.run()]
        print("\n".join(table(rows, (0, NUM_SHIPPED))))
        return 0
    rows = read_rows(ROWS)
    lines = [
        "Simulated searches: what a search gains that begins with the best of other drawings, after the paper's",
        f"configuration and (with loaded weights) the recipe. Shipped: {NUM_SHIPPED} of `baseline`, from doodles,",
        "judged on Sketchy. t: median full trainings per worker. The intervals are over searches: each configuration",
        "of the tables was trained once, and what that training owed to chance is in all searches alike. Trained anew,",
        "that of SqueezeNet (the pretrained tables) gains nothing and is not shipped: experience_trained-cpu.md.",
        "",
        *table(rows, COUNTS),
    ]
    write_result("experience", "What was best on other drawings, tried first", lines)
    print("\n".join(lines))
    return judge(rows)


if __name__ == "__main__":
    sys.exit(main())

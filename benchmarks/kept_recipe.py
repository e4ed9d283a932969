"""How much of the recipe its changes keep, judged by whole simulated searches: python -m benchmarks.kept_recipe.

... rows --which choose --seeds 60    # appends what is missing
... [--quick]                         # the table; 1 where the shipped share is certainly worse than half

Until a rung has enough values, four proposals in five change the recipe that the search began with. Each parameter
stays with the same chance. The share was chosen on Quick, Draw! and then judged on Sketchy (curves/record.py: a network
with loaded weights). After that look a change had to differ from the recipe, and all searches were made anew.
"""

import argparse
import itertools
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import optuna

from benchmarks.curves.tasks import Task, load_tasks
from benchmarks.machine import write_result
from benchmarks.opponents import METHODS, IncumbentBefore, Method
from benchmarks.search_quality import Search, read_rows, run_missing, run_one
from tune_sketch.samplers import incumbent
from tune_sketch.statistics import t_interval

ROWS = Path(__file__).parent / "results" / "kept_recipe-cpu.csv"
BASE = 0.5  # as for every later parent
SHARES = (BASE, 0.75, 0.85, 0.92)
WORKERS, TIMES = (2, 8), (1.0, 2.0, 4.0, 8.0)


def method_of(share: float) -> str:
    return f"{share:.0%} kept"


def load_task(which: str) -> Task:
    """The recorded table to choose on, or to report."""
    (task,) = load_tasks(which, ("pretrained",)).values()
    return task


def search(task: Task, share: float, workers: int, seed: int) -> list[dict[str, Any]]:
    """One simulated search whose changes of the recipe keep that share of it."""
    METHODS[method_of(share)] = Method(IncumbentBefore)  # as it was when the share was chosen
    shipped, incumbent.RECIPE_KEPT_FRACTION = incumbent.RECIPE_KEPT_FRACTION, share
    try:
        return run_one(task, method_of(share), workers, seed, times=TIMES)
    finally:
        incumbent.RECIPE_KEPT_FRACTION = shipped


def list_searches(which: str, shares: Sequence[float], num_seeds: int) -> Iterator[Search]:
    """Of each share, seed after seed."""
    task = load_task(which)
    for seed, share, workers in itertools.product(range(num_seeds), shares, WORKERS):
        yield Search(task.name, method_of(share), workers, seed, partial(search, task, share, workers, seed))


def points_lost(rows: list[dict[str, Any]]) -> dict[tuple[str, str, int, float, int], float]:
    """By task, method, workers, t and seed: points of validation top-1 below the best configuration known."""
    return {
        (r["task"], r["method"], int(r["workers"]), r["t"], int(r["seed"])): 100 * (r["best"] - r["by_best"])
        for r in rows
    }


def table(rows: list[dict[str, Any]]) -> list[str]:
    """A line for each share, and what it gains over half."""
    lost = points_lost(rows)
    lines = ["| curves | workers | t | kept of the recipe | points lost | gain over half, points [95 %] | n |"]
    lines += ["|---|---|---|---|---|---|---|"]
    for task, method, workers, t in dict.fromkeys(key[:4] for key in sorted(lost)):
        values = {key[4]: value for key, value in lost.items() if key[:4] == (task, method, workers, t)}
        gains = gains_over_half(lost, task, method, workers, t)
        found = t_interval(gains) if method != method_of(BASE) and len(gains) > 1 else None
        gain = f"{sum(gains) / len(gains):+.2f} [{found[0]:+.2f}, {found[1]:+.2f}]" if found else ""
        mean = sum(values.values()) / len(values)
        lines.append(f"| {task} | {workers} | {t:g} | {method} | {mean:.2f} | {gain} | {len(values)} |")
    return lines


def gains_over_half(lost: dict[Any, float], task: str, method: str, workers: int, t: float) -> list[float]:
    """Of each seed that both have."""
    base = method_of(BASE)
    keys = [key for key in lost if key[:4] == (task, method, workers, t)]
    pairs = [((task, base, workers, t, key[4]), key) for key in keys]
    return [lost[of_half] - lost[ours] for of_half, ours in pairs if of_half in lost]


def judge(rows: list[dict[str, Any]]) -> int:
    """1 where the shipped share is certainly worse than half anywhere."""
    lost = points_lost(rows)
    shipped = method_of(incumbent.RECIPE_KEPT_FRACTION)
    for task, method, workers, t in dict.fromkeys(key[:4] for key in lost):
        gains = gains_over_half(lost, task, method, workers, t)
        found = t_interval(gains) if method == shipped and any(gains) else None
        if found and found[1] < 0:
            return 1
    return 0


def main(argv: list[str] | None = None) -> int:
    """Search, or write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=["rows", "report"], default="report")
    parser.add_argument("--which", choices=["choose", "report"], default="choose")
    parser.add_argument("--shares", type=float, nargs="+", default=SHARES, choices=SHARES)
    parser.add_argument("--seeds", type=int, default=60)
    parser.add_argument("--quick", action="store_true", help="a search of each kind; writes no result file")
    arguments = parser.parse_args(argv)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if arguments.quick:
        task, shares = load_task("choose"), (BASE, incumbent.RECIPE_KEPT_FRACTION)
        rows = [row for share in shares for row in search(task, share, 2, 0)]
        print("\n".join(table(rows)))
        return 0
    if arguments.what == "rows":
        run_missing(ROWS, list_searches(arguments.which, arguments.shares, arguments.seeds))
        return 0
    rows = read_rows(ROWS)
    lines = [
        "Simulated searches; chosen on pretrained-quickdraw, judged on pretrained-sketchy.",
        f"Shipped: {method_of(incumbent.RECIPE_KEPT_FRACTION)}. t: median full trainings per worker.",
        "",
        *table(rows),
    ]
    write_result("kept_recipe", "How much of the recipe a change keeps", lines)
    print("\n".join(lines))
    return judge(rows)


if __name__ == "__main__":
    sys.exit(main())

"""How to change a good configuration: chance and size of finding a better one within a few trials.

    python -m benchmarks.recipe_mutations [--quick]     resumes: ways that are in the CSV are not measured again

A search begins with a recipe, and until a rung has enough values it tries changes of it. Here a task's recipe is the
fifth best of a hundred random configurations: far better than most, and not the best there is. Ways of changing it
are compared on the tasks for choosing; the shipped one is then judged on the others. The true value of each change
counts.
"""

import argparse
import itertools
import statistics
import sys
from pathlib import Path
from typing import Any

import optuna

from benchmarks.curves.tasks import Task, load_tasks
from benchmarks.machine import describe, read_rows, result_path, write_result
from tune_sketch.config.seeds import derive_seed
from tune_sketch.events import Source
from tune_sketch.samplers.base import SearchTask, ask
from tune_sketch.samplers.incumbent import RECIPE_KEPT_FRACTION, RECIPE_STEP, MutationSampler
from tune_sketch.statistics import t_interval
from tune_sketch.storage.files import write_csv

NUM_CONFIGS = 100  # drawn at random
RECIPE_RANK = 5  # among them
NUM_REPETITIONS = 10  # of a search
NUM_CHANGES = 8  # of the recipe in each
Config = dict[str, Any]

# (share of the parameters that stay, size of a step in widths of the range; None: anywhere in the range)
WAYS: dict[str, tuple[float, float | None]] = {
    "half of it anew": (0.5, None),
    "a quarter of it anew": (0.75, None),
    "half of it by steps of 0.2": (0.5, 0.2),
    "half of it by steps of 0.1": (0.5, 0.1),
    "a quarter of it by steps of 0.2": (0.75, 0.2),
    "three quarters of it by steps of 0.2": (0.25, 0.2),
    "15 % of it by steps of 0.2": (0.85, 0.2),
}
SHIPPED = (RECIPE_KEPT_FRACTION, RECIPE_STEP)
COLUMNS = ("which", "group", "task", "way", "repetition", "recipe", "best_change")


def find_recipe(task: Task) -> tuple[Config, float, float]:
    """(sampled parameters of the recipe, best and median value of random configurations)."""
    tried = []
    for number in range(NUM_CONFIGS):
        trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=derive_seed("draw", number))).ask()
        config = task.space(trial, task.limits)
        tried.append((task.curve(config, 0).true_final, number, trial.params))
    tried.sort(key=lambda one: one[:2], reverse=True)
    return tried[RECIPE_RANK - 1][2], tried[0][0], statistics.median(value for value, *_ in tried)


def change(task: Task, recipe: Config, way: tuple[float, float | None], repetition: int) -> float:
    """The true value of the best of as many changes as a search tries before it has values to go by."""
    search = SearchTask(task.space, task.limits, (task.max_epochs,), NUM_CHANGES)
    study, values = optuna.create_study(), []
    for number in range(NUM_CHANGES):
        kept_fraction, step = way
        study.sampler = MutationSampler(recipe, derive_seed(repetition, task.name, number), kept_fraction, step)
        values.append(task.curve(ask(search, study, Source("mutated")).config, repetition).true_final)
    return max(values)


def measure(which: str, ways: dict[str, tuple[float, float | None]], num_repetitions: int) -> list[dict[str, Any]]:
    """A row for each task, way and repetition; values are 0 for the median of random configurations, 1 for the best."""
    tasks = list(load_tasks(which).values())
    rows = []
    for task in tasks:
        params, best, median = find_recipe(task)
        recipe = task.curve(task.space(optuna.trial.FixedTrial(params), task.limits), 0).true_final
        for (name, way), repetition in itertools.product(ways.items(), range(num_repetitions)):
            values = [(v - median) / (best - median) for v in (recipe, change(task, params, way, repetition))]
            rows.append(dict(zip(COLUMNS, (which, task.group, task.name, name, repetition, *values), strict=True)))
        print(which, task.name, f"{values[0]:.2f}", flush=True)
    return rows


def read_numbers(path: Path) -> list[dict[str, Any]]:
    """The rows that were measured before."""
    numbers = ("recipe", "best_change")
    return [row | {name: float(row[name]) for name in numbers} for row in read_rows(path)]


def table(rows: list[dict[str, Any]], title: str) -> list[str]:
    """A line for each way of changing. A gain is never negative: the recipe itself was tried as well."""
    against = "minus the first line [95 % over tasks]"
    lines = [
        title,
        "",
        f"| change | tasks | a better one among {NUM_CHANGES}, % | {against} | gain over the recipe | {against} |",
        "|---|---|---|---|---|---|",
    ]
    for way in dict.fromkeys(row["way"] for row in rows):
        cells = [way, str(len(by_task(rows, way)))]
        for number, unit, digits in ((0, 100, 0), (1, 1, 3)):  # chance, gain
            values = {task: unit * both[number] for task, both in by_task(rows, way).items()}
            first = {task: unit * both[number] for task, both in by_task(rows, next(iter(WAYS))).items()}
            differences = [values[task] - first[task] for task in first]
            low_high = t_interval(differences) if any(differences) else None
            cells.append(f"{statistics.mean(values.values()):.{digits}f}")
            low, high = low_high or (0.0, 0.0)
            mean = statistics.mean(differences)
            cells.append(f"{mean:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]" if low_high else "")
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def by_task(rows: list[dict[str, Any]], way: str) -> dict[str, tuple[float, float]]:
    """{task: (share of searches with a change better than the recipe, how far the best one is above it)}."""
    gains: dict[str, list[float]] = {}
    for row in rows:
        if row["way"] == way:
            gains.setdefault(row["task"], []).append(max(0.0, row["best_change"] - row["recipe"]))
    return {
        task: (statistics.mean(g > 0 for g in of_task), statistics.mean(of_task)) for task, of_task in gains.items()
    }


def main() -> int:
    """Measure and write the tables; 1 where the shipped way finds better ones less often than `half of it anew`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two repetitions of two ways; writes no result file")
    quick = parser.parse_args().quick
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path, first = result_path("recipe_mutations", ".csv"), next(iter(WAYS))
    shipped = next(name for name, way in WAYS.items() if way == SHIPPED)
    two = {name: WAYS[name] for name in (first, shipped)}
    rows: list[dict[str, Any]] = [] if quick else read_numbers(path)
    for which, ways in (("choose", two if quick else WAYS), ("report", {} if quick else two)):
        done = {row["way"] for row in rows if row["which"] == which}
        missing = {name: way for name, way in ways.items() if name not in done}
        rows += measure(which, missing, 2 if quick else NUM_REPETITIONS) if missing else []
    chosen_on = [row for row in rows if row["which"] == "choose"]
    judged = [row for row in rows if row["which"] == "report" and row["way"] in two] or chosen_on
    lines = table(chosen_on, "Tasks for choosing")
    lines += ["", *table(judged, f"Tasks for judging; shipped: {shipped}")]
    if not quick:
        write_csv(path, COLUMNS, rows)
        write_result("recipe_mutations", "How to change a recipe", lines)
    print("\n".join(lines))
    chances = {name: statistics.mean(chance for chance, _ in by_task(judged, name).values()) for name in two}
    return int(chances[shipped] < chances[first])


if __name__ == "__main__":
    print(describe(), flush=True)
    sys.exit(main())

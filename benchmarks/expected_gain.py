"""Judges what a search says of ten more trials by what these brought, on learning curves that are known.

    python -m benchmarks.expected_gain [--tasks choose] [--seeds 4] [--quick]

The default search is simulated (simulated_search.py) on the tables whose values are accuracies. Whenever a trial ends
the forecast is noted, and what the next ten to end gained: the rise of the highest validation top-1 seen. The rule
before it, which looked at the later half of the trials alone, sees the same searches.
"""

import argparse
import statistics
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import optuna

from benchmarks.curves.tasks import Task, load_tasks
from benchmarks.machine import result_path, write_result
from benchmarks.opponents import METHODS, factors_of
from benchmarks.race import interval
from benchmarks.simulated_search import simulate
from tune_sketch.callbacks.budget import FEWEST_VALUES, HORIZON, UNLIKELY_GAIN, forecast, mean_loss
from tune_sketch.events import Trial
from tune_sketch.schedulers.rungs import rung_epochs
from tune_sketch.storage.files import write_csv

GROUPS = ("lcbench", "sketch", "pretrained")
TIMES = {2: 24.0, 8: 12.0}  # workers: full trainings' time
LIMITS = {"unlikely to help": UNLIKELY_GAIN, "--min-gain 0.002": 0.002}  # what is said or done under this forecast
TOO_MUCH = 0.005  # of top-1, to miss by ending too early
RULES = ("now", "before")


class Watch:
    """Notes after each trial that ended what each rule forecast, and the best value until then; a callback."""

    def __init__(self, rungs: Sequence[int]) -> None:
        self.rungs = rungs
        self.trials: dict[int, Trial] = {}
        self.best = 0.0
        self.bests: list[float] = []
        self.gains: dict[str, list[float | None]] = {rule: [] for rule in RULES}

    def on_epoch(self, trial: Trial) -> None:
        self.trials[trial.number] = trial
        self.best = max(self.best, trial.epochs[-1].val_top1)

    def on_end(self, trial: Trial) -> None:
        self.trials[trial.number] = trial
        trials = list(self.trials.values())
        expected = forecast(trials, self.rungs)
        self.gains["now"].append(None if expected is None else expected.gain)
        self.gains["before"].append(gain_of_later_half(trials, self.rungs))
        self.bests.append(self.best)


def gain_of_later_half(trials: Sequence[Trial], rungs: Sequence[int]) -> float | None:
    """The rule before: what the best of all loses without ten of the later half of the trials, on average."""
    ended = sorted((t for t in trials if t.ended_at is not None), key=lambda t: (t.ended_at or 0.0, t.number))
    if len(ended) < 2 * HORIZON:
        return None
    for rung in reversed(rungs):
        known = [(epoch.val_top1, t.number) for t in ended if (epoch := t.epoch_at(rung)) is not None]
        if len(known) >= FEWEST_VALUES:
            return mean_loss(known, {t.number for t in ended[len(ended) // 2 :]})
    return None


def watch_search(task: Task, num_workers: int, seed: int) -> Watch:
    """One simulated search, watched."""
    method, rungs = METHODS["incumbent"], rung_epochs(task.grace_epochs, task.max_epochs, 3)
    watch = Watch(rungs)
    simulate(
        task,
        lambda search_task: method.make_sampler(search_task, **factors_of("incumbent", task)),
        num_workers=num_workers,
        times=[TIMES[num_workers] * task.scale()[2]],
        rungs=rungs,
        scheduler_rungs=rungs,
        reduction_factor=3,
        seed=seed,
        first=list(task.first),
        recipe=task.recipe,
        callbacks=[watch],
    )
    return watch


def rows_of(watch: Watch, common: dict[str, Any]) -> list[dict[str, Any]]:
    """For each rule and limit: its forecasts beside what came, and when it first fell under the limit."""
    rows, bests = [], watch.bests
    for rule in RULES:
        known = [(at, gain) for at, gain in enumerate(watch.gains[rule][:-HORIZON]) if gain is not None]
        if not known:
            continue
        means = {
            "forecast": statistics.fmean(gain for _, gain in known),
            "gained": statistics.fmean(bests[at + HORIZON] - bests[at] for at, _ in known),
        }
        for limit, value in LIMITS.items():
            row: dict[str, Any] = common | {"rule": rule, "limit": limit, "num_trials": len(bests)} | means
            at = next((at for at, gain in known if gain < value), None)
            row["trial"] = None if at is None else at + 1
            row["ten_more"] = None if at is None else bests[at + HORIZON] - bests[at]
            row["all_more"] = None if at is None else bests[-1] - bests[at]
            rows.append(row)
    return rows


def tables(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Markdown: how the forecasts came true, then how far a search goes on rising after a rule has spoken."""
    lines = ["| workers | rule | searches | forecast, points | gained by ten more | forecast minus gained [95 %] |"]
    lines.append("|---|---|---|---|---|---|")
    for num_workers in TIMES:
        for rule in RULES:
            its = choose(rows, workers=num_workers, rule=rule, limit="unlikely to help")
            if not its:
                continue
            off = [row["forecast"] - row["gained"] for row in its]
            means = [points(row[name] for row in its) for name in ("forecast", "gained")]
            lines.append(f"| {num_workers} | {rule} | {len(its)} | {' | '.join(means)} | {with_interval(off)} |")
    lines += [
        "",
        "| workers | under the limit of | rule | in searches | at trial | of | gained by ten more, points [95 %] "
        "| half a point or more | gained until the end |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for num_workers in TIMES:
        for limit in LIMITS:
            for rule in RULES:
                its = choose(rows, workers=num_workers, rule=rule, limit=limit)
                spoke = [row for row in its if row["trial"] is not None]
                if not its:
                    continue
                if not spoke:
                    lines.append(f"| {num_workers} | {limit} | {rule} | 0 of {len(its)} | | | | | |")
                    continue
                too_early = sum(row["ten_more"] >= TOO_MUCH for row in spoke)
                cells = [
                    *(num_workers, limit, rule, f"{len(spoke)} of {len(its)}"),
                    *(f"{statistics.median(row[name] for row in spoke):.0f}" for name in ("trial", "num_trials")),
                    with_interval([row["ten_more"] for row in spoke]),
                    f"{100 * too_early / len(spoke):.0f} %",
                    points(row["all_more"] for row in spoke),
                ]
                lines.append(f"| {' | '.join(map(str, cells))} |")
    return lines


def choose(rows: Sequence[dict[str, Any]], **values: Any) -> list[dict[str, Any]]:
    """The rows with these values."""
    return [row for row in rows if all(row[name] == value for name, value in values.items())]


def points(values: Iterable[float]) -> str:
    return f"{100 * statistics.fmean(values):.2f}"


def with_interval(values: Sequence[float]) -> str:
    """Their mean in points with the bootstrap's 95 % interval."""
    low, high = interval(np.array(values))
    return f"{points(values)} [{100 * low:.2f}, {100 * high:.2f}]"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--tasks", choices=["choose", "report"], default="report", help="rules may be chosen on the first"
    )
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--quick", action="store_true", help="one seed, every fifth table")
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    tasks = list(load_tasks(arguments.tasks, GROUPS).values())[:: 5 if arguments.quick else 1]
    rows = []
    for seed in range(1 if arguments.quick else arguments.seeds):
        for task in tasks:
            for num_workers in TIMES:
                common = {"task": task.name, "workers": num_workers, "seed": seed}
                rows += rows_of(watch_search(task, num_workers, seed), common)
    lines = tables(rows)
    print("\n".join(lines))
    if not arguments.quick and arguments.tasks == "report":
        write_csv(result_path("expected_gain", ".csv"), rows[0], rows)
        about = f"{len(tasks)} tables that nothing was chosen on, {arguments.seeds} searches each."
        write_result(
            "expected_gain", "What a search says of ten more trials, and what they brought", [about, "", *lines]
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())

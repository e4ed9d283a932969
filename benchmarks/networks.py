"""One search over several networks against one search of each with equal shares, simulated on known learning curves.

python -m benchmarks.networks rows      simulates what is missing in results/networks-cpu.csv
python -m benchmarks.networks           reports
"""

import argparse
import itertools
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.trial import BaseTrial

from benchmarks import machine
from benchmarks.curves.tasks import LCBench, Task, lcbench_space, load_tasks
from benchmarks.search_quality_report import Regrets, compute_regrets, count, interval, mean_regret, pair
from tests.support.untrained import make_job
from tune_sketch.backend.simulated import Curve, SimulatedBackend
from tune_sketch.config.seeds import derive_seed
from tune_sketch.events import Config, Job, Proposal, Source, Trial
from tune_sketch.samplers.base import SearchTask
from tune_sketch.samplers.incumbent import IncumbentSampler
from tune_sketch.samplers.several import SeveralNetworks
from tune_sketch.schedulers.asha import ASHA, OfEachNetwork
from tune_sketch.schedulers.networks import FIRST_STEP, MOST_RATIO, Spent, Turn, expected_seconds, take_turns
from tune_sketch.schedulers.queue import TrialQueue
from tune_sketch.schedulers.recorder import Recorder
from tune_sketch.schedulers.rungs import rung_epochs
from tune_sketch.search_spaces import SpaceLimits
from tune_sketch.storage.journal import Journal

NETWORKS = {"small": (1, 64, 160), "medium": (3, 160, 400), "large": (5, 400, 1024)}  # layers, least and most units
HORIZONS = (2, 4, 8)  # in median full trainings of the networks together
WORKERS = (1, 2, 8)
MUST_WIN = (4, 8)
MOST_TRIALS = 500  # of each network
NUM_DRAWN = 300  # random configurations of each network, from which a task's scale is known
OURS, EACH, SIDE_BY_SIDE, ORACLE = "one search", "one each", "equal shares side by side", "the best network alone"
VARIANTS = {OURS: (FIRST_STEP, MOST_RATIO)} | {f"step {n}": (n, MOST_RATIO) for n in (2, 4, 8, 16, 48)}
VARIANTS |= {"ratio 4": (FIRST_STEP, 4), "ratio 64": (FIRST_STEP, 64)}
COLUMNS = ("task", "method", "workers", "seed", "t", "best", "median", "by_rung", "by_best")
ROWS = machine.RESULTS / "networks-cpu.csv"
Found = list[tuple[float, float]]  # at each time: the highest value seen, and its configuration's true final value
TakeTurns = Callable[[Mapping[str, Spent]], Turn]


class OfNetwork(Task):
    """An LCBench task with the layers and the units of one network."""

    group = "lcbench"

    def __init__(self, whole: LCBench, network: str) -> None:
        self.whole, self.max_epochs, self.name = whole, whole.max_epochs, whole.name
        self.num_layers, self.least_units, self.most_units = NETWORKS[network]

    def space(self, trial: BaseTrial, limits: SpaceLimits) -> Config:
        return lcbench_space(trial, limits, self.num_layers, (self.least_units, self.most_units))

    def curve(self, config: Config, seed: int) -> Any:
        return self.whole.curve(config, seed)


class Watch:
    """Notes the best of a search at the times asked for; a callback of the search."""

    def __init__(self, tasks: Mapping[str, Task], times: Sequence[float]) -> None:
        self.tasks, self.remaining, self.found = tasks, list(times), Found()
        self.best, self.finals = (-np.inf, np.nan), dict[str, float]()

    def curve_of(self, job: Job) -> Curve:
        """The curve that a job will show; its true final value is kept from the search."""
        curve = self.tasks[str(job.config["network"])].curve(job.config, job.seed)
        self.finals[job.key] = curve.true_final
        return Curve(curve.values.tolist(), curve.losses.tolist(), curve.seconds.tolist())

    def on_epoch(self, trial: Trial) -> None:
        self.best = max(self.best, (trial.epochs[-1].val_top1, self.finals[trial.key]))

    def on_end(self, trial: Trial) -> None:
        """Nothing: a trial that ended stays what it was."""

    def on_time(self, now: float) -> None:
        while self.remaining and now > self.remaining[0]:
            self.found.append(self.best)
            self.remaining.pop(0)


def search(
    tasks: Mapping[str, OfNetwork], turns: TakeTurns, num_workers: int, times: Sequence[float], seed: int
) -> Found:
    """The best value of one search over these networks at each time, in seconds."""
    watch = Watch(tasks, times)
    backend = SimulatedBackend(watch.curve_of, num_workers, end_at=times[-1])
    journal = Journal(clock=backend.clock)
    rungs = {name: rung_epochs(task.grace_epochs, task.max_epochs, 3) for name, task in tasks.items()}
    samplers = {
        name: IncumbentSampler(
            SearchTask(task.space, task.limits, rungs[name], MOST_TRIALS, seed, [(task.middle(), Source("paper"))])
        )
        for name, task in tasks.items()
    }
    several = SeveralNetworks(samplers, MOST_TRIALS * len(tasks), turns)

    def propose() -> Trial | None:
        proposed = several.next(journal)
        seed_of_trial = derive_seed(seed, "trial", len(journal.trials))
        return journal.add_trial(proposed, seed_of_trial) if isinstance(proposed, Proposal) else proposed

    queue = TrialQueue(journal, [], propose, make_job)
    rules = OfEachNetwork({name: ASHA(own, 3) for name, own in rungs.items()})
    recorder = Recorder(
        journal, queue, rules, callbacks=[watch], set_aside=lambda trial: several.set_aside(trial, journal)
    )
    backend.simulate(queue, recorder, watch.on_time)
    watch.on_time(float("inf"))
    return watch.found


def take_equal_turns(spent: Mapping[str, Spent]) -> Turn:
    """Always the network that has had least."""
    due = expected_seconds(spent)
    order = tuple(sorted(spent, key=lambda name: (due[name], spent[name].num_trials)))
    return Turn(order, order[:1])


def run_all(whole: LCBench, methods: Sequence[str], num_workers: int, seed: int) -> list[dict[str, Any]]:
    """One row for each method and time."""
    tasks = {name: OfNetwork(whole, name) for name in NETWORKS}
    finals, best_network, unit = describe_task(whole)
    times = [t * unit for t in HORIZONS]
    run = partial(search, num_workers=num_workers, seed=seed)
    found = {}
    for method in methods:
        if method in VARIANTS:
            first_step, most_ratio = VARIANTS[method]
            turns = partial(take_turns, first_step=first_step, most_ratio=most_ratio)
            found[method] = run(tasks, turns, times=times)
        elif method == SIDE_BY_SIDE:
            found[method] = run(tasks, take_equal_turns, times=times)
        elif method == ORACLE:
            found[method] = run({best_network: tasks[best_network]}, take_equal_turns, times=times)
        else:
            shares = [moment / len(tasks) for moment in times]
            each = [run({name: task}, take_equal_turns, times=shares) for name, task in tasks.items()]
            found[method] = [max(at_once) for at_once in zip(*each, strict=True)]
    common = {"task": whole.name, "workers": num_workers, "seed": seed}
    common |= {"best": max(finals), "median": float(np.median(finals))}
    return [
        common | {"method": method, "t": t, "by_rung": final, "by_best": final}
        for method, its in found.items()
        for t, (_, final) in zip(HORIZONS, its, strict=True)
    ]


def describe_task(whole: LCBench) -> tuple[list[float], str, float]:
    """(final values of random configurations, the network with the best, median seconds of a full training)."""
    curves = {
        name: [task.curve(config, 0) for config in task.draw(NUM_DRAWN)]
        for name, task in ((name, OfNetwork(whole, name)) for name in NETWORKS)
    }
    best = {name: max(curve.true_final for curve in own) for name, own in curves.items()}
    every = [*itertools.chain(*curves.values())]
    seconds = float(np.median([curve.seconds.sum() for curve in every]))
    return [curve.true_final for curve in every], max(best, key=lambda name: best[name]), seconds


def run_missing(path: Path, wholes: Sequence[LCBench], arguments: argparse.Namespace) -> int:
    """Append the searches that the file has not, seed after seed, until the time is over; how many are missing."""
    done = {(row["task"], row["method"], int(row["workers"]), int(row["seed"])) for row in machine.read_rows(path)}
    deadline, num_missing = time.monotonic() + arguments.seconds, 0
    for seed, num_workers, whole in itertools.product(range(arguments.seeds), arguments.workers, wholes):
        missing = [m for m in arguments.methods if (whole.name, m, num_workers, seed) not in done]
        if missing and time.monotonic() > deadline:
            num_missing += len(missing)
        elif missing:
            rows = run_all(whole, missing, num_workers, seed)
            lines = [] if path.exists() else [",".join(COLUMNS)]
            lines += [",".join(str(row[name]) for name in COLUMNS) for row in rows]
            with path.open("a") as file:
                file.write("\n".join(lines) + "\n")
    return num_missing


def report_lines(rows: list[dict[str, Any]]) -> tuple[list[str], list[str]]:
    """(tables, the targets that are missed)."""
    regrets, lines, missed = compute_regrets(rows), [], []
    for workers in sorted({row["workers"] for row in rows}):
        methods = sorted({m for m, w, _ in regrets if w == workers}, key=lambda m: regret_at_end(regrets, m, workers))
        lines.append(f"| W = {workers:g}, t = | {' | '.join(map(str, HORIZONS))} | tasks x seeds |")
        lines.append("|---" * (len(HORIZONS) + 2) + "|")
        for method in methods:
            cells = " | ".join(f"{mean_regret(regrets[method, workers, t]):.3f}" for t in HORIZONS)
            lines.append(f"| {method} | {cells} | {count(regrets[method, workers, HORIZONS[-1]])} |")
        lines.append("")
    lines += ["| against | W | t | advantage [95 %] | tasks won | n pairs |", "|---|---|---|---|---|---|"]
    for method, workers, t in sorted(regrets):
        pairs = pair(regrets[OURS, workers, t], regrets[method, workers, t]) if method != OURS else []
        if pairs:
            mean, low, high = interval(pairs)
            won, num = sum(values.mean() > 0 for values in pairs), sum(map(len, pairs))
            text = f"{mean:+.3f} [{low:+.3f}, {high:+.3f}]"
            lines.append(f"| {method} | {workers:g} | {t:g} | {text} | {won} of {len(pairs)} | {num} |")
            if method == EACH and t in MUST_WIN and low <= 0:
                missed.append(f"{method}, W = {workers:g}, t = {t:g}: {text}")
    return lines, missed


def regret_at_end(regrets: Regrets, method: str, workers: float) -> float:
    return mean_regret(regrets[method, workers, HORIZONS[-1]])


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(allow_abbrev=False, description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("what", nargs="?", choices=["rows", "report"], default="report")
    add("--quick", action="store_true", help="two tasks and one seed, to see that it works")
    add("--tasks", choices=["choose", "report"], default="report", help="settings may be chosen on the first only")
    add("--methods", nargs="+", default=[OURS, EACH, SIDE_BY_SIDE, ORACLE], metavar="M", help=", ".join(VARIANTS))
    add("--workers", nargs="+", type=int, default=list(WORKERS))
    add("--seeds", type=int, default=4)
    add("--seconds", type=float, default=280.0, help="begin no search later than this")
    add("--rows", type=Path, default=ROWS, help="the file of all searches")
    arguments = parser.parse_args(argv)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    texts = ("task", "method")
    if arguments.what == "rows" or arguments.quick:
        wholes = [task for task in load_tasks(arguments.tasks, ("lcbench",)).values() if isinstance(task, LCBench)]
        if arguments.quick:
            rows = [row for whole in wholes[::6] for row in run_all(whole, arguments.methods, 8, 0)]
            print("\n".join(report_lines(rows)[0]))
            return 0
        print(f"{run_missing(arguments.rows, wholes, arguments)} searches missing")
        return 0
    found = machine.read_rows(arguments.rows)
    rows = [{k: v if k in texts else float(v) for k, v in row.items()} for row in found]
    lines, missed = report_lines(rows)
    verdict = ["Targets missed:", "", *(f"- {text}" for text in missed)] if missed else ["Every target is met."]
    head = [
        "# One search over several networks against one search of each",
        "",
        "Regret of the configuration with the best value seen: 0 is the best known of a task, 1 a random "
        "configuration's median over all networks. Networks are LCBench's perceptrons with one, three and five layers, "
        "narrow to wide; t in median full trainings. 'one each' gives each network a third of the time, one after the "
        "other; 'the best network alone' has all of the time, and knows what nobody knows. A positive advantage is a "
        "lower regret of the one search. Interval: bootstrap over tasks and, in each, seeds.",
        "",
    ]
    arguments.rows.with_suffix(".md").write_text("\n".join([*head, *lines, "", *verdict, "", machine.describe(), ""]))
    print("\n".join([*lines, "", *verdict]))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())

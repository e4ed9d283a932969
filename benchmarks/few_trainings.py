"""Ways to search with few trainings that were tried on the choosing tasks: python -m benchmarks.few_trainings.

    ... rows --seeds 4 --seconds 280   # appends what is missing
    ... [--quick]                      # each against the default as it was; 1 where the shipped one is certainly worse

With one to four workers and the time of a few full trainings, the paper's procedure found more than the default, on the
tasks for judging. The shipped way is judged there by search_quality.py, beside the default as it was.
"""

import argparse
import random
import sys
from pathlib import Path
from typing import Any

import optuna

from benchmarks.curves.tasks import load_tasks
from benchmarks.machine import write_result
from benchmarks.opponents import METHODS, IncumbentBefore, Method
from benchmarks.search_quality import list_searches, read_rows, run_missing, run_one
from benchmarks.search_quality_report import compute_regrets, interval, mean_regret, pair
from tune_sketch.config.seeds import derive_seed
from tune_sketch.events import Proposal, Source
from tune_sketch.samplers.base import propose_from
from tune_sketch.samplers.incumbent import RANDOM_FRACTION, RECIPE_KEPT_FRACTION, RECIPE_STEP, IncumbentSampler
from tune_sketch.samplers.one_factor import FixedSampler, identify, spread
from tune_sketch.storage.history import History

ROWS = Path(__file__).parent / "results" / "few_trainings-cpu.csv"
WORKERS, TIMES = (2, 4), (1.0, 2.0, 4.0, 8.0)
BASE, SHIPPED = "as before", "4 values, 0.7 kept, 8 strata"


class MutatesTheFirst(IncumbentBefore):
    """Until a rung has enough values, small changes of the first configuration, as otherwise of a recipe."""

    first_kept = RECIPE_KEPT_FRACTION
    first_step: float | None = RECIPE_STEP

    def propose(self, number: int, history: History) -> Proposal:
        self.learn(history)
        chance = random.Random(derive_seed(self.task.seed, "random", number)).random()
        is_early = self.deepest_rung() is None
        if not is_early or chance < RANDOM_FRACTION or any(trial.is_recipe for trial in history.trials[:2]):
            return super().propose(number, history)
        seed = derive_seed(self.task.seed, "sampler", number)
        return self.mutate(history.trials[0], seed, self.first_kept, self.first_step)


class ChangesOneAtATime(IncumbentSampler):
    """The default, but half of the proposals change one parameter of the best configuration, to a value of a grid, as
    the paper's procedure does."""

    fraction = 0.5

    def propose(self, number: int, history: History) -> Proposal:
        self.learn(history)
        draw = random.Random(derive_seed(self.task.seed, "one", number))
        rung = self.deepest_rung()
        if rung is None or draw.random() >= self.fraction:
            return super().propose(number, history)
        best = history.trials[self.best[rung][1]]
        tried = {identify(trial.config) for trial in history.trials}
        changes = [
            best.params | {name: value}
            for name, distribution in best.distributions.items()
            for value in spread(distribution, best.params[name], 1)
            if name != "epochs" and value != best.params[name]
        ]
        draw.shuffle(changes)
        for params in changes:
            source = Source("mutated", rung=rung, parent=best.number)
            proposal = propose_from(self.task, FixedSampler(params), source)
            if identify(proposal.config) not in tried:
                return proposal
        return super().propose(number, history)


def vary(
    base: type[IncumbentBefore] = IncumbentBefore, factor: int = 3, grace: int | None = None, **how: Any
) -> Method:
    """A method with some attributes of the sampler changed. grace: epochs of the first rung; 3 is the default."""
    return Method(type("Variant", (base,), how), factor, grace)


VARIANTS = {
    BASE: Method(IncumbentBefore),
    SHIPPED: vary(min_values=4, kept_fraction=0.7, num_strata=8),
    "8 strata": vary(num_strata=8),
    "4 values": vary(min_values=4),
    "0.7 kept": vary(kept_fraction=0.7),
    "0.85 kept": vary(kept_fraction=0.85),
    "4 values, 0.7 kept": vary(min_values=4, kept_fraction=0.7),
    "4 values, 8 strata": vary(min_values=4, num_strata=8),
    "1 value, 0.7 kept": vary(min_values=1, kept_fraction=0.7),
    "4 values, 0.7 kept, 4 strata": vary(min_values=4, kept_fraction=0.7, num_strata=4),
    "4 values, 0.7 kept, 16 strata": vary(min_values=4, kept_fraction=0.7, num_strata=16),
    "changes of the first by steps": vary(MutatesTheFirst),
    "changes of the first, anew": vary(MutatesTheFirst, first_step=None),
    "first rung at 1 epoch": vary(grace=1),
    "first rung at 6 epochs": vary(grace=6),
    "one in four goes on": vary(factor=4),
    "one in two goes on": vary(factor=2),
    "shipped, half changes one parameter to a value of a grid": Method(ChangesOneAtATime),
    "one-factor": METHODS["one-factor"],
    "one-factor-repeated": METHODS["one-factor-repeated"],
}


def table(rows: list[dict[str, Any]]) -> list[str]:
    """A line for each variant and number of workers: regret, and the advantage over the default as it was."""
    regrets = compute_regrets(rows)
    times = sorted({t for _, _, t in regrets})
    lines = [
        f"| variant | workers | {' | '.join(f't = {t:g}' for t in times)} | n pairs |",
        "|---" * (len(times) + 3) + "|",
    ]
    for name, workers in [(name, workers) for workers in sorted({w for _, w, _ in regrets}) for name in VARIANTS]:
        if (name, workers, times[0]) not in regrets:
            continue
        cells = []
        for t in times:
            pairs = pair(regrets[name, workers, t], regrets[BASE, workers, t])
            mean, low, high = interval(pairs)
            advantage = "" if name == BASE else f" ({mean:+.3f} [{low:+.3f}, {high:+.3f}])"
            cells.append(f"{mean_regret(regrets[name, workers, t]):.3f}{advantage}")
        lines.append(f"| {name} | {workers:g} | {' | '.join(cells)} | {sum(map(len, pairs))} |")
    return lines


def judge(rows: list[dict[str, Any]]) -> int:
    """1 where the shipped way certainly finds less than before."""
    regrets = compute_regrets(rows)
    keys = [key for key in regrets if key[0] == SHIPPED]
    return int(any(interval(pair(regrets[key], regrets[BASE, *key[1:]]))[2] < 0 for key in keys))


def main(argv: list[str] | None = None) -> int:
    """Search, or write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=["rows", "report"], default="report")
    parser.add_argument("--quick", action="store_true", help="the shipped way on one seed; writes no result file")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=280.0, help="begin no search later than this")
    arguments = parser.parse_args(argv)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    METHODS.update(VARIANTS)
    tasks = list(load_tasks("choose").values())
    if arguments.quick:
        rows = [row for task in tasks for name in (BASE, SHIPPED) for row in run_one(task, name, 2, 0, times=TIMES)]
        print("\n".join(table(rows)))
        return judge(rows)
    if arguments.what == "rows":
        searches = list_searches(tasks, list(VARIANTS), WORKERS, range(arguments.seeds), times=TIMES)
        print(f"{run_missing(ROWS, searches, arguments.seconds)} searches missing")
        return 0
    rows = read_rows(ROWS)
    lines = [
        "Simulated searches on the tasks for choosing; all begin with the middle of the space, or where weights are",
        "loaded with the paper's configuration and today's recipe. Regret as in search_quality-cpu.md; in brackets the",
        f"advantage over the default as it was, with its 95 % interval. Shipped: {SHIPPED}.",
        "t: median full trainings per worker. one-factor: the paper's procedure.",
        "",
        *table(rows),
    ]
    write_result("few_trainings", "Searches of few trainings", lines)
    print("\n".join(lines))
    return judge(rows)


if __name__ == "__main__":
    sys.exit(main())

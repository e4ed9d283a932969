"""Variants of the default searcher that were tried on the choosing tasks: python -m benchmarks.search_variants.

... rows --seeds 4 --seconds 280   # appends what is missing
... report                         # each variant against the shipped one
"""

import argparse
import random
import sys
from pathlib import Path
from typing import Any

import optuna

from benchmarks.curves.tasks import load_tasks
from benchmarks.opponents import METHODS, Method
from benchmarks.search_quality import read_rows, run_missing
from benchmarks.search_quality_report import compute_regrets, interval, machine, mean_regret, pair
from tune_sketch import tpe
from tune_sketch.job_searcher import Suggestion
from tune_sketch.rungs import value_at_rung
from tune_sketch.searcher import MIN_VALUES, RANDOM_FRACTION, RungSearcher
from tune_sketch.settings import derive_seed
from tune_sketch.tpe import HistorySampler

ROWS = Path(__file__).parent / "results" / "search_variants-cpu.csv"
SHIPPED = "as shipped"


class Variant(RungSearcher):
    """RungSearcher with what was varied as attributes."""

    random_fraction = RANDOM_FRACTION
    min_values = MIN_VALUES
    good_fraction = tpe.GOOD_FRACTION
    num_candidates = tpe.NUM_CANDIDATES
    shallower_fraction = 0.0  # of the model's suggestions: from the rung before the deepest
    avoids_running = False  # running trials count among the bad, as in Optuna's constant liar
    models_first = True  # whether the configuration that comes first is modelled as any other

    def sample(self, number: int) -> Suggestion:
        if number < len(self.first):
            return self.sample_first(number)
        self.learn()
        chance = random.Random(derive_seed(self.seed, "random", number))
        rungs = [rung for rung in reversed(self.rungs) if len(self.known[rung]) >= self.min_values]
        if not rungs or chance.random() < self.random_fraction:
            return self.sample_at_random(number)
        rung = rungs[1] if len(rungs) > 1 and chance.random() < self.shallower_fraction else rungs[0]
        running = [r.params for r in self.open if r.is_unfinished and r.number not in self.known[rung]]
        tpe.NUM_CANDIDATES, tpe.GOOD_FRACTION = self.num_candidates, self.good_fraction
        history = self.histories[rung] if self.models_first else self.history_without_first(rung)
        seed = derive_seed(self.seed, "sampler", number)
        self.study.sampler = HistorySampler(history, seed, running if self.avoids_running else ())
        return self.ask(self.study, {"kind": "model", "rung": rung})

    def history_without_first(self, rung: int) -> tpe.History:
        history = tpe.History()
        values = [(value_at_rung(record, rung), record) for record in self.journal.trials[len(self.first) :]]
        reached = [(value[1], record.number, value[0]) for value, record in values if value is not None]
        for _, number, value in sorted(reached):
            record = self.journal.trials[number]
            history.add(record.params, record.distributions, value)
        return history


VARIANTS: dict[str, dict[str, Any]] = {
    SHIPPED: {},
    "running trials count as bad": {"avoids_running": True},
    "10 % random": {"random_fraction": 0.1},
    "40 % random": {"random_fraction": 0.4},
    "16 values before a rung is modelled": {"min_values": 16},
    "40 % from the rung before the deepest": {"shallower_fraction": 0.4},
    "64 candidates": {"num_candidates": 64},
    "the first is not modelled": {"models_first": False},
}


def write_report(path: Path) -> None:
    """Each variant's advantage over the shipped searcher, as a table beside the rows."""
    regrets = compute_regrets(read_rows(path))
    lines = [
        "# Variants of the searcher, on the tasks for choosing",
        "",
        f"8 workers, all begin with the middle of the space; {machine()}. Regret and intervals as in",
        "search_quality-cpu.md.",
        "",
        "| variant | t | regret | advantage over the shipped [95 %] | n pairs |",
        "|---|---|---|---|---|",
    ]
    for name in VARIANTS:
        for method, workers, t in sorted(key for key in regrets if key[0] == name):
            pairs = pair(regrets[method, workers, t], regrets[SHIPPED, workers, t])
            mean, low, high = interval(pairs)
            regret = mean_regret(regrets[method, workers, t])
            num_pairs = sum(map(len, pairs))
            lines.append(f"| {name} | {t:g} | {regret:.3f} | {mean:+.3f} [{low:+.3f}, {high:+.3f}] | {num_pairs} |")
    by_rung = compute_regrets(read_rows(path), "by_rung")
    lines += ["", "Taking the best at the deepest rung instead of the highest value seen (as shipped):", ""]
    lines += ["| t | regret by rung | regret by highest value | advantage of the highest value [95 %] | n pairs |"]
    lines += ["|---|---|---|---|---|"]
    for method, workers, t in sorted(key for key in regrets if key[0] == SHIPPED):
        pairs = pair(regrets[method, workers, t], by_rung[method, workers, t])
        mean, low, high = interval(pairs)
        both = f"{mean_regret(by_rung[method, workers, t]):.3f} | {mean_regret(regrets[method, workers, t]):.3f}"
        lines.append(f"| {t:g} | {both} | {mean:+.3f} [{low:+.3f}, {high:+.3f}] | {sum(map(len, pairs))} |")
    path.with_suffix(".md").write_text("\n".join([*lines, ""]))
    print("\n".join(lines))


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(allow_abbrev=False, description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["rows", "report"])
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=280.0, help="begin no search later than this")
    arguments = parser.parse_args(argv)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if arguments.what == "report":
        write_report(ROWS)
        return 0
    for name, attributes in VARIANTS.items():
        METHODS[name] = Method(type("Variant", (Variant,), attributes))
    tasks = list(load_tasks("choose").values())
    missing = run_missing(ROWS, tasks, list(VARIANTS), [8], list(range(arguments.seeds)), arguments.seconds)
    print(f"{missing} searches missing")
    return 0


if __name__ == "__main__":
    sys.exit(main())

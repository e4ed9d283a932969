"""Variants of the default sampler that were tried on the choosing tasks: python -m benchmarks.search_variants.

... rows --seeds 4 --seconds 280   # appends what is missing
... report [--quick]               # each variant against the sampler as it was before it mutated configurations
"""

import argparse
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.samplers import RandomSampler

from benchmarks import history_tpe as tpe
from benchmarks.curves.tasks import load_tasks
from benchmarks.history_tpe import HistorySampler
from benchmarks.opponents import METHODS, Method
from benchmarks.search_quality import list_searches, read_rows, run_missing, run_one
from benchmarks.search_quality_report import Regrets, compute_regrets, interval, machine, mean_regret, pair
from tune_sketch.config.seeds import derive_seed
from tune_sketch.events import Proposal, Source, Trial
from tune_sketch.samplers.base import Sampler, SearchTask, ask, propose_at_random
from tune_sketch.samplers.incumbent import RANDOM_FRACTION
from tune_sketch.storage.history import History

ROWS = Path(__file__).parent / "results" / "search_variants-cpu.csv"
BASE = "no crossing"
SHIPPED = "60 % change half of the best"
KERNEL_WIDTHS = tpe.kernel_widths


class Variant(Sampler):
    """The default sampler as it was before it mutated configurations, with what was varied as attributes."""

    random_fraction = RANDOM_FRACTION
    min_values = 8
    good_fraction = tpe.GOOD_FRACTION
    num_candidates = tpe.NUM_CANDIDATES
    shallower_fraction = 0.0  # of the model's proposals: from the rung before the deepest
    avoids_running = False  # running trials count among the bad, as in Optuna's constant liar
    models_first = True  # whether the configuration that comes first is modelled as any other
    width_factor = 1.0  # of the kernels
    changed_fraction = 0.0  # of the proposals: the best configuration with some parameters drawn anew
    changed_parameters = 0.3  # of its parameters, at least one
    chosen_fraction = 0.0  # of the proposals: the best, crossed, by the model's choice of 24
    num_parents = 1  # of the best configurations at the rung, one of which is changed

    def __init__(self, task: SearchTask) -> None:
        super().__init__(task)
        self.study = optuna.create_study(direction="maximize")  # through which the space is asked; holds no values
        self.values = {rung: tpe.History() for rung in task.rungs}
        self.known: dict[int, set[int]] = {rung: set() for rung in task.rungs}
        self.unfinished: list[int] = []  # trials that may still reach a rung
        self.num_seen = 0

    def propose(self, number: int, history: History) -> Proposal:
        self.learn(history)
        task, trials = self.task, history.trials
        chance = random.Random(derive_seed(task.seed, "random", number))
        rungs = [rung for rung in reversed(task.rungs) if len(self.known[rung]) >= self.min_values]
        if not rungs or chance.random() < self.random_fraction:
            return propose_at_random(task, number)
        seed = derive_seed(task.seed, "sampler", number)
        # A variant draws only for what it has, so that its searches stay the same whatever other variants there are.
        if self.chosen_fraction and chance.random() < self.chosen_fraction:
            parent = self.rank(rungs[0], trials)[0]
            self.study.sampler = ChoosingSampler(self.values[rungs[0]], seed, parent.params)
            return ask(task, self.study, Source("tpe", rung=rungs[0]))
        if self.changed_fraction and chance.random() < self.changed_fraction:
            return self.change_best(number, rungs[0], trials)
        rung = rungs[1] if len(rungs) > 1 and chance.random() < self.shallower_fraction else rungs[0]
        running = [trials[n].params for n in self.unfinished if n not in self.known[rung]]
        tpe.NUM_CANDIDATES, tpe.GOOD_FRACTION = self.num_candidates, self.good_fraction
        tpe.kernel_widths = lambda *arguments: KERNEL_WIDTHS(*arguments) * self.width_factor
        values = self.values[rung] if self.models_first else self.values_without_first(rung, trials)
        self.study.sampler = HistorySampler(values, seed, running if self.avoids_running else ())
        return ask(task, self.study, Source("tpe", rung=rung))

    def learn(self, history: History) -> None:
        """Bring the rungs' values up to date with the history, in the order in which they were recorded."""
        trials = [history.trials[number] for number in self.unfinished] + history.trials[self.num_seen :]
        for rung, known in self.known.items():
            self.add_values(self.values[rung], rung, [trial for trial in trials if trial.number not in known])
            known.update(trial.number for trial in trials if trial.epoch_at(rung) is not None)
        self.num_seen = len(history.trials)
        self.unfinished = [trial.number for trial in trials if trial.is_unfinished]

    @staticmethod
    def add_values(values: tpe.History, rung: int, trials: Sequence[Trial]) -> None:
        """Add the values of those trials that got to the rung."""
        reached = [(epoch.recorded_at, t.number, epoch.val_top1, t) for t in trials if (epoch := t.epoch_at(rung))]
        for _, _, value, trial in sorted(reached, key=lambda entry: entry[:2]):
            values.add(trial.params, trial.distributions, value)

    def rank(self, rung: int, trials: Sequence[Trial]) -> list[Trial]:
        """The trials at the rung from best to worst, the one that was there first of two with one value."""
        there = [(epoch, trials[n]) for n in self.known[rung] if (epoch := trials[n].epoch_at(rung)) is not None]
        there.sort(key=lambda pair: (-pair[0].val_top1, pair[0].recorded_at, pair[1].number))
        return [trial for _, trial in there]

    def change_best(self, number: int, rung: int, trials: Sequence[Trial]) -> Proposal:
        """The best configuration at the rung with some parameters drawn anew."""
        draw = random.Random(derive_seed(self.task.seed, "change", number))
        ranked = self.rank(rung, trials)
        best = ranked[0] if self.num_parents == 1 else draw.choice(ranked[: self.num_parents])
        names = sorted(best.params)
        changed = {draw.choice(names)} | {name for name in names if draw.random() < self.changed_parameters}
        kept = {name: value for name, value in best.params.items() if name not in changed}
        self.study.sampler = PartialSampler(kept, derive_seed(self.task.seed, "sampler", number))
        return ask(self.task, self.study, Source("mutated", rung=rung, parent=best.number))

    def values_without_first(self, rung: int, trials: Sequence[Trial]) -> tpe.History:
        values = tpe.History()
        self.add_values(values, rung, trials[len(self.task.first) :])
        return values


class ChoosingSampler(HistorySampler):
    """The crossing of one configuration with random ones that the model favours most."""

    def __init__(self, history: tpe.History, seed: int, parent: dict[str, Any]) -> None:
        super().__init__(history, seed)
        self.parent = parent

    def sample_relative(self, study: Any, trial: Any, search_space: dict[str, Any]) -> dict[str, Any]:
        if not search_space:
            return {}
        original = tpe.Density.sample
        parent = tpe.as_array([tpe.represent(self.parent, search_space)], search_space)[0]

        def cross(density: tpe.Density, num_samples: int, generator: np.random.Generator) -> np.ndarray:
            anew = original(tpe.Density(np.empty((0, len(search_space))), search_space), num_samples, generator)
            return np.where(generator.random(anew.shape) < 0.5, parent, anew)

        tpe.Density.sample = cross  # type: ignore[method-assign, assignment]
        try:
            return self.history.propose(search_space, self.random)
        finally:
            tpe.Density.sample = original  # type: ignore[method-assign]


class PartialSampler(RandomSampler):
    """Gives the named values and draws the others at random."""

    def __init__(self, values: dict[str, Any], seed: int) -> None:
        super().__init__(seed)
        self.values = values

    def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> Any:
        if param_name in self.values:
            return self.values[param_name]
        return super().sample_independent(study, trial, param_name, param_distribution)


HALF = {"changed_parameters": 0.5}
VARIANTS: dict[str, dict[str, Any]] = {
    BASE: {},
    "running trials count as bad": {"avoids_running": True},
    "10 % random": {"random_fraction": 0.1},
    "40 % random": {"random_fraction": 0.4},
    "16 values before a rung is modelled": {"min_values": 16},
    "40 % from the rung before the deepest": {"shallower_fraction": 0.4},
    "64 candidates": {"num_candidates": 64},
    "the first is not modelled": {"models_first": False},
    "30 % change the best": {"changed_fraction": 0.375},  # of the four fifths that are not random
    "60 % change the best": {"changed_fraction": 0.75},
    "20 % of the values are good": {"good_fraction": 0.2},
    "kernels of half the width": {"width_factor": 0.5},
    "5 % of the values are good": {"good_fraction": 0.05},
    "kernels of twice the width": {"width_factor": 2.0},
    "all change the best": {"changed_fraction": 1.0},
    "60 % change a sixth of the best": {"changed_fraction": 0.75, "changed_parameters": 0.15},
    "60 % change half of the best": HALF | {"changed_fraction": 0.75},
    "60 % change the best from 3 values on": {"changed_fraction": 0.75, "min_values": 3},
    "40 % change half of the best": HALF | {"changed_fraction": 0.5},
    "45 % change half of the best and 10 % random": HALF | {"changed_fraction": 0.5, "random_fraction": 0.1},
    "60 % by choice of 24 that change half of the best": {"chosen_fraction": 0.75},
    "30 % by choice of 24 and 30 % by chance": HALF | {"chosen_fraction": 0.375, "changed_fraction": 0.6},
    "all change half of the best": HALF | {"changed_fraction": 1.0},
    "60 % change two thirds of the best": {"changed_fraction": 0.75, "changed_parameters": 0.67},
    "60 % change half of one of the best three": HALF | {"changed_fraction": 0.75, "num_parents": 3},
    "20 % good and half the width": {"width_factor": 0.5, "good_fraction": 0.2},
}


def write_report(path: Path) -> int:
    """Write each variant's advantage over BASE as a table beside the rows; `judge` of the one that is shipped."""
    regrets = compute_regrets(read_rows(path))
    lines = [
        "# Variants of the sampler, on the tasks for choosing",
        "",
        f"8 workers, all begin with the middle of the space; {machine()}. Regret and intervals as in",
        f"search_quality-cpu.md. Shipped: {SHIPPED} (each of its parameters by even chance).",
        "",
        f"| variant | t | regret | advantage over {BASE} [95 %] | n pairs |",
        "|---|---|---|---|---|",
    ]
    for name in VARIANTS:
        for method, workers, t in sorted(key for key in regrets if key[0] == name):
            pairs = pair(regrets[method, workers, t], regrets[BASE, workers, t])
            mean, low, high = interval(pairs)
            regret = mean_regret(regrets[method, workers, t])
            num_pairs = sum(map(len, pairs))
            lines.append(f"| {name} | {t:g} | {regret:.3f} | {mean:+.3f} [{low:+.3f}, {high:+.3f}] | {num_pairs} |")
    by_rung = compute_regrets(read_rows(path), "by_rung")
    lines += ["", f"Taking the best at the deepest rung instead of the highest value seen (shipped), {BASE}:", ""]
    lines += ["| t | regret by rung | regret by highest value | advantage of the highest value [95 %] | n pairs |"]
    lines += ["|---|---|---|---|---|"]
    for method, workers, t in sorted(key for key in regrets if key[0] == BASE):
        pairs = pair(regrets[method, workers, t], by_rung[method, workers, t])
        mean, low, high = interval(pairs)
        both = f"{mean_regret(by_rung[method, workers, t]):.3f} | {mean_regret(regrets[method, workers, t]):.3f}"
        lines.append(f"| {t:g} | {both} | {mean:+.3f} [{low:+.3f}, {high:+.3f}] | {sum(map(len, pairs))} |")
    path.with_suffix(".md").write_text("\n".join([*lines, ""]))
    print("\n".join(lines))
    return judge(regrets, SHIPPED)


def judge(regrets: Regrets, method: str) -> int:
    """Print the method's advantage over BASE; 1 when it is certainly a loss."""
    texts, code = [], 0
    for name, workers, t in sorted(key for key in regrets if key[0] == method):
        pairs = pair(regrets[name, workers, t], regrets[BASE, workers, t])
        mean, low, high = interval(pairs)
        code |= high < 0
        texts.append(f"t={t:g} {mean:+.3f} [{low:+.3f}, {high:+.3f}] n={sum(map(len, pairs))}")
    print(f"{method} over {BASE}, regret, W=8, not certainly below 0: {'; '.join(texts)}")
    return int(code)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(allow_abbrev=False, description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="?", choices=["rows", "report"], default="report")
    parser.add_argument("--quick", action="store_true", help="the shipped sampler on two seeds; writes no result file")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=280.0, help="begin no search later than this")
    arguments = parser.parse_args(argv)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if arguments.what == "report" and not arguments.quick:
        return write_report(ROWS)
    for name, attributes in VARIANTS.items():
        METHODS[name] = Method(type("Variant", (Variant,), attributes))
    tasks = list(load_tasks("choose").values())
    if arguments.quick:
        rows = [row for s in range(2) for t in tasks for name in (BASE, "incumbent") for row in run_one(t, name, 8, s)]
        return judge(compute_regrets(rows), "incumbent")
    searches = list_searches(tasks, list(VARIANTS), [8], range(arguments.seeds))
    missing = run_missing(ROWS, searches, arguments.seconds)
    print(f"{missing} searches missing")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""How often a search stops its best configuration, where, and by which rule: python -m benchmarks.slow_starters.

On the recorded curves of a network with loaded weights (curves/record.py): frozen ones start fast and end low, whole
ones start slowly and end high. A search tries the paper's configuration, the recipe and some of the others that were
recorded, on simulated workers with the real journal; only the rule that stops trials differs.
"""

import math
import random
import statistics
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.curves.tasks import PretrainedTable
from benchmarks.machine import write_result
from tests.support.untrained import make_job
from tune_sketch.backend.simulated import Curve, SimulatedBackend
from tune_sketch.config.seeds import derive_seed
from tune_sketch.events import Config, Decision, Job, Source, Trial
from tune_sketch.samplers.base import SearchTask, propose_fixed
from tune_sketch.schedulers.asha import ASHA, NEVER_STOP, Rule
from tune_sketch.schedulers.queue import TrialQueue
from tune_sketch.schedulers.recorder import Recorder
from tune_sketch.schedulers.rungs import rank_trials, rung_epochs
from tune_sketch.statistics import t_interval
from tune_sketch.storage.files import write_csv
from tune_sketch.storage.journal import Journal

RESULT = Path(__file__).parent / "results" / "slow_starters-cpu.csv"
NUM_TRIALS, NUM_WORKERS, NUM_SEARCHES = 16, 2, 300
NUM_CLASSES = 40  # of the recorded tables


@dataclass(frozen=True)
class WithinStrata:
    """ASHA among trials whose loaded layers are frozen alike: all but the head, or fewer."""

    rule: ASHA

    def decide(self, trial: Trial, trials: Iterable[Trial]) -> Decision | None:
        return self.rule.decide(trial, (other for other in trials if stratum(other) == stratum(trial)))


@dataclass(frozen=True)
class KeepsBestOfStratum:
    """ASHA, but whoever is the best of its stratum at a rung goes on."""

    rule: ASHA

    def decide(self, trial: Trial, trials: Iterable[Trial]) -> Decision | None:
        trials = list(trials)
        decision = self.rule.decide(trial, trials)
        alike = self.rule.decide(trial, [other for other in trials if stratum(other) == stratum(trial)])
        return alike if alike is not None and alike.num_better == 0 else decision


def decide_by(
    value_of: Callable[[Trial, int], Any], rule: ASHA, trial: Trial, trials: Iterable[Trial]
) -> Decision | None:
    """ASHA's decision by another value at a rung: whether the trial is among the best of those before it."""
    rung = len(trial.epochs)
    if rung not in rule.rungs[:-1]:
        return None
    others = [other for other in trials if other.number != trial.number and len(other.epochs) >= rung]
    value = value_of(trial, rung)
    num_better = sum(value_of(other, rung) > value for other in others)
    decision = "stop" if num_better > len(others) / rule.reduction_factor else "continue"
    return Decision(decision, None, num_better, len(others))


@dataclass(frozen=True)
class ByTrend:
    """ASHA over values that are carried on to the last rung: by what was gained over the latest third of the way."""

    rule: ASHA

    def decide(self, trial: Trial, trials: Iterable[Trial]) -> Decision | None:
        return decide_by(self.expected, self.rule, trial, trials)

    def expected(self, trial: Trial, rung: int) -> float:
        """Half of the latest gain once more."""
        values = [epoch.val_top1 for epoch in trial.epochs[:rung]]
        return values[-1] + 0.5 * (values[-1] - values[max(0, rung * 2 // 3 - 1)])


@dataclass(frozen=True)
class ByLoss:
    """ASHA over validation losses; those worse than chance's are alike, and among them top-1 counts.

    At the first epochs a loss tells more of what a configuration comes to than top-1 does: a network may already be
    wrong with less certainty. But one that is certain too soon has a loss above chance while it learns.
    """

    rule: ASHA

    def decide(self, trial: Trial, trials: Iterable[Trial]) -> Decision | None:
        return decide_by(standing, self.rule, trial, trials)


def standing(trial: Trial, rung: int) -> tuple[float, float]:
    """The order of trials at a rung by loss: higher is better."""
    epoch = trial.epochs[rung - 1]
    return -min(epoch.val_loss, math.log(NUM_CLASSES)), epoch.val_top1


def stratum(trial: Trial) -> bool:
    return bool(trial.config["freeze"] == "head_only")


class Variant(NamedTuple):
    """A rule, and its first rung."""

    grace_epochs: int | None = 2  # None: nothing is stopped
    factor: int = 3
    wrap: Callable[[ASHA], Rule] = lambda rule: rule

    def make(self, max_epochs: int) -> Rule:
        if self.grace_epochs is None:
            return NEVER_STOP
        return self.wrap(ASHA(rung_epochs(self.grace_epochs, max_epochs, self.factor), self.factor))


RULES = {
    "ASHA, first rung after 2 of 27 epochs (shipped)": Variant(),
    "first rung after 1": Variant(1),
    "first rung after 3": Variant(3),
    "first rung after 4": Variant(4),
    "first rung after 6": Variant(6),
    "first rung after 9": Variant(9),
    "factor 2": Variant(2, 2),
    "within strata of frozen layers": Variant(wrap=WithinStrata),
    "the best of each stratum goes on": Variant(wrap=KeepsBestOfStratum),
    "values carried on along their trend": Variant(wrap=ByTrend),
    "by validation loss, up to chance's": Variant(wrap=ByLoss),
    "nothing is stopped": Variant(None),
}


class InOrder:
    """Proposes what was recorded, in a given order; the interface of a sampler that a queue needs."""

    def __init__(self, task: SearchTask, params: Sequence[tuple[Config, Source]]) -> None:
        self.task, self.params = task, params

    def next(self, journal: Journal) -> Any:
        number = len(journal.trials)
        return None if number == len(self.params) else propose_fixed(self.task, *self.params[number])


def search(task: PretrainedTable, rule: Rule, seed: int) -> dict[str, Any]:
    """One search; the row of the table."""
    assert task.recipe is not None
    rungs = rung_epochs(task.grace_epochs, task.max_epochs, 3)
    drawn = random.Random(derive_seed(task.name, seed)).sample(task.params[2:], NUM_TRIALS - 2)
    params = [(task.first[0], Source("paper")), (task.recipe, Source("recipe"))]
    params += [(found | {"epochs": task.max_epochs}, Source("random")) for found in drawn]
    backend = SimulatedBackend(lambda job: curve_of(job), NUM_WORKERS)
    journal = Journal(clock=backend.clock)
    sampler = InOrder(SearchTask(task.space, task.limits, rungs, NUM_TRIALS), params)
    finals: dict[int, float] = {}

    def curve_of(job: Job) -> Curve:
        curve = task.curve(job.config, derive_seed(task.name, job.seed))
        finals[journal.find(job.key).number] = curve.true_final
        return Curve(curve.values.tolist(), curve.losses.tolist(), curve.seconds.tolist())

    def propose() -> Trial | None:
        proposal = sampler.next(journal)
        return None if proposal is None else journal.add_trial(proposal, derive_seed(seed, len(journal.trials)))

    queue = TrialQueue(journal, [], propose, make_job)
    backend.simulate(queue, Recorder(journal, queue, rule))
    best = journal.trials[max(finals, key=lambda number: (finals[number], -number))]
    chosen = rank_trials(journal.trials)[0]
    return {
        "task": task.name,
        "seed": seed,
        "stopped_at": len(best.epochs) if len(best.epochs) < task.max_epochs else 0,
        "points_lost": 100 * (finals[best.number] - finals[chosen.number]),
        "hours": backend.now / 3600,
    }


def write_page(rows: Sequence[dict[str, Any]]) -> None:
    """Write the table of each task."""
    lines = [
        f"{NUM_SEARCHES} simulated searches of {NUM_TRIALS} trials each on {NUM_WORKERS} workers: the paper's "
        "configuration, the recipe, and others of the recorded ones (benchmarks/curves/pretrained.npz), in random "
        "order. The best is the one with the highest value after 27 epochs without noise. Points lost: of validation "
        "top-1, the best minus the one that the search would choose; 95 % interval over searches, which share one "
        "table. Time: of the whole search, against the first line.",
    ]
    for task in sorted({row["task"] for row in rows}):
        lines += ["", f"## {task}", ""]
        lines += ["| rule | best stopped, % | at which rung: % | points lost [95 %] | time |", "|---|---|---|---|---|"]
        of_task = [row for row in rows if row["task"] == task]
        usual = statistics.mean(row["hours"] for row in of_task if row["rule"] == next(iter(RULES)))
        for rule in RULES:
            found = [row for row in of_task if row["rule"] == rule]
            stopped = [row["stopped_at"] for row in found if row["stopped_at"]]
            stops = ", ".join(f"{rung}: {100 * stopped.count(rung) / len(found):.0f}" for rung in sorted(set(stopped)))
            mean = statistics.mean(row["points_lost"] for row in found)
            interval = t_interval([row["points_lost"] for row in found])
            assert interval is not None
            low, high = interval
            time = statistics.mean(row["hours"] for row in found) / usual
            share = 100 * len(stopped) / len(found)
            lines.append(f"| {rule} | {share:.0f} | {stops or '-'} | {mean:.2f} [{low:.2f}, {high:.2f}] | {time:.2f} |")
    print("\n".join(lines))
    write_result("slow_starters", "Which rule stops the best configuration of a network with loaded weights", lines)


def main() -> int:
    rows = [
        {"rule": name} | search(task, variant.make(task.max_epochs), seed)
        for task in (PretrainedTable("quickdraw"), PretrainedTable("sketchy"))
        for name, variant in RULES.items()
        for seed in range(NUM_SEARCHES)
    ]
    write_csv(RESULT, list(rows[0]), rows)
    write_page(rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())

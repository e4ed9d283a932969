"""Races of simulated finalists against the same number of seeds for each: what is found, and with how many trainings.

    python -m benchmarks.race [--quick]

Finalists differ in their true means (normal, standard deviation SPREAD) and from seed to seed (normal, NOISE), as 0.01
of top-1 does on a small validation split. Regret: how much worse the chosen one truly is than the best. Both ways see
the same values. The race is the program's own; its chance of being best is compared with how often it was: over all
cases, since the program does not know how far apart finalists lie.
"""

import argparse
import itertools
import statistics
import sys

import numpy as np

from benchmarks.machine import describe, write_result
from tune_sketch.events import Epoch, Trial
from tune_sketch.retraining.racing import plan_race
from tune_sketch.statistics import chances_of_best
from tune_sketch.storage.journal import retraining_key

NOISE = 0.01
CASES = [
    (3, 3, 0.01),
    (3, 5, 0.01),
    (6, 5, 0.01),
    (6, 5, 0.005),
    (11, 5, 0.01),
]  # finalists, --retraining-seeds, SPREAD


def run_race(values: np.ndarray, retraining_seeds: int) -> tuple[int, float, int]:
    """(chosen finalist, its stated chance of being best, trainings) of a race over values [finalists, seeds].

    All values are there from the start: a round of the race looks only at the seeds before it.
    """
    finalists, retrainings = range(len(values)), {}
    for (number, seed_index), value in np.ndenumerate(values):
        epochs = (Epoch(1, {"val_top1": float(value)}),)
        key = retraining_key(number, seed_index + 1)
        retrainings[key] = Trial(key, number, {}, 0, seed_index=seed_index + 1, status="completed", epochs=epochs)
    plan = plan_race(finalists, retrainings, retraining_seeds)
    seen: dict[int, list[float]] = {}
    for number, index in plan:
        seen.setdefault(number, []).append(float(values[number, index - 1]))
    chances = chances_of_best(seen)
    assert chances is not None
    chosen = max(sorted(seen), key=lambda number: statistics.fmean(seen[number]))
    return chosen, chances[chosen], len(plan)


def measure(case: tuple[int, int, float], num_races: int) -> dict[str, np.ndarray]:
    """Regret of both ways, trainings and stated chance of the race, each [num_races]."""
    num_finalists, retraining_seeds, spread = case
    rng = np.random.default_rng([num_finalists, retraining_seeds, round(1e4 * spread)])
    columns: dict[str, list[float]] = {name: [] for name in ("race", "equal", "trainings", "stated")}
    for _ in range(num_races):
        truth = rng.normal(0.8, spread, num_finalists)
        values = truth[:, None] + rng.normal(0, NOISE, (num_finalists, num_finalists * retraining_seeds))
        chosen, stated, trainings = run_race(values, retraining_seeds)
        columns["race"].append(truth.max() - truth[chosen])
        columns["equal"].append(truth.max() - truth[values[:, :retraining_seeds].mean(axis=1).argmax()])
        columns["trainings"].append(trainings)
        columns["stated"].append(stated)
    return {name: np.array(column) for name, column in columns.items()}


def interval(values: np.ndarray) -> tuple[float, float]:
    """Bootstrap 95 % interval of a mean."""
    draws = np.random.default_rng(0).choice(values, (2000, len(values))).mean(axis=1)
    low, high = np.quantile(draws, (0.025, 0.975))
    return float(low), float(high)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the races; writes no result file")
    arguments = parser.parse_args()
    num_races = 40 if arguments.quick else 400
    lines = [
        "| finalists | seeds on average at most | spread | trainings: race / equal | best one chosen: race / equal "
        "| stated chance | regret, points: race / equal | equal minus race [95 %] |",
        "|---|---|---|---|---|---|---|---|",
    ]
    saved, gained, too_sure = [], [], []
    for case in CASES:
        found = measure(case, num_races)
        num_finalists, retraining_seeds, spread = case
        gain = 100 * (found["equal"] - found["race"])
        low, high = interval(gain)
        saved.append(1 - found["trainings"] / (num_finalists * retraining_seeds))
        gained.append(gain)
        too_sure.append(found["stated"] - (found["race"] == 0))
        right = {name: float((found[name] == 0).mean()) for name in ("race", "equal")}
        lines.append(
            f"| {num_finalists} | {retraining_seeds} | {spread:g} | {found['trainings'].mean():.1f} / "
            f"{num_finalists * retraining_seeds} | {right['race']:.2f} / {right['equal']:.2f} "
            f"| {found['stated'].mean():.2f} | {100 * found['race'].mean():.3f} / {100 * found['equal'].mean():.3f} "
            f"| {gain.mean():+.3f} [{low:+.3f}, {high:+.3f}] |"
        )
        print(lines[-1], flush=True)
    all_gains = np.array(list(itertools.chain(*gained)))
    low, high = interval(all_gains)
    sure = 100 * np.concatenate(too_sure)
    of_chances = "stated chance minus how often it came true {:+.1f} points [{:+.1f}, {:+.1f}]".format(
        sure.mean(), *interval(sure)
    )
    if not arguments.quick:
        about = f"{num_races} races each, noise {NOISE:g}. Equal: each finalist has as many seeds as the race may use."
        write_result("race", __doc__.splitlines()[0], [about, "", *lines, "", of_chances])
    fewer = float(np.mean(saved))
    print(
        f"regret of equal seeds minus that of the race {all_gains.mean():+.3f} points [{low:+.3f}, {high:+.3f}] with "
        f"{100 * fewer:.0f} % fewer trainings (at least 0 and 0); {of_chances}, n = {len(all_gains)}; {describe()}"
    )
    return 0 if high >= 0 and fewer >= 0 else 1


if __name__ == "__main__":
    sys.exit(main())

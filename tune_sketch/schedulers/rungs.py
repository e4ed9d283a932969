"""Rungs: the epochs at which trials are compared, and the values that trials have there."""

import math
from collections.abc import Iterable, Sequence

from tune_sketch.events import Trial

CURVE_EPOCHS = 6  # of the paper's loss curves
FIRST_RUNG_FRACTION = 0.06  # of max_epochs; what won in simulation on LCBench, see benchmarks/search_quality.py


def default_grace_epochs(max_epochs: int) -> int:
    """The first rung: about 6 % of the full budget, at least one epoch."""
    return max(1, round(FIRST_RUNG_FRACTION * max_epochs))


def rung_epochs(grace_epochs: int, max_epochs: int, reduction_factor: int) -> list[int]:
    """Epochs at which ASHA compares trials: grace, grace * factor, ... and the full budget last.

    Computed in whole numbers: Ray's own rungs come from floating-point logarithms and lose one rung where
    max / grace is an exact power (243 / 1 at factor 3).
    """
    epochs, epoch = [], grace_epochs
    while epoch < max_epochs:
        epochs.append(epoch)
        epoch *= reduction_factor
    return [*epochs, max_epochs]


def expected_epochs_per_trial(rungs: Sequence[int], reduction_factor: int) -> float:
    """Mean epochs of a trial when one in `reduction_factor` passes each rung, as ASHA does in the long run."""
    expected, passing, previous = 0.0, 1.0, 0
    for rung in rungs:
        expected += passing * (rung - previous)
        previous, passing = rung, passing / reduction_factor
    return expected


def curve_epochs(max_epochs: int) -> int:
    """Epochs of the loss curves of one factor at a time: the paper's six, fewer where full trainings are short."""
    return min(CURVE_EPOCHS, math.ceil(max_epochs / 3))


def values_at(trials: Iterable[Trial], rung: int) -> dict[int, float]:
    """{trial number: validation top-1} of the trials that were trained to the rung."""
    return {trial.number: trial.epochs[rung - 1].val_top1 for trial in trials if len(trial.epochs) >= rung}


def rank_trials(trials: Iterable[Trial]) -> list[Trial]:
    """Trials that trained at all from best to worst: by the highest value that each reached, at whatever epoch.

    What was reached is what a configuration can do at least. Going by the deepest rung first is worse while few trials
    got there, and no better later: see benchmarks/results/search_variants-cpu.md.
    """
    ranked = [(-best.val_top1, trial.number, trial) for trial in trials if (best := trial.best_epoch) is not None]
    return [trial for *_, trial in sorted(ranked, key=lambda entry: entry[:2])]


def best_own_network(trials: Iterable[Trial]) -> Trial | None:
    """The trial whose network is the best that the search has now: by its last epoch, which it was kept at."""
    trained = [trial for trial in trials if trial.epochs]
    return max(trained, key=lambda trial: (trial.epochs[-1].val_top1, -trial.number), default=None)

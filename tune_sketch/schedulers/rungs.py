"""Says at which epochs trials are compared, and keeps the values that were seen there in order of arrival."""

import math
from collections.abc import Iterable, Sequence

import numpy as np

from tune_sketch.config.settings import SearchSettings
from tune_sketch.storage.journal import Record

CURVE_EPOCHS = 6  # of the study's loss curves


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


def value_at_rung(record: Record, rung: int) -> tuple[float, float] | None:
    """(value, time recorded) with which a trial counts at a rung, or None when it did not get there.

    A trial that ended by itself before the rung counts there with its final value: it would not train longer.
    """
    if len(record.epochs) >= rung:
        epoch = record.epochs[rung - 1]
    elif record.status == "completed" and record.epochs:
        epoch = record.epochs[-1]
    else:
        return None
    return epoch["val_top1"], epoch["recorded_at"]


def expected_epochs_per_trial(rungs: list[int], reduction_factor: int) -> float:
    """Mean epochs of a trial when one in `reduction_factor` passes each rung, as ASHA does in the long run."""
    expected, passing, previous = 0.0, 1.0, 0
    for rung in rungs:
        expected += passing * (rung - previous)
        previous, passing = rung, passing / reduction_factor
    return expected


def curve_epochs(max_epochs: int) -> int:
    """Epochs of the loss curves of one factor at a time: the study's six, fewer where full trainings are short."""
    return min(CURVE_EPOCHS, math.ceil(max_epochs / 3))


def expected_epochs(settings: SearchSettings) -> float:
    """Mean epochs of a trial, roughly: by its strategy half of them are curves, or most are stopped at a rung."""
    if settings.strategy == "one-factor":
        return (curve_epochs(settings.max_epochs) + settings.max_epochs) / 2
    rungs = rung_epochs(settings.grace_epochs, settings.max_epochs, settings.reduction_factor)
    return expected_epochs_per_trial(rungs, settings.reduction_factor)


def arrivals(records: Iterable[Record], rung: int) -> dict[int, float]:
    """{trial number: value} of the trials that trained to the rung, in the order in which they got there."""
    reached = [
        (r.epochs[rung - 1]["recorded_at"], r.number, r.epochs[rung - 1]["val_top1"])
        for r in records
        if len(r.epochs) >= rung
    ]
    return {number: value for _, number, value in sorted(reached)}


def cutoff_before(
    records: Iterable[Record], record: Record, rung: int, reduction_factor: int
) -> tuple[float | None, dict[int, float]]:
    """(the value under which ASHA stops a trial at a rung, {trial: value} of those that got there before it).

    Ray's rule, as JournaledASHA applies it: the (1 - 1 / factor) quantile of the values before; None for the first.
    """
    values = arrivals(records, rung)
    before = {number: values[number] for number in list(values)[: list(values).index(record.number)]}
    if not before:
        return None, before
    return float(np.percentile(list(before.values()), (1 - 1 / reduction_factor) * 100)), before


def rank_trials(trials: Sequence[Record]) -> list[Record]:
    """Trials that trained at all from best to worst: by the highest value that each reached, at whatever epoch.

    What was reached is what a configuration can do at least. Going by the deepest rung first is worse while few trials
    got there, and no better later: see benchmarks/results/search_variants-cpu.md.
    """
    return sorted((r for r in trials if r.epochs), key=lambda r: (-r.best_epoch["val_top1"], r.number))

"""Says whose turn it is among several networks, which are compared at equal worker seconds."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tune_sketch.events import Trial
from tune_sketch.schedulers.stop_signal import NUM_SAME_FAILURES

FACTOR = 2  # between the seconds of two steps; one in that many goes on, the best
# Chosen by simulation on tasks kept apart for it, judged on others: benchmarks/results/networks-cpu.md.
FIRST_STEP = 4  # trainings to the first rung, at the speed of the slowest network's first configurations
MOST_RATIO = 16  # of the leader's seconds over those of the networks that were left behind


@dataclass
class Spent:
    """Worker time spent on a network, and the values reached with it."""

    num_trials: int = 0
    num_failed: int = 0  # ended without an epoch
    epochs: list[tuple[float, int, int, float, float]] = field(
        default_factory=list
    )  # time, trial, epoch, seconds, top-1
    seconds: float = 0.0  # of its recorded epochs
    pending_epochs: int = 0  # until each trial that is training will be at its next rung; what is set aside is not
    # Of one of its first configurations up to the first rung, in the mean; None until all are there.
    first_seconds: float | None = None

    @property
    def is_out(self) -> bool:
        """Whether it cannot be trained here."""
        return not self.epochs and self.num_failed >= NUM_SAME_FAILURES

    def best_within(self, seconds: float) -> float | None:
        """The highest validation top-1 of the epochs recorded within its first `seconds`."""
        best, spent = None, 0.0
        for *_, of_epoch, value in self.epochs:
            spent += of_epoch
            if spent > seconds * (1 + 1e-9):
                break
            best = value if best is None else max(best, value)
        return best


@dataclass(frozen=True)
class Turn:
    """The order of turns: networks in the order in which they are asked for a trial, and the step to be reached.

    Networks that cannot be trained here are not among them. behind: those whose turn it is. step_seconds: None until
    every network's first configurations have passed their first rung. values: of those that were compared last, before
    this step, within `compared_seconds`.
    """

    order: tuple[str, ...]
    behind: tuple[str, ...]
    step_seconds: float | None = None
    compared_seconds: float | None = None
    values: Mapping[str, float | None] = field(default_factory=dict)


def measure_networks(trials: Iterable[Trial], rungs: Mapping[str, Sequence[int]], num_first: int) -> dict[str, Spent]:
    """Measure each network's share. rungs: of each, in the order of their turns; num_first: configurations."""
    spent = {name: Spent() for name in rungs}
    first: dict[str, list[float | None]] = {name: [] for name in rungs}
    for trial in trials:
        assert trial.network is not None
        own, own_rungs = spent[trial.network], rungs[trial.network]
        own.num_trials += 1
        own.num_failed += not trial.is_unfinished and not trial.epochs
        own.epochs += [(e.recorded_at, trial.number, e.number, e.seconds, e.val_top1) for e in trial.epochs]
        own.seconds += trial.train_seconds
        num_epochs = len(trial.epochs)
        if trial.status == "running":
            own.pending_epochs += max(0, next((r for r in own_rungs if r > num_epochs), num_epochs) - num_epochs)
        if len(first[trial.network]) < num_first:
            is_there = num_epochs >= own_rungs[0] or not trial.is_unfinished
            first[trial.network].append(
                math.fsum(epoch.seconds for epoch in trial.epochs[: own_rungs[0]]) if is_there else None
            )
    for name, own in spent.items():
        own.epochs.sort()
        known = [seconds for seconds in first[name] if seconds is not None]
        own.first_seconds = math.fsum(known) / num_first if len(known) == num_first else None
    return spent


def take_turns(spent: Mapping[str, Spent], *, first_step: float = FIRST_STEP, most_ratio: float = MOST_RATIO) -> Turn:
    """Successive halving of networks by worker seconds, begun again where one has had `most_ratio` times the others'.

    After Jamieson and Talwalkar (2016, arXiv 1502.07943), who halve arms that get better the more they are pulled. It
    is a function of the recorded epochs alone, and what was decided stays: later epochs change no value within seconds
    that are over.
    """
    able = [name for name, own in spent.items() if not own.is_out]
    due = expected_seconds(spent)
    by_need = sorted(able, key=lambda name: (due[name], spent[name].num_trials))
    costs = [spent[name].first_seconds for name in able]
    known = [cost for cost in costs if cost is not None]
    if len(known) < len(able) or not any(known):
        return Turn(tuple(by_need), tuple(by_need[:1]))
    unit = first_step * max(known)
    floor, seconds, running = unit, unit, able
    compared: float | None = None
    values: dict[str, float | None] = {}
    while all(due[name] >= seconds for name in running):
        if len(running) == 1 and seconds >= most_ratio * floor:
            floor = seconds = FACTOR * floor
            running, compared, values = able, None, {}
            continue
        if len(running) > 1:
            compared, values = seconds, {name: spent[name].best_within(seconds) for name in running}
            running = sorted(running, key=lambda name: rank_of(values[name]))[: math.ceil(len(running) / FACTOR)]
        seconds *= FACTOR
    behind = tuple(name for name in by_need if name in running and due[name] < seconds)
    return Turn((*behind, *(n for n in by_need if n not in behind)), behind, seconds, compared, values)


def rank_of(value: float | None) -> float:
    """Sorts the best first, and what has no value last."""
    return math.inf if value is None else -value


def expected_seconds(spent: Mapping[str, Spent]) -> dict[str, float]:
    """The seconds that each network will have had when all that it trains is at its next rung.

    A network without an epoch yet is taken for as slow as the slowest of the others.
    """
    speeds = {name: own.seconds / len(own.epochs) for name, own in spent.items() if own.epochs}
    slowest = max(speeds.values(), default=0.0)
    return {name: own.seconds + own.pending_epochs * speeds.get(name, slowest) for name, own in spent.items()}

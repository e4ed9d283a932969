"""ASHA's rule: whether a trial goes on at a rung, as a function of what is recorded."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from tune_sketch.events import FAILURES, Decision, Trial
from tune_sketch.schedulers.rungs import values_at


class Rule(Protocol):
    """Whether a trial goes on."""

    def decide(self, trial: Trial, trials: Iterable[Trial], at_end: bool = False) -> Decision | None:
        """The decision about a trial's last epoch; None where there is none. at_end: there will be no other trials."""


@dataclass(frozen=True)
class ASHA:
    """Asynchronous successive halving (Li et al. 2020, arXiv 1810.05934), stopping only, as Ray Tune has it.

    A trial stops at a rung when its validation top-1 is under the (1 - 1 / factor) quantile of the values with which
    other trials got there before it. The last rung is the full budget, where nothing is left to stop.
    """

    rungs: Sequence[int]
    reduction_factor: int

    def decide(self, trial: Trial, trials: Iterable[Trial], at_end: bool = False) -> Decision | None:
        """The decision about a trial's last epoch, which is not recorded yet; None where it is no rung.

        So all others that are recorded at the rung got there before.
        """
        rung = len(trial.epochs)
        if trial.is_retraining or rung not in self.rungs[:-1]:
            return None
        before = [value for number, value in values_at(trials, rung).items() if number != trial.number]
        return self.compare(trial.epochs[-1].val_top1, before)

    def compare(self, value: float, others: Sequence[float]) -> Decision:
        """The decision about a value at a rung, beside those of other trials."""
        if not others:
            return Decision("continue", None, 0, 0)
        cutoff = float(np.percentile(others, (1 - 1 / self.reduction_factor) * 100))
        num_better = sum(other > value for other in others)
        return Decision("stop" if value < cutoff else "continue", cutoff, num_better, len(others))


@dataclass(frozen=True)
class PatientASHA(ASHA):
    """ASHA that decides later about the first at a rung, and sooner where others are ahead already.

    ASHA as Ray has it lets the first trials at a rung go on whatever they are worth, and with few workers these take
    most of a short search. Here they wait, paused, until as many are known as one is taken of; when the third of three
    gets there, all three are compared. A trial goes on when it is one of the best n // factor of n, as in the paper's
    algorithm 2 (at least the best one). Beside those that got to the rung, trials count that have more with fewer
    epochs: they would be better there too. What each of it gains: benchmarks/results/search_rules-cpu.md.
    """

    def decide(self, trial: Trial, trials: Iterable[Trial], at_end: bool = False) -> Decision | None:
        """The decision about a trial's last epoch, recorded or not, or "wait"; None where it is no rung."""
        rung = len(trial.epochs)
        if trial.is_retraining or rung not in self.rungs[:-1]:
            return None
        value, others = trial.epochs[-1].val_top1, []
        for other in trials:
            if other.number == trial.number or other.best_epoch is None:
                continue
            if len(other.epochs) >= rung:
                others.append(other.epochs[rung - 1].val_top1)
            elif other.best_epoch.val_top1 > value and other.status not in FAILURES:
                others.append(other.best_epoch.val_top1)
        if len(others) + 1 < self.reduction_factor and not at_end:
            return Decision("wait", None, sum(other > value for other in others), len(others))
        return self.compare(value, others)

    def compare(self, value: float, others: Sequence[float]) -> Decision:
        """The decision about a value at a rung, beside those of other trials."""
        if not others:
            return Decision("continue", None, 0, 0)
        num_kept = max(1, (len(others) + 1) // self.reduction_factor)
        cutoff = sorted(others, reverse=True)[num_kept - 1]
        num_better = sum(other > value for other in others)
        return Decision("continue" if num_better < num_kept else "stop", cutoff, num_better, len(others))


@dataclass(frozen=True)
class OfEachNetwork:
    """A rule for each of several networks, whose trials are compared among themselves alone."""

    rules: Mapping[str, Rule]

    def decide(self, trial: Trial, trials: Iterable[Trial], at_end: bool = False) -> Decision | None:
        """What the rule of the trial's network decides."""
        assert trial.network is not None
        own = (other for other in trials if other.network == trial.network)
        return self.rules[trial.network].decide(trial, own, at_end)


NEVER_STOP = ASHA((), 2)  # of strategies that train every trial to its end, and of retrainings

"""ASHA's rule: whether a trial goes on at a rung, as a function of what is recorded."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from tune_sketch.events import Decision, Trial
from tune_sketch.schedulers.rungs import values_at


class Rule(Protocol):
    """Whether a trial goes on."""

    def decide(self, trial: Trial, trials: Iterable[Trial]) -> Decision | None:
        """The decision about a trial's last epoch, which is not recorded yet; None where there is none."""


@dataclass(frozen=True)
class ASHA:
    """Asynchronous successive halving (Li et al. 2020, arXiv 1810.05934), stopping only, as Ray Tune has it.

    A trial stops at a rung when its validation top-1 is under the (1 - 1 / factor) quantile of the values with which
    other trials got there before it. The last rung is the full budget, where nothing is left to stop.
    """

    rungs: Sequence[int]
    reduction_factor: int

    def decide(self, trial: Trial, trials: Iterable[Trial]) -> Decision | None:
        """The decision about a trial's last epoch, which is not recorded yet; None where it is no rung.

        So all others that are recorded at the rung got there before.
        """
        rung = len(trial.epochs)
        if trial.is_retraining or rung not in self.rungs[:-1]:
            return None
        value = trial.epochs[-1].val_top1
        before = [other for number, other in values_at(trials, rung).items() if number != trial.number]
        if not before:
            return Decision("continue", None, 0, 0)
        cutoff = float(np.percentile(before, (1 - 1 / self.reduction_factor) * 100))
        num_better = sum(other > value for other in before)
        return Decision("stop" if value < cutoff else "continue", cutoff, num_better, len(before))


@dataclass(frozen=True)
class OfEachNetwork:
    """A rule for each of several networks, whose trials are compared among themselves alone."""

    rules: Mapping[str, Rule]

    def decide(self, trial: Trial, trials: Iterable[Trial]) -> Decision | None:
        """The decision by the rule of the trial's network."""
        assert trial.network is not None
        return self.rules[trial.network].decide(trial, (other for other in trials if other.network == trial.network))


NEVER_STOP = ASHA((), 2)  # of strategies that train every trial to its end, and of retrainings

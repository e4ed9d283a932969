"""The finalists of a search: which configurations are retrained, and what their fresh seeds gave."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from tune_sketch.events import Trial
from tune_sketch.schedulers.rungs import rank_trials
from tune_sketch.statistics import chances_of_best, t_interval
from tune_sketch.storage.history import History

LEAST_LENGTH = 0.8  # of a retraining, over its finalist's longest


def choose_finalists(trials: Sequence[Trial], num_best: int) -> list[Trial]:
    """The paper's configuration (trial 0), today's recipe and the best `num_best` others that were trained at all.

    Of several networks: those two of the best trial's network, the best `num_best` others of all, and the best trial
    of each other network.
    """
    ranked = rank_trials(trials)
    leading = ranked[0].network if ranked else trials[0].network
    first = next(trial for trial in trials if trial.network == leading)
    known = [first, *(trial for trial in ranked if trial.is_recipe and trial.network == leading)]
    others = [trial for trial in ranked if trial not in known]
    finalists = [*known, *others[:num_best]]
    for network in dict.fromkeys(trial.network for trial in ranked):
        if network not in [trial.network for trial in finalists]:
            finalists.append(next(trial for trial in ranked if trial.network == network))
    return finalists


def choose_winner(completed: Sequence[Trial]) -> int:
    """The finalist with the highest mean validation top-1 over its seeds; the earlier trial where two are equal."""
    numbers = sorted({trial.number for trial in completed})
    values = {
        number: [t.epochs[-1].val_top1 for t in comparable([t for t in completed if t.number == number])]
        for number in numbers
    }
    return max(numbers, key=lambda number: math.fsum(values[number]) / len(values[number]))


def comparable(completed: Sequence[Trial]) -> list[Trial]:
    """Those of one configuration's completed retrainings that count: on fresh seeds, and about as long as the longest.

    Lengths differ where time ended some, or where a search was extended. The search's own network, which its luck has
    chosen, counts where there is no other.
    """
    fresh = [trial for trial in completed if not trial.is_of_search] or list(completed)
    longest = max((len(trial.epochs) for trial in fresh), default=0)
    return [trial for trial in fresh if len(trial.epochs) >= LEAST_LENGTH * longest]


def completed_retrainings(history: History) -> list[Trial]:
    """The retrainings that came to their end."""
    return [trial for trial in history.retrainings.values() if trial.status == "completed"]


def eligible_retrainings(history: History) -> list[Trial]:
    """Of the retrainings that came to their end, those on fresh seeds of finalists that diverged on none.

    What is left of a finalist that diverges is its luck: the mean of the seeds that survived would be preferred to a
    steady one, and the last step is one more training. The search's own network was chosen for its luck. Such ones
    count where there is no other.
    """
    completed = completed_retrainings(history)
    fresh = [trial for trial in completed if not trial.is_of_search] or completed
    diverged = {trial.number for trial in history.retrainings.values() if trial.status == "diverged"}
    return [trial for trial in fresh if trial.number not in diverged] or fresh


def retrainings_that_count(history: History, number: int) -> list[Trial]:
    """A finalist's retrainings that its values, its ensemble and its network in best/ come from."""
    return comparable([trial for trial in completed_retrainings(history) if trial.number == number])


def choose_network(retrainings: Sequence[Trial]) -> Trial:
    """Of one finalist's retrainings, the one with the highest validation top-1; the later seed of equal ones."""
    return max(comparable(retrainings), key=lambda trial: (trial.epochs[-1].val_top1, trial.key))


@dataclass(frozen=True)
class Finalist:
    """A configuration with its retrainings that came to their end."""

    number: int  # of the trial
    is_chosen: bool  # on validation
    retrainings: tuple[Trial, ...]  # completed and comparable, by seed index
    chance_of_best: float | None  # None: the noise between seeds is not known

    @property
    def is_baseline(self) -> bool:
        return self.number == 0 or any(trial.is_baseline for trial in self.retrainings)

    @property
    def network(self) -> str | None:
        """Its network, in a search over several; None: the search has one, or none of its retrainings ended well."""
        return self.retrainings[0].network if self.retrainings else None

    @property
    def is_recipe(self) -> bool:
        return any(trial.is_recipe for trial in self.retrainings)

    @property
    def mark(self) -> str:
        """The mark behind its number in a table."""
        kind = " (paper)" if self.is_baseline else " (recipe)" if self.is_recipe else ""
        network = f" {self.network}" if self.network is not None else ""
        return network + kind + " (search)" * self.is_of_search + " *" * self.is_chosen

    @property
    def is_of_search(self) -> bool:
        """Whether its network is the one that the search trained, not one on a fresh seed."""
        return any(trial.is_of_search for trial in self.retrainings)

    def values(self, metric: str) -> list[float]:
        """A metric on each seed that has it: "val_top1" of the last epoch, or "test_top1", ..., on the test split.

        Runs of earlier versions lack some.
        """
        if metric.startswith("test_"):
            metric = metric.removeprefix("test_")
            measured = [trial.test.metrics for trial in self.retrainings if trial.test is not None]
        else:
            measured = [trial.epochs[-1].metrics for trial in self.retrainings]
        return [metrics[metric] for metrics in measured if metric in metrics]

    def mean(self, metric: str) -> float | None:
        values = self.values(metric)
        return math.fsum(values) / len(values) if values else None

    def standard_deviation(self, metric: str) -> float | None:
        values = self.values(metric)
        return statistics.stdev(values) if len(values) >= 2 else None

    def interval(self, metric: str) -> tuple[float, float] | None:
        """The 95 % interval of the mean over seeds; None for fewer than two."""
        return t_interval(self.values(metric))


def find_finalists(history: History) -> list[Finalist]:
    """All configurations that were retrained, by trial number. One without a completed retraining has no values."""
    completed: dict[int, list[Trial]] = {}
    for _, trial in sorted(history.retrainings.items()):
        completed.setdefault(trial.number, [])
        if trial.status == "completed":
            completed[trial.number].append(trial)
    completed = {number: comparable(trials) for number, trials in completed.items()}
    chances = chances_of_best({n: [t.epochs[-1].val_top1 for t in trials] for n, trials in completed.items()})
    chosen = chosen_finalist(history)
    return [
        Finalist(number, number == chosen, tuple(trials), chances[number] if chances else None)
        for number, trials in sorted(completed.items())
    ]


def chosen_finalist(history: History) -> int | None:
    """The trial that was chosen on validation, before the test split was last read; None before that."""
    readings = history.notes.get("test_readings", [])
    return int(readings[-1]["chosen"]) if readings else None


def shipped_network(history: History) -> Trial | None:
    """The training whose network is in best/, as it was recorded before the test split was last read.

    None before that, and in runs of earlier versions, which did not record it.
    """
    readings = history.notes.get("test_readings", [])
    key = readings[-1].get("shipped") if readings else None
    return None if key is None else history.later_trainings[key]

"""Races finalists on fresh seeds: more where the leaders are close, fewer where they are not."""

from collections.abc import Mapping, Sequence

from tune_sketch.config.seeds import derive_seed
from tune_sketch.events import Trial
from tune_sketch.statistics import chances_of_best
from tune_sketch.storage.journal import Journal, retraining_key

FIRST_SEEDS = 2  # of every finalist, before any is left behind
LEAST_CHANCE = 0.05  # of being the best, under which a finalist gets no more seeds


def plan_race(finalists: Sequence[int], retrainings: Mapping[str, Trial], mean_seeds: int) -> list[tuple[int, int]]:
    """Every (finalist, seed index from 1) that the race has asked for until now, in order.

    At first FIRST_SEEDS for each (or `mean_seeds`, if fewer). When those have ended, one more for each that still
    has a chance of LEAST_CHANCE to be the best, and so on, until one is left or the finalists have had `mean_seeds`
    each on average. A round is decided by the seeds before it, so the plan is a pure function of the journal, and a
    resumed race goes on as it would have.
    """
    first = min(FIRST_SEEDS, mean_seeds)
    plan = [(number, index) for index in range(1, first + 1) for number in finalists]
    racing, index = list(finalists), first
    while all(has_ended(retrainings.get(retraining_key(*pair))) for pair in plan):
        values = values_on_seeds(finalists, retrainings, index)
        chances = chances_of_best(values)
        if chances is not None:
            racing = [number for number in racing if chances[number] >= LEAST_CHANCE]
            racing.sort(key=lambda number: (-chances[number], number))
        left = mean_seeds * len(finalists) - len(plan)
        if len(racing) < 2 or left < 1:
            break
        index += 1
        plan += [(number, index) for number in racing[:left]]
    return plan


def has_ended(trial: Trial | None) -> bool:
    return trial is not None and not trial.is_unfinished


def values_on_seeds(
    finalists: Sequence[int], retrainings: Mapping[str, Trial], most_seeds: int
) -> dict[int, list[float]]:
    """{finalist: final validation top-1 on its first seeds}, of retrainings that came to their end."""
    values: dict[int, list[float]] = {number: [] for number in finalists}
    for number in finalists:
        for index in range(1, most_seeds + 1):
            trial = retrainings.get(retraining_key(number, index))
            if trial is not None and trial.status == "completed":
                values[number].append(trial.epochs[-1].val_top1)
    return values


class Race:
    """The retrainings of finalists, as the race asks for them."""

    def __init__(self, journal: Journal, finalists: Sequence[Trial], *, mean_seeds: int, seed: int) -> None:
        self.journal, self.mean_seeds, self.seed = journal, mean_seeds, seed
        self.configs = {trial.number: trial.config for trial in finalists}

    def unfinished(self) -> list[Trial]:
        """Retrainings of these finalists that were begun."""
        return [t for t in self.journal.retrainings.values() if t.number in self.configs and t.is_unfinished]

    def missing(self) -> list[tuple[int, int]]:
        """Retrainings in the plan that the journal lacks."""
        plan = plan_race(list(self.configs), self.journal.retrainings, self.mean_seeds)
        return [pair for pair in plan if retraining_key(*pair) not in self.journal.retrainings]

    def propose(self) -> Trial | None:
        """The next retraining, recorded; None when there is none, or none yet. All finalists have the same seeds."""
        for number, index in self.missing():
            seed = derive_seed(self.seed, "confirm", index)
            return self.journal.add_retraining(number, index, self.configs[number], seed)
        return None

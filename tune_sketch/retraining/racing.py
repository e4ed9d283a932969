"""Races finalists on fresh seeds: more where the leaders are close, fewer where they are not."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tune_sketch.config.settings import derive_seed
from tune_sketch.samplers.base import JobSearcher
from tune_sketch.statistics.comparisons import chances_of_best
from tune_sketch.storage.journal import Journal, Record

FIRST_SEEDS = 2  # of every finalist, before any is left behind
LEAST_CHANCE = 0.05  # of being the best, under which a finalist gets no more seeds


def plan_race(finalists: Sequence[int], retrainings: Mapping[str, Record], confirm_seeds: int) -> list[tuple[int, int]]:
    """Every (finalist, seed index from 1) that the race has asked for until now, in order.

    At first FIRST_SEEDS for each (or `confirm_seeds`, if fewer). When those have ended, one more for each that still
    has a chance of LEAST_CHANCE to be the best, and so on, until one is left or the finalists have had `confirm_seeds`
    each on average. A round is decided by the seeds before it, so the plan is a pure function of the journal, and a
    resumed race goes on as it would have.
    """
    first = min(FIRST_SEEDS, confirm_seeds)
    plan = [(number, index) for index in range(1, first + 1) for number in finalists]
    racing, index = list(finalists), first
    while all(key_of(*pair) in retrainings and not retrainings[key_of(*pair)].is_unfinished for pair in plan):
        values = values_on_seeds(finalists, retrainings, index)
        chances = chances_of_best(values)
        if chances is not None:
            racing = [number for number in racing if chances[number] >= LEAST_CHANCE]
            racing.sort(key=lambda number: (-chances[number], number))
        left = confirm_seeds * len(finalists) - len(plan)
        if len(racing) < 2 or left < 1:
            break
        index += 1
        plan += [(number, index) for number in racing[:left]]
    return plan


def values_on_seeds(
    finalists: Sequence[int], retrainings: Mapping[str, Record], most_seeds: int
) -> dict[int, list[float]]:
    """{finalist: final validation top-1 on its first seeds}, of retrainings that came to their end."""
    values: dict[int, list[float]] = {number: [] for number in finalists}
    for number in finalists:
        for index in range(1, most_seeds + 1):
            record = retrainings.get(key_of(number, index))
            if record is not None and record.status == "completed":
                values[number].append(record.epochs[-1]["val_top1"])
    return values


def key_of(number: int, index: int) -> str:
    """The journal's key of a retraining."""
    return f"confirm-{number:04d}-{index:02d}"


class RaceSearcher(JobSearcher):
    """Hands Ray the retrainings of the race: unfinished ones first, then what the plan asks for."""

    def __init__(
        self,
        journal: Journal,
        finalists: Sequence[Record],
        job: Callable[[Record], dict[str, Any]],
        may_ask: Callable[[], bool] = lambda: True,
        *,
        confirm_seeds: int,
        seed: int,
    ) -> None:
        self.configs = {record.number: record.config for record in finalists}
        own = [record for record in journal.retrainings.values() if record.number in self.configs]
        super().__init__(journal, [record for record in own if record.is_unfinished], job, may_ask)
        self.confirm_seeds, self.seed = confirm_seeds, seed

    def missing(self) -> list[tuple[int, int]]:
        """What the plan asks for and the journal has not."""
        plan = plan_race(list(self.configs), self.journal.retrainings, self.confirm_seeds)
        return [pair for pair in plan if key_of(*pair) not in self.journal.retrainings]

    def suggest_new(self) -> Record | None:
        """The next retraining, committed to the journal; all finalists have the same seeds."""
        for number, index in self.missing():
            seed = derive_seed(self.seed, "confirm", index)
            return self.journal.add_retraining(number, index, self.configs[number], seed)
        return None

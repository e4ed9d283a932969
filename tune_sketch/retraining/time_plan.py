"""Decides what fits into the time that is left for retraining: which finalists, how many seeds, how many epochs."""

import heapq
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tune_sketch.events import Trial
from tune_sketch.formatting import count_text
from tune_sketch.retraining.finalists import choose_finalists, comparable
from tune_sketch.retraining.racing import FIRST_SEEDS, LEAST_CHANCE
from tune_sketch.schedulers.rungs import rank_trials
from tune_sketch.statistics import chances_of_best


@dataclass(frozen=True)
class Candidate:
    """A configuration that may be retrained."""

    number: int  # of the trial
    epochs: int  # of its configuration: no retraining is longer
    # In which it can have learned, and at which it, and the best one, was validated at best: no retraining is shorter.
    least_epochs: int
    epoch_seconds: float  # measured beside as many trainings as there will be
    kind: str = "found"  # or "paper", "recipe"

    @property
    def name(self) -> str:
        return f"trial {self.number}" + (f" ({self.kind})" if self.kind != "found" else "")


@dataclass(frozen=True)
class Planned:
    """A retraining that fits."""

    number: int
    seed_index: int
    num_epochs: int
    ends_after: float  # seconds from now


def find_candidates(
    trials: Sequence[Trial],
    num_best: int,
    retrainings: Iterable[Trial] = (),
    *,
    fewest_epochs: int | Mapping[str, int] = 1,
) -> list[Candidate]:
    """The finalists in the order in which they help the network that comes out: the first is left out last.

    The best of the search, today's recipe, the other best; the paper's configuration, which is there to compare with,
    is the last unless it is the best. What never trained is not among them. fewest_epochs: in which any can learn, of
    several networks by name.
    """
    fewest = {trial.number: fewest_of(trial, fewest_epochs) for trial in trials}
    trained = [trial for trial in choose_finalists(trials, num_best) if trial.epochs] if trials else []
    ranked = rank_trials(trained)
    best = ranked[:1]
    order = sorted(ranked, key=lambda trial: (trial not in best, trial.is_baseline, not trial.is_recipe))
    at_best = {trial.number: epoch.number for trial in order if (epoch := trial.best_epoch) is not None}
    of_best = at_best[best[0].number] if best else 0
    seconds: dict[int, list[float]] = {}
    for training in [*order, *retrainings]:
        seconds.setdefault(training.number, []).extend(epoch.seconds for epoch in training.epochs)
    return [
        Candidate(
            trial.number,
            int(trial.config["epochs"]),
            # A short training is no comparison with a long one, even if ASHA has seen no more of it.
            min(int(trial.config["epochs"]), max(at_best[trial.number], of_best, fewest[trial.number])),
            statistics.median(seconds[trial.number]),
            "paper" if trial.is_baseline else "recipe" if trial.is_recipe else "found",
        )
        for trial in order
    ]


def fewest_of(trial: Trial, fewest_epochs: int | Mapping[str, int]) -> int:
    """The epochs in which a trial's network can learn."""
    return fewest_epochs if isinstance(fewest_epochs, int) else fewest_epochs[str(trial.network)]


def plan_retrainings(
    candidates: Sequence[Candidate],
    retrainings: Mapping[str, Trial],
    *,
    seconds: float,
    num_workers: int,
    mean_seeds: int,
    start_seconds: float = 0.0,
    num_cold: int | None = None,
    last_step: float = 0.0,
) -> list[Planned]:
    """The retrainings to begin, in this order, as soon as a worker is free: all of them end within the given seconds.

    First the best of the search, as long as its configuration says, or as long as fits, but no shorter than it was
    validated: if that does not fit, nothing does. Then the others' first seeds, the second seeds, the paper's, and at
    last more seeds of those that have a chance to be the best, `mean_seeds` each on average. What does not fit is
    passed over. Retrainings that were begun come first; a finalist's seeds are all as long as its first.

    seconds: from now; num_workers: trainings at once, of which `num_cold` (None: all) need `start_seconds` before
    their first epoch. last_step: epochs of one more training of the winner, over those of its retraining, for which
    time is kept at the end; 0: there is none. Where there is time for one of the two, it is the last step, after the
    search's own network: it brings a better one, and a retraining only confirms it.
    """
    if not candidates:
        return []
    num_cold = num_workers if num_cold is None else num_cold
    own = {c.number: [t for t in retrainings.values() if t.number == c.number and t.seed_index] for c in candidates}
    free = [start_seconds] * num_cold + [0.0] * (num_workers - num_cold)
    heapq.heapify(free)
    for candidate in candidates:
        for trial in own[candidate.number]:
            if trial.is_unfinished:
                left = (int(trial.config["epochs"]) - len(trial.epochs)) * candidate.epoch_seconds
                heapq.heappush(free, heapq.heappop(free) + left)
    best = candidates[0]
    lengths = {n: known for n, trials in own.items() if (known := known_length(trials)) is not None}
    kept = last_step * lengths.get(best.number, best.epochs) * best.epoch_seconds
    if last_step and best.number not in lengths:
        length = longest_that_fits(best, (seconds - free[0]) / (1 + last_step))
        if not length and start_seconds + last_step * best.least_epochs * best.epoch_seconds <= seconds:
            return []
        kept = last_step * length * best.epoch_seconds
        lengths |= {best.number: length} if length else {}
    seconds -= kept
    planned: list[Planned] = []

    def add(candidate: Candidate, seed_index: int) -> bool:
        """Plan a retraining if it fits; whether there is this one now, whoever planned it."""
        if len(own[candidate.number]) + sum(p.number == candidate.number for p in planned) >= seed_index:
            return True
        longest = longest_that_fits(candidate, seconds - free[0])
        length = lengths.get(candidate.number, longest)
        if not 0 < length <= longest:
            return False
        lengths[candidate.number] = length
        end = heapq.heappop(free) + length * candidate.epoch_seconds
        heapq.heappush(free, end)
        index = max([t.seed_index or 0 for t in own[candidate.number]], default=0)
        index += 1 + sum(p.number == candidate.number for p in planned)
        planned.append(Planned(candidate.number, index, length, end))
        return True

    if not add(best, 1):
        return []
    first = range(1, min(FIRST_SEEDS, mean_seeds) + 1)
    to_compare = [c for c in candidates[1:] if c.kind == "paper"]
    others = [c for c in candidates if c not in to_compare]
    rounds = [(c, index) for group in (others, to_compare) for index in first for c in group]
    there = {c.number for c, index in rounds if add(c, index)}
    most = mean_seeds * len(there)
    chances = chances_of_best({n: values_of(own[n]) for n in there})
    racing = [c for c in candidates if c.number in there and (chances is None or chances[c.number] >= LEAST_CHANCE)]
    for index in range(len(first) + 1, most + 1) if len(racing) > 1 else ():
        for candidate in racing:
            if sum(len(own[n]) for n in there) + len(planned) < most:
                add(candidate, index)
    return planned


def longest_that_fits(candidate: Candidate, seconds: float) -> int:
    """Epochs of its longest training that fits; 0 where not even the least does."""
    fitting = max(0.0, seconds) / max(candidate.epoch_seconds, 1e-9)
    epochs = math.floor(min(candidate.epochs, fitting * (1 + 1e-9)))  # the time kept for so many is for so many
    return epochs if epochs >= candidate.least_epochs else 0


def known_length(trials: Sequence[Trial]) -> int | None:
    """Epochs of a finalist's retrainings that were begun, the newest of which has the plan's."""
    begun = [trial for trial in trials if trial.is_unfinished or trial.status == "completed"]
    return int(begun[-1].config["epochs"]) if begun else None


def values_of(trials: Sequence[Trial]) -> list[float]:
    """Validation top-1 of a finalist's seeds."""
    return [trial.epochs[-1].val_top1 for trial in comparable([t for t in trials if t.status == "completed"])]


def plan_text(candidates: Sequence[Candidate], planned: Sequence[Planned]) -> str:
    """The retrainings, and those that are left out, in words."""
    parts, left_out = [], []
    for candidate in candidates:
        own = [p for p in planned if p.number == candidate.number]
        if own:
            lengths = sorted({p.num_epochs for p in own})
            parts.append(f"{candidate.name} {count_text(len(own), 'seed')} of {count_text(lengths[-1], 'epoch')}")
        else:
            left_out.append(candidate.name)
    text = ", ".join(parts) or "nothing"
    return text + (f"; left out for want of time: {', '.join(left_out)}" if left_out else "")

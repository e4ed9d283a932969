"""Says what a search has spent, ends it when its budget is, and what more of it can be expected to bring."""

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass

from tune_sketch.events import Trial
from tune_sketch.formatting import duration_text
from tune_sketch.schedulers.rungs import rank_trials
from tune_sketch.storage.facts import Session

HORIZON = 10  # trials to look ahead
FEWEST_VALUES = 3  # at the rung whose values are compared
GIVEN = ("paper", "recipe", "experience", "warm-start")  # where first configurations come from
UNLIKELY_GAIN = 0.001  # of validation top-1: with less to expect, the next trials are called unlikely to help


def training_seconds(trials: Iterable[Trial]) -> float:
    """Worker time of trainings, validation included: the sum of their recorded epochs."""
    return sum(trial.train_seconds for trial in trials)


def wall_seconds(sessions: Sequence[Session], trials: Iterable[Trial]) -> float:
    """Wall-clock seconds of searching in earlier sessions: from each start to the last epoch recorded in it."""
    starts = [session.started_at for session in sessions]
    times = [epoch.recorded_at for trial in trials for epoch in trial.epochs]
    spent = 0.0
    for start, end in itertools.pairwise(starts):
        spent += max((t - start for t in times if start <= t < end), default=0.0)
    return spent


@dataclass(frozen=True)
class Forecast:
    """The most that `num_trials` more trials can be expected to gain, and their worker time."""

    num_trials: int
    gain: float  # of validation top-1
    worker_seconds: float
    num_ended: int  # trials that it was estimated from

    def text(self) -> str:
        return (
            f"{self.num_trials} more trials can be expected to gain at most {100 * self.gain:.2f} points of validation "
            f"top-1 for {duration_text(self.worker_seconds)} of worker time (estimated from {self.num_ended} trials)"
        )


def forecast(trials: Sequence[Trial], rungs: Sequence[int]) -> Forecast | None:
    """The yield of HORIZON more trials like those that the searcher proposed and that have ended.

    None before there are enough. The gain is that of now or of HORIZON trials ago, whichever is higher: a value that
    falls by chance has spoken too early (benchmarks/expected_gain.py). First configurations, which nobody drew, are
    left out; where one of them is best, less than the gain is to be had.
    """
    ended = sorted(
        (t for t in trials if t.ended_at is not None and t.source.kind not in GIVEN),
        key=lambda t: (t.ended_at or 0.0, t.number),
    )
    if len(ended) < 3 * HORIZON:
        return None
    before, now = expected_gain(ended[:-HORIZON], rungs), expected_gain(ended, rungs)
    if before is None or now is None:
        return None
    recent = ended[len(ended) // 2 :]
    seconds = HORIZON * training_seconds(recent) / len(recent)
    return Forecast(HORIZON, max(before, now), seconds, len(ended))


def expected_gain(ended: Sequence[Trial], rungs: Sequence[int]) -> float | None:
    """The mean loss of the best value of some trials, in the order of their ends, without HORIZON of them.

    For trials that are alike this is more than HORIZON further ones gain on average: the expected best of n draws grows
    ever more slowly with n, whatever their distribution. Luck in the best value is part of it. Of all trials and their
    later half, which is better where a searcher learns, the higher gain counts: the later half alone says zero wherever
    the best is older. Values are those of the deepest rung that has FEWEST_VALUES; a trial that did not get there
    counts as worse. None where no rung has as many.
    """
    for rung in reversed(rungs):
        known = [(epoch.val_top1, trial.number) for trial in ended if (epoch := trial.epoch_at(rung)) is not None]
        if len(known) >= FEWEST_VALUES:
            return max(mean_loss(known, {t.number for t in some}) for some in (ended, ended[len(ended) // 2 :]))
    return None


def mean_loss(known: Sequence[tuple[float, int]], among: Set[int]) -> float:
    """The loss of the best value when HORIZON of some trials are left out, the mean over all choices of these.

    known: value and number of each trial that has one; among: the numbers of those that may be left out.
    """
    loss, share = 0.0, 1.0  # share: of the choices, those that hold all of the best trials so far
    best_first = sorted(known, key=lambda pair: (-pair[0], pair[1]))
    for index, (better, worse) in enumerate(itertools.pairwise(best_first)):
        if better[1] not in among or index >= HORIZON:
            break
        share *= (HORIZON - index) / (len(among) - index)
        loss += share * (better[0] - worse[0])
    return loss


def forecast_search(trials: Sequence[Trial], rungs: Mapping[str, Sequence[int]]) -> Forecast | None:
    """The forecast of a search; of one over several networks that of the network with the best trial.

    rungs: of each network.
    """
    leading = next((trial.network for trial in rank_trials(trials)), None)
    if leading is None:
        return forecast(trials, next(iter(rungs.values())))
    return forecast([trial for trial in trials if trial.network == leading], rungs[leading])


class Budget:
    """Watches a search: ends it when its GPU-hours are spent or too little is to be gained; says so once before that.

    GPU-hours are the training time of all trials times the GPUs of each; without a GPU every worker counts as one. The
    start of processes and the retraining of finalists are no part of it.
    """

    def __init__(
        self,
        trials: Sequence[Trial],
        rungs: Mapping[str, Sequence[int]],
        *,
        gpus: float,
        gpu_hours: float | None,
        min_gain: float | None,
        can_forecast: bool,
        end_search: Callable[[str], None],
        say: Callable[[str], None],
    ) -> None:
        """rungs: of each of the search's networks."""
        self.trials, self.rungs = trials, rungs
        self.gpus, self.gpu_hours, self.min_gain = gpus, gpu_hours, min_gain
        self.can_forecast, self.end_search, self.say = can_forecast, end_search, say
        self.told = self.ended = False
        self.check_hours()  # of a resumed search
        self.check_gain()

    def on_epoch(self, trial: Trial) -> None:
        self.check_hours()

    def on_end(self, trial: Trial) -> None:
        self.check_gain()

    def check_hours(self) -> None:
        """End the search when its GPU-hours are spent."""
        if not self.ended and self.worker_seconds_left() <= 0:
            unit = "GPU-hours" if self.gpus else "worker-hours"
            self.end(f"the budget of {self.gpu_hours:g} {unit} is spent: the search ends")

    def worker_seconds_left(self) -> float:
        """Of training, until the GPU-hours are spent; infinite without such a budget."""
        if self.gpu_hours is None:
            return math.inf
        return 3600 * self.gpu_hours / (self.gpus or 1.0) - training_seconds(self.trials)

    def check_gain(self) -> None:
        """End the search when too little is to be gained, or say that there is little."""
        if not self.can_forecast or self.ended or (self.told and self.min_gain is None):
            return
        expected = forecast_search(self.trials, self.rungs)
        if expected is None:
            return
        if self.min_gain is not None and expected.gain < self.min_gain:
            self.end(f"{expected.text()}: under --min-gain {self.min_gain:g}, so the search ends")
        elif expected.gain < UNLIKELY_GAIN and not self.told:
            self.told = True
            self.say(f"the next trials are unlikely to help: {expected.text()}")

    def end(self, reason: str) -> None:
        self.ended = True
        self.end_search(reason)

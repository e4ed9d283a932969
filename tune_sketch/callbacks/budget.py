"""Says what a search has spent, ends it when its budget is, and what more of it can be expected to bring."""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from tune_sketch.events import Trial
from tune_sketch.formatting import duration_text
from tune_sketch.schedulers.rungs import rank_trials
from tune_sketch.storage.facts import Session

HORIZON = 10  # trials to look ahead
FEWEST_VALUES = 3  # at the rung whose values are compared
UNLIKELY_GAIN = 0.001  # of validation top-1: with less to expect, more search is called unlikely to help


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
    num_recent: int  # trials that it was estimated from

    def text(self) -> str:
        return (
            f"{self.num_trials} more trials can be expected to gain at most {100 * self.gain:.2f} points of validation "
            f"top-1 for {duration_text(self.worker_seconds)} of worker time (estimated from the last "
            f"{self.num_recent} trials)"
        )


def forecast(trials: Sequence[Trial], rungs: Sequence[int]) -> Forecast | None:
    """The yield of HORIZON more trials like the later half of those that have ended; None before there are enough.

    The gain is the mean, over all choices of HORIZON of these trials, of what the best value would lose without them.
    For trials that are alike this is more than the next HORIZON gain on average: the expected best of n draws grows
    ever more slowly with n, whatever their distribution. Luck in the best value is part of it. So it is rather too
    high than too low, unless the searcher is just finding a better region. Values are those of the deepest rung that
    has FEWEST_VALUES; a trial that did not get there counts as worse.
    """
    ended = sorted((r for r in trials if r.ended_at is not None), key=lambda r: (r.ended_at or 0.0, r.number))
    if len(ended) < 2 * HORIZON:
        return None
    recent = {trial.number for trial in ended[len(ended) // 2 :]}
    for rung in reversed(rungs):
        known = [(epoch.val_top1, r.number) for r in ended if (epoch := r.epoch_at(rung)) is not None]
        if len(known) >= FEWEST_VALUES:
            break
    else:
        return None
    known.sort(key=lambda pair: (-pair[0], pair[1]))
    gain, share = 0.0, 1.0  # share: of the choices, those that hold all of the best trials so far
    for index, (better, worse) in enumerate(itertools.pairwise(known)):
        if better[1] not in recent or index >= HORIZON:
            break
        share *= (HORIZON - index) / (len(recent) - index)
        gain += share * (better[0] - worse[0])
    seconds = training_seconds(r for r in ended if r.number in recent) / len(recent)
    return Forecast(HORIZON, gain, HORIZON * seconds, len(recent))


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
        if self.gpu_hours is not None and not self.ended:
            hours = training_seconds(self.trials) * (self.gpus or 1.0) / 3600
            if hours >= self.gpu_hours:
                unit = "GPU-hours" if self.gpus else "worker-hours"
                self.end(f"the budget of {self.gpu_hours:g} {unit} is spent: the search ends")

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
            self.say(f"more search is unlikely to help: {expected.text()}")

    def end(self, reason: str) -> None:
        self.ended = True
        self.end_search(reason)

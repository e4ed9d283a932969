"""Says how long a run has been worked on, all sessions together, and on what."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tune_sketch.events import Trial
from tune_sketch.storage.facts import Session
from tune_sketch.storage.history import History


@dataclass(frozen=True)
class Spent:
    """Wall-clock seconds of a run by part; the search's begin with the start of its processes."""

    preparation: float
    search: float
    retraining: float
    ending: float  # test and report

    @property
    def total(self) -> float:
        return self.preparation + self.search + self.retraining + self.ending


def measure_spent(sessions: Sequence[Session], history: History, now: float | None = None) -> Spent:
    """The time of all sessions. now: where the last one is at work, seconds since 1970.

    A session that was killed ended with the last that was recorded in it.
    """
    searched = list(moments(history.trials))
    retrained = list(moments(history.later_trainings.values()))
    preparation = search = retraining = ending = 0.0
    for session, following in itertools.zip_longest(sessions, sessions[1:]):
        begin = session.started_at
        limit = float("inf") if following is None else following.started_at - following.prepared_seconds
        search_end = last_within(searched, begin, limit)
        retraining_end = max(search_end, last_within(retrained, begin, limit))
        end = session.ended_at or (now if following is None else None) or retraining_end
        preparation += session.prepared_seconds
        search += search_end - begin
        retraining += retraining_end - search_end
        ending += max(0.0, end - retraining_end)
    return Spent(preparation, search, retraining, ending)


def moments(trials: Iterable[Trial]) -> Iterable[float]:
    """When something of these trainings was recorded, seconds since 1970."""
    for trial in trials:
        yield trial.started_at
        yield from (epoch.recorded_at for epoch in trial.epochs)
        if trial.ended_at is not None:
            yield trial.ended_at


def last_within(times: Iterable[float], begin: float, limit: float) -> float:
    """The last of the times within a session; its begin where there is none."""
    return max((time for time in times if begin <= time < limit), default=begin)

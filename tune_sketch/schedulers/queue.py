"""Hands out the trainings to run: those that the journal says are unfinished, then new ones."""

from collections.abc import Callable, Iterable

from tune_sketch.events import Job, Trial
from tune_sketch.storage.journal import Journal


class TrialQueue:
    """An iterator of jobs. It gives None when there is none now but may be one later, and ends when all are done.

    A training whose process died comes back here, so that going on after a dead process, a dead node and a dead
    driver is one and the same: the job is handed out again and finds its checkpoint.
    """

    def __init__(
        self,
        journal: Journal,
        unfinished: Iterable[Trial],
        propose: Callable[[], Trial | None],
        job_of: Callable[[Trial], Job],
        may_start: Callable[[], bool] = lambda: True,
    ) -> None:
        """propose: records a new training and returns it, or None when there is none, or none yet."""
        self.journal, self.propose, self.job_of, self.may_start = journal, propose, job_of, may_start
        started_first = sorted(unfinished, key=lambda trial: not trial.epochs)
        self.queued = [trial.key for trial in started_first]
        self.running: set[str] = set()

    def __iter__(self) -> "TrialQueue":
        return self

    def __next__(self) -> Job | None:
        trial = None
        if self.may_start():
            trial = self.journal.find(self.queued.pop(0)) if self.queued else self.propose()
        if trial is None:
            if self.running:  # a process may die, and then its training is handed out again
                return None
            raise StopIteration
        self.running.add(trial.key)
        return self.job_of(self.journal.resume(trial.key))

    def has_next(self) -> bool:
        """Whether there is a training to run now, found out by asking: a proposal is kept for the next call."""
        if self.may_start() and not self.queued:
            trial = self.propose()
            self.queued = [] if trial is None else [trial.key]
        return bool(self.queued) and self.may_start()

    def give_back(self, key: str, *, again: bool) -> None:
        """A training no longer runs; `again`: it is to be handed out again, after the others that wait."""
        self.running.discard(key)
        if again:
            self.queued.append(key)

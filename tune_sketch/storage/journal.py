"""Records what happens to a search: every proposal, epoch and ending is written before it is acted on."""

import contextlib
import itertools
import math
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any, TypeVar

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial

from tune_sketch.events import Config, Ending, Epoch, Proposal, Source, TestResult, Trial
from tune_sketch.storage.database import close_storage, passing_errors, reason_of, together
from tune_sketch.storage.history import History, JournalError
from tune_sketch.storage.reading import RETRAINING_SUFFIX, find_studies, load, stored_names
from tune_sketch.storage.spent import moments
from tune_sketch.storage.steady_clock import SteadyClock

STATES: dict[Ending, TrialState] = {  # the state in which Optuna and its dashboard show an ending
    "completed": TrialState.COMPLETE,  # trained to its own number of epochs
    "stopped": TrialState.PRUNED,  # by ASHA at a rung
    "diverged": TrialState.FAIL,  # loss not finite
    "out_of_memory": TrialState.FAIL,  # a single image did not fit
    "failed": TrialState.FAIL,  # an error in the code, or its process died too often
}
PATIENCE_SECONDS = 120.0  # for a database that does not answer, a disk that is full
T = TypeVar("T")


class Journal(History):
    """The history of a search, and the only way to add to it. Exactly one process may write it.

    The storage holds two Optuna studies: the search's trials, which dashboards show, and the retrainings. An epoch is
    one user attribute "epoch_0003" and one intermediate value (validation top-1, what optuna-dashboard draws); an
    ending is one user attribute and a state. What is written twice, after a write whose answer got lost, is there
    once.
    """

    def __init__(
        self,
        storage: BaseStorage | None = None,
        name: str = "search",
        *,
        create: bool = False,
        clock: Callable[[], float] | None = None,
        not_before: float = 0.0,
    ) -> None:
        """Open, or create, the studies; without a storage they are kept in memory alone.

        clock: seconds since 1970; None: a steady one, which begins after all that is recorded, and not before a moment.

        Raises ValueError when they are missing, or already there on create.
        """
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.storage: BaseStorage = storage or InMemoryStorage()
        self.name, self.passing_errors = name, passing_errors(self.storage)
        self.clock: Callable[[], float] = clock or SteadyClock(not_before)
        self.error: JournalError | None = None  # kept, because Ray wraps what its callbacks raise
        self.ids: dict[str, int] = {}  # of trainings in the storage, by key
        self.num_stored: dict[int, int] = {}  # trainings in each study, those that were tried again included
        if create or storage is None:
            if name in [study.study_name for study in self._retry(self.storage.get_all_studies)]:
                raise ValueError(f"the storage already holds a search named {name!r}")
            self.search_id, self.retraining_id = (
                self.storage.create_new_study([StudyDirection.MAXIMIZE], study_name)
                for study_name in (name, name + RETRAINING_SUFFIX)
            )
            super().__init__()
            return
        self.search_id, self.retraining_id = find_studies(self.storage, name)
        known = load(self.storage, name)
        super().__init__(known.trials, known.retrainings, known.notes, known.last_steps)
        recorded = moments([*self.trials, *self.later_trainings.values()])
        self.clock = clock or SteadyClock(max([not_before, *recorded]))
        for study_id in (self.search_id, self.retraining_id):
            stored = self.storage.get_all_trials(study_id, deepcopy=False)
            self.num_stored[study_id] = len(stored)
            for frozen in stored:  # of a training that was tried again the last
                identifier = self.storage.get_trial_id_from_study_id_trial_number(study_id, frozen.number)
                self.ids[frozen.user_attrs["key"]] = identifier

    def note(self, key: str, value: Any) -> None:
        """Keep one JSON value about the search as a whole."""
        self._retry(lambda: self.storage.set_study_user_attr(self.search_id, key, value))
        self.notes[key] = value

    def add_trial(self, proposal: Proposal, seed: int) -> Trial:
        """Record a proposal, whole, as the next running trial."""
        number = len(self.trials)
        trial = Trial(
            key=f"trial-{number:04d}",
            number=number,
            config=proposal.config,
            seed=seed,
            source=proposal.source,
            params=proposal.params,
            distributions=proposal.distributions,
            started_at=self.clock(),
        )
        self._create(self.search_id, trial)
        self.trials.append(trial)
        return trial

    def add_retraining(self, number: int, seed_index: int, config: Config, seed: int) -> Trial:
        """Record that trial `number` is to be retrained with its seed number `seed_index`; a known one is returned."""
        key = retraining_key(number, seed_index)
        if key not in self.retrainings:
            source = self.trials[number].source if number < len(self.trials) else Source("paper")
            trial = Trial(key, number, config, seed, source, seed_index=seed_index, started_at=self.clock())
            self._create(self.retraining_id, trial)
            self.retrainings[key] = trial
        return self.retrainings[key]

    def add_last_step(self, number: int, config: Config, seed: int, follows: str | None) -> Trial:
        """Record that the network of a retraining of trial `number` is to learn from the validation drawings too."""
        index = 1 + sum(trial.number == number for trial in self.last_steps.values())
        trial = Trial(
            key=f"last-step-{number:04d}-{index:02d}",
            number=number,
            config=config,
            seed=seed,
            source=self.trials[number].source,
            seed_index=index,
            is_last_step=True,
            follows=follows,
            started_at=self.clock(),
        )
        self._create(self.retraining_id, trial)
        self.last_steps[trial.key] = trial
        return trial

    def record_epoch(self, key: str, epoch: Epoch) -> Trial:
        """Record an epoch, with the decision about it. One that is known already is not written again."""
        trial = self.find(key)
        if epoch.number <= len(trial.epochs):
            return trial
        value = None if trial.is_last_step else epoch.val_top1
        assert value is None or math.isfinite(value), f"{key}: value {value}"
        epoch = replace(epoch, recorded_at=self.clock())
        after, identifier = trial.with_epoch(epoch), self.ids[key]
        attribute = epoch_name(epoch)

        def write() -> None:  # the attribute last: with it the epoch counts
            with together(self.storage):
                if value is not None:
                    self.storage.set_trial_intermediate_value(identifier, epoch.number, value)
                self.storage.set_trial_user_attr(identifier, attribute, to_json(epoch))

        self._retry(write)
        return self._keep(after)

    def end(self, key: str, status: Ending, error: str = "") -> Trial:
        """Record how a training ended."""
        trial = self.find(key)
        assert trial.is_unfinished, f"{key} has ended already: {trial.status}"
        state, now, identifier = STATES[status], self.clock(), self.ids[key]
        if trial.is_last_step and state == TrialState.COMPLETE:
            state = TrialState.PRUNED  # which Optuna allows without a value: it has none on validation
        has_value = state != TrialState.FAIL and trial.epochs and not trial.is_last_step
        values = [trial.epochs[-1].val_top1] if has_value else None
        num_tries = itertools.count()

        def write() -> None:
            is_first_try = next(num_tries) == 0
            try:
                ending = {"status": status, "error": error, "ended_at": now}
                self.storage.set_trial_user_attr(identifier, "ending", ending)
                self.storage.set_trial_state_values(identifier, state, values)
            except UpdateFinishedTrialError:
                if is_first_try:  # later, the answer to the one before may have got lost
                    raise

        self._retry(write)
        return self._keep(replace(trial, status=status, error=error, ended_at=now))

    def try_again(self, key: str) -> Trial:
        """Record that a training that ended goes on after its last epoch: paused, in a place of its own."""
        ended = self.find(key)
        assert not ended.is_unfinished, f"{key} has not ended"
        trial = replace(ended, status="running", error="", ended_at=None)
        self._create(self.retraining_id if ended.is_retraining else self.search_id, trial)
        self._keep(trial)
        return self.pause(key)

    def pause(self, key: str) -> Trial:
        """Record that an unfinished training waits to be resumed: nothing stays running that nobody runs."""
        return self._set_status(key, "paused", TrialState.WAITING)

    def pause_all(self) -> None:
        """Record that no training runs any more."""
        for trial in [*self.trials, *self.later_trainings.values()]:
            if trial.is_unfinished:
                self.pause(trial.key)

    def resume(self, key: str) -> Trial:
        """Record that a paused training goes on."""
        return self._set_status(key, "running", TrialState.RUNNING)

    def record_test(self, key: str, test: TestResult) -> Trial:
        """Record a retraining's result on the test split."""
        trial = replace(self.later_trainings[key], test=test)
        self._retry(lambda: self.storage.set_study_user_attr(self.retraining_id, key, to_json(test)))
        return self._keep(trial)

    def close(self) -> None:
        """Let go of the storage."""
        close_storage(self.storage)

    def _create(self, study_id: int, trial: Trial) -> None:
        """Write a new training, or one that is tried again with its epochs, in one event."""
        index = self.num_stored.get(study_id, 0)
        attributes = {
            "key": trial.key,
            "number": trial.number,
            "config": trial.config,
            "seed": trial.seed,
            "seed_index": trial.seed_index,
            "source": {name: value for name, value in asdict(trial.source).items() if value is not None},
            "started_at": trial.started_at,
            **({"is_last_step": True, "follows": trial.follows} if trial.is_last_step else {}),
            **{epoch_name(epoch): to_json(epoch) for epoch in trial.epochs},
        }
        template = create_trial(
            state=TrialState.RUNNING,
            params=stored_names(trial, trial.params),
            distributions=stored_names(trial, trial.distributions),
            user_attrs=attributes,
            intermediate_values={} if trial.is_last_step else {e.number: e.val_top1 for e in trial.epochs},
        )
        num_tries = itertools.count()

        def write() -> int:
            if next(num_tries) > 0:  # after a write whose answer got lost it is there already
                with contextlib.suppress(KeyError):
                    return self.storage.get_trial_id_from_study_id_trial_number(study_id, index)
            return self.storage.create_new_trial(study_id, template)

        self.ids[trial.key] = self._retry(write)
        self.num_stored[study_id] = index + 1

    def _set_status(self, key: str, status: Any, state: TrialState) -> Trial:
        trial = self.find(key)
        if trial.status == status:
            return trial
        self._retry(lambda: self.storage.set_trial_state_values(self.ids[key], state))
        return self._keep(replace(trial, status=status))

    def _keep(self, trial: Trial) -> Trial:
        """Take the trial's new state into memory."""
        if trial.is_last_step:
            self.last_steps[trial.key] = trial
        elif trial.is_retraining:
            self.retrainings[trial.key] = trial
        else:
            self.trials[trial.number] = trial
        return trial

    def _retry(self, write: Callable[[], T]) -> T:
        """The write's result, waiting for a database that is locked or restarting, or a disk that is full."""
        deadline, pause_seconds, told = time.monotonic() + PATIENCE_SECONDS, 0.1, False
        while True:
            try:
                return write()
            except self.passing_errors as error:
                reason = reason_of(error)
                if time.monotonic() > deadline:
                    self.error = JournalError(
                        f"the record of the search could not be written for {PATIENCE_SECONDS:.0f} s: {reason}. "
                        "What was recorded before is safe; mend it, then resume."
                    )
                    raise self.error from error
                if not told:
                    print(f"the search cannot be recorded ({reason}); waiting ...", file=sys.stderr, flush=True)
                    told = True
                time.sleep(pause_seconds)
                pause_seconds = min(2 * pause_seconds, 5.0)


def retraining_key(number: int, seed_index: int) -> str:
    """The key of the retraining of trial `number` with its seed number `seed_index`."""
    return f"retraining-{number:04d}-{seed_index:02d}"


def epoch_name(epoch: Epoch) -> str:
    """The name under which an epoch is stored."""
    return f"epoch_{epoch.number:04d}"


def to_json(value: Epoch | TestResult) -> dict[str, Any]:
    """A recorded dataclass as JSON values."""
    return asdict(replace(value, metrics=dict(value.metrics)))

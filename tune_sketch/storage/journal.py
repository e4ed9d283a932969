"""Keeps the record of a search in its Optuna study: every suggestion, epoch and ending, committed when it happens."""

import contextlib
import itertools
import json
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import optuna
import sqlalchemy
from optuna.distributions import BaseDistribution
from optuna.exceptions import StorageInternalError
from optuna.study import StudyDirection
from optuna.trial import TrialState

from tune_sketch.storage import commits
from tune_sketch.storage.database import JournalError, mask_password, open_storage, reason_of

ENDINGS = {  # how a trial can end -> the state in which Optuna and its dashboard show it
    "completed": TrialState.COMPLETE,  # trained to its own number of epochs
    "stopped": TrialState.PRUNED,  # by ASHA at a rung
    "diverged": TrialState.FAIL,  # loss not finite
    "out_of_memory": TrialState.FAIL,  # a single image did not fit
    "failed": TrialState.FAIL,  # an error in the code, or its process died too often
}
PATIENCE_SECONDS = 120.0  # for a database that does not answer, a disk that is full
T = TypeVar("T")


@dataclass
class Record:
    """What is known of one training: a trial of the search, or the retraining of a finalist with a fresh seed."""

    key: str  # "trial-0007", or "confirm-0007-02" for the retraining of trial 7 with its seed number 2
    number: int  # the trial's number in the study
    config: dict[str, Any]
    seed: int
    # {"kind": study | warm-start | random | crossed | model ..., "rung": epochs or None, and what else is known}
    origin: dict[str, Any] = field(default_factory=dict)
    params: dict[str, Any] = field(default_factory=dict)  # the sampled part of config
    distributions: dict[str, BaseDistribution] = field(default_factory=dict)
    status: str = "running"  # running, waiting (to be resumed) or one of ENDINGS
    epochs: list[dict[str, Any]] = field(default_factory=list)  # metrics; epochs[0] is epoch 1
    started_at: float = 0.0  # seconds since 1970
    ended_at: float | None = None
    error: str = ""
    test: dict[str, Any] | None = None  # of a retraining, once the test split has been read
    storage_id: int = -1

    @property
    def is_retraining(self) -> bool:
        return self.key.startswith("confirm-")

    @property
    def is_unfinished(self) -> bool:
        return self.status not in ENDINGS

    @property
    def best_epoch(self) -> dict[str, Any]:
        """The metrics of the epoch with the highest validation top-1, the earlier of two; {} before the first epoch."""
        return max(self.epochs, key=lambda epoch: epoch["val_top1"], default={})

    @property
    def last_value(self) -> float | None:
        return self.epochs[-1]["val_top1"] if self.epochs else None


class Journal:
    """The study database of one run directory, with a copy in memory. Exactly one process may write it.

    An epoch is one user attribute "epoch_0003" (all metrics) and one intermediate value (validation top-1, what
    optuna-dashboard draws), an ending one user attribute and a state, each in one commit (commits.py).
    Retrainings are attributes of the study, so that the study holds nothing but the search's own trials.
    """

    def __init__(self, url: str, study_name: str, *, create: bool = False, read_only: bool = False) -> None:
        """Open, or create, the study. Raises ValueError when it is missing, or already there on create."""
        self.url = url
        self.error: JournalError | None = None  # kept, because Ray wraps what its callbacks raise
        self.storage = open_storage(url, read_only=read_only)
        names = [study.study_name for study in self._retry(self.storage.get_all_studies)]
        if create:
            if study_name in names:
                raise ValueError(f"the database {mask_password(url)} already holds a study named {study_name!r}")
            self.study_id = self.storage.create_new_study([StudyDirection.MAXIMIZE], study_name)
        elif study_name not in names:
            raise ValueError(f"the database {mask_password(url)} holds no study named {study_name!r}")
        else:
            self.study_id = self.storage.get_study_id_from_name(study_name)
        self.trials: list[Record] = []
        self.retrainings: dict[str, Record] = {}
        self._load()

    def _load(self) -> None:
        for frozen in sorted(self.storage.get_all_trials(self.study_id), key=lambda trial: trial.number):
            record = record_of_trial(frozen)
            assert record.number == len(self.trials), "trial numbers have no gaps"
            self.trials.append(record)
        for key, value in self.storage.get_study_user_attrs(self.study_id).items():
            if key.startswith("confirm-"):
                self.retrainings[key] = Record(key=key, **value)

    def note(self, key: str, value: Any) -> None:
        """Keep one JSON value about the search as a whole."""
        self._retry(lambda: self.storage.set_study_user_attr(self.study_id, key, value))

    def notes(self) -> dict[str, Any]:
        """All JSON values kept by `note`."""
        attributes = self._retry(lambda: self.storage.get_study_user_attrs(self.study_id))
        return {key: value for key, value in attributes.items() if not key.startswith("confirm-")}

    def add_trial(
        self,
        config: dict[str, Any],
        params: dict[str, Any],
        distributions: dict[str, BaseDistribution],
        *,
        seed: int,
        origin: dict[str, Any],
    ) -> Record:
        """Commit a suggestion, whole, as the next running trial."""
        number = len(self.trials)
        now = time.time()
        attributes = {"config": config, "seed": seed, "origin": origin, "started_at": now}
        num_tries = itertools.count()

        def commit() -> int:
            if next(num_tries) > 0:
                # After a commit whose answer got lost the trial is there already.
                with contextlib.suppress(KeyError):
                    return self.storage.get_trial_id_from_study_id_trial_number(self.study_id, number)
            return commits.insert_trial(self.storage, self.study_id, number, params, distributions, attributes)

        record = Record(
            key=f"trial-{number:04d}",
            number=number,
            config=config,
            seed=seed,
            origin=origin,
            params=params,
            distributions=distributions,
            started_at=now,
            storage_id=self._retry(commit),
        )
        self.trials.append(record)
        return record

    def add_retraining(self, number: int, index: int, config: dict[str, Any], seed: int) -> Record:
        """Commit that a finalist is to be retrained with its seed number `index`; a known one is returned."""
        key = f"confirm-{number:04d}-{index:02d}"
        if key not in self.retrainings:
            record = Record(key=key, number=number, config=config, seed=seed, started_at=time.time())
            self._write_retraining(record)
            self.retrainings[key] = record
        return self.retrainings[key]

    def find(self, key: str) -> Record:
        """The record with this key."""
        return self.retrainings[key] if key in self.retrainings else self.trials[int(key.removeprefix("trial-"))]

    def record_epoch(self, record: Record, metrics: dict[str, Any]) -> bool:
        """Commit one epoch's metrics. False, and nothing written, when that epoch is known already."""
        epoch = metrics["epoch"]
        if epoch <= len(record.epochs):
            return False
        assert epoch == len(record.epochs) + 1, f"{record.key}: epoch {epoch} after {len(record.epochs)}"
        assert math.isfinite(metrics["val_top1"]), f"{record.key}: value {metrics['val_top1']}"
        metrics = metrics | {"recorded_at": time.time()}
        if record.storage_id >= 0:
            self._retry(lambda: commits.insert_epoch(self.storage, record.storage_id, metrics))
        else:
            self._write_retraining(record, epochs=[*record.epochs, metrics])
        record.epochs.append(metrics)
        return True

    def end(self, record: Record, status: str, *, error: str = "") -> None:
        """Commit how a training ended: one of ENDINGS."""
        assert record.is_unfinished, f"{record.key} has ended already: {record.status}"
        state, now = ENDINGS[status], time.time()
        if record.storage_id >= 0:
            ending = {"status": status, "error": error, "ended_at": now}
            value = None if state == TrialState.FAIL else record.last_value
            self._retry(lambda: commits.insert_ending(self.storage, record.storage_id, ending, state, value))
        else:
            self._write_retraining(record, status=status, error=error, ended_at=now)
        record.status, record.error, record.ended_at = status, error, now

    def park(self, record: Record) -> None:
        """Commit that an unfinished training waits to be resumed: nothing stays running that nobody runs."""
        self._set_waiting(record, "waiting", TrialState.WAITING)

    def unpark(self, record: Record) -> None:
        """Commit that a waiting training goes on."""
        self._set_waiting(record, "running", TrialState.RUNNING)

    def _set_waiting(self, record: Record, status: str, state: TrialState) -> None:
        if record.status == status:
            return
        if record.storage_id >= 0:
            self._retry(lambda: self._set_state(record.storage_id, state))
        else:
            self._write_retraining(record, status=status)
        record.status = status

    def record_test(self, record: Record, test: dict[str, Any]) -> None:
        """Commit a retraining's metrics on the test split."""
        self._write_retraining(record, test=test)
        record.test = test

    def _set_state(self, identifier: int, state: TrialState) -> None:
        if self.storage.get_trial(identifier).state != state:
            self.storage.set_trial_state_values(identifier, state)

    def _write_retraining(self, record: Record, **changes: Any) -> None:
        names = ("number", "config", "seed", "status", "epochs", "started_at", "ended_at", "error", "test")
        value = {name: getattr(record, name) for name in names} | changes
        self._retry(lambda: self.storage.set_study_user_attr(self.study_id, record.key, value))

    def _retry(self, commit: Callable[[], T]) -> T:
        """The commit's result, waiting for a database that is locked, restarting or out of space."""
        deadline, pause_seconds, told = time.monotonic() + PATIENCE_SECONDS, 0.1, False
        while True:
            try:
                return commit()
            except (StorageInternalError, sqlalchemy.exc.DBAPIError) as error:
                reason = reason_of(error)
                if time.monotonic() > deadline:
                    self.error = JournalError(
                        f"the study's database could not be used for {PATIENCE_SECONDS:.0f} s: {reason}. "
                        "What was recorded is safe; mend the database or the disk, then resume."
                    )
                    raise self.error from error
                if not told:
                    print(f"the study's database does not answer ({reason}); waiting ...", file=sys.stderr, flush=True)
                    told = True
                time.sleep(pause_seconds)
                pause_seconds = min(2 * pause_seconds, 5.0)

    def close(self) -> None:
        """Let go of the database's connections."""
        self.storage.remove_session()
        self.storage.engine.dispose()


def record_of_trial(frozen: optuna.trial.FrozenTrial) -> Record:
    """What the database holds of one trial."""
    attributes = frozen.user_attrs
    ending = attributes.get("ending", {})
    finished = frozen.state.is_finished()
    waiting = frozen.state == TrialState.WAITING
    return Record(
        key=f"trial-{frozen.number:04d}",
        number=frozen.number,
        config=attributes["config"],
        seed=attributes["seed"],
        origin=attributes["origin"],
        params=dict(frozen.params),
        distributions=dict(frozen.distributions),
        status=ending["status"] if finished else "waiting" if waiting else "running",
        epochs=[attributes[key] for key in sorted(k for k in attributes if k.startswith("epoch_"))],
        started_at=attributes["started_at"],
        ended_at=ending.get("ended_at") if finished else None,
        error=ending.get("error", "") if finished else "",
        storage_id=frozen._trial_id,
    )


def to_json_text(value: Any) -> str:
    """JSON as it is written in a run directory: readable, and the same for the same value."""
    return json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n"

"""The recorded trials of a search, to read: from the run's own log, a database, or a run of version 0.1."""

from collections.abc import Mapping
from typing import Any, TypeVar

from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from tune_sketch.data.bounds import reason_text
from tune_sketch.events import Decision, Epoch, Source, TestResult, Trial, Worker
from tune_sketch.storage.database import close_storage, open_database, open_log, open_study_db
from tune_sketch.storage.facts import Facts, read_facts
from tune_sketch.storage.history import History, JournalError
from tune_sketch.storage.run_directory import RunDirectory
from tune_sketch.storage.version_0_1 import read_study

T = TypeVar("T")
RETRAINING_SUFFIX = " (retraining)"  # of the name of the study that holds the retrainings


def read_history(run: RunDirectory, url: str | None = None) -> History:
    """The record of a run, also while another process writes it.

    url: the database's URL again where it needs a password: run directories hold no secrets. Raises ValueError when the
    record is missing, JournalError when it cannot be read.
    """
    facts = read_facts(run)
    if facts.storage is None and not run.journal_log.is_file() and run.study_db.is_file():
        storage = open_study_db(run.study_db)
        try:
            return History(*read_study(storage, facts.study_name))
        finally:
            close_storage(storage)
    storage = open_storage(run, facts, url, read_only=True)
    try:
        return load(storage, facts.study_name)
    finally:
        close_storage(storage)


def open_storage(run: RunDirectory, facts: Facts, url: str | None = None, *, read_only: bool = False) -> BaseStorage:
    """The storage of an existing run."""
    if url is None and facts.storage is None:
        if not run.journal_log.is_file():
            raise ValueError(f"{run.path} has lost its record {run.journal_log.name}")
        return open_log(run.journal_log, read_only=read_only)
    if url is None and "***" in str(facts.storage):
        raise ValueError(
            f"the database {facts.storage} needs its password: give --storage again with it, "
            "or keep it in PostgreSQL's password file"
        )
    return open_database(url or str(facts.storage))


def find_studies(storage: BaseStorage, name: str) -> tuple[int, int]:
    """The ids of a search's two studies: its trials and its retrainings. Raises ValueError when there are none."""
    try:
        return storage.get_study_id_from_name(name), storage.get_study_id_from_name(name + RETRAINING_SUFFIX)
    except KeyError:
        raise ValueError(f"the storage holds no search named {name!r}") from None


def load(storage: BaseStorage, name: str) -> History:
    """Everything that a storage holds of a search. Raises JournalError when it is damaged, ValueError for no search.

    A training that is tried again after it failed is stored anew, and takes the place of the one before.
    """
    search_id, retraining_id = find_studies(storage, name)
    try:
        trials = {t.number: t for t in map(trial_of, storage.get_all_trials(search_id, deepcopy=False))}
        assert list(trials) == list(range(len(trials))), "trial numbers have no gaps"
        tests = storage.get_study_user_attrs(retraining_id)
        later = {
            frozen.user_attrs["key"]: trial_of(frozen, tests.get(frozen.user_attrs["key"]))
            for frozen in storage.get_all_trials(retraining_id, deepcopy=False)
        }
        return History(
            list(trials.values()),
            {key: trial for key, trial in later.items() if not trial.is_last_step},
            dict(storage.get_study_user_attrs(search_id)),
            {key: trial for key, trial in later.items() if trial.is_last_step},
        )
    except Exception as error:  # what is no record of ours, or has been changed in a file
        raise JournalError(f"the record of the search {name!r} is damaged: {reason_text(error)}") from error


def trial_of(frozen: FrozenTrial, test: dict[str, Any] | None = None) -> Trial:
    """A training as Optuna stores it: epochs and ending are user attributes, each written with one call."""
    attributes = frozen.user_attrs
    ending = attributes.get("ending", {}) if frozen.state.is_finished() else {}
    return Trial(
        key=attributes["key"],
        number=attributes["number"],
        config=attributes["config"],
        seed=attributes["seed"],
        source=source_from_json(attributes["source"]),
        params=own_names(frozen.params),
        distributions=own_names(frozen.distributions),
        seed_index=attributes["seed_index"],
        is_last_step=attributes.get("is_last_step", False),
        follows=attributes.get("follows"),
        status=ending.get("status", "paused" if frozen.state == TrialState.WAITING else "running"),
        epochs=tuple(epoch_from_json(attributes[name]) for name in sorted(attributes) if name.startswith("epoch_")),
        started_at=attributes["started_at"],
        ended_at=ending.get("ended_at"),
        error=ending.get("error", ""),
        test=TestResult(**test) if test is not None else None,
    )


def stored_names(trial: Trial, parameters: Mapping[str, T]) -> dict[str, T]:
    """Parameters as they are stored: of several networks each has its own, for Optuna knows one range of each name."""
    return {name if trial.network is None else f"{trial.network}/{name}": own for name, own in parameters.items()}


def own_names(parameters: Mapping[str, T]) -> dict[str, T]:
    """Stored parameters without the network's name."""
    return {name.rpartition("/")[2]: own for name, own in parameters.items()}


def source_from_json(value: dict[str, Any]) -> Source:
    """A source from its JSON object, in which fields that are None may be missing."""
    compared_with = value.get("compared_with")
    return Source(**{**value, "compared_with": None if compared_with is None else tuple(compared_with)})


def epoch_from_json(value: dict[str, Any]) -> Epoch:
    """An epoch from its JSON object."""
    return Epoch(
        number=value["number"],
        metrics=value["metrics"],
        worker=Worker(**value["worker"]) if value["worker"] else None,
        recorded_at=value["recorded_at"],
        decision=Decision(**value["decision"]) if value["decision"] else None,
    )

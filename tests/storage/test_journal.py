"""The journal, on every storage: what is recorded is there after any end, once, and as it was."""

import dataclasses
from pathlib import Path

import optuna
import pytest
import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, InMemoryStorage, RDBStorage
from optuna.trial import TrialState

from tests.support.postgres import start_postgres
from tests.support.trials import add_trial, make_epoch, make_proposal
from tune_sketch.events import Decision, Source, TestResult
from tune_sketch.storage import journal as journal_module
from tune_sketch.storage.database import JournalError, close_storage, mask_password, open_database, open_log
from tune_sketch.storage.journal import Journal
from tune_sketch.storage.reading import load

CONFIG = {"learning_rate": 0.1, "epochs": 3}
TEST = TestResult({"top1": 0.5, "top5": 0.75}, 100)


@dataclasses.dataclass
class Place:
    """A storage that can be opened again, as by another process."""

    kind: str
    where: object
    opened: list[BaseStorage] = dataclasses.field(default_factory=list)

    def open(self, *, read_only: bool = False) -> BaseStorage:
        if self.kind == "log":
            return open_log(self.where, read_only=read_only)
        if self.kind == "memory":
            return self.where
        self.opened.append(open_database(self.where))
        return self.opened[-1]


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory):
    with start_postgres(tmp_path_factory.mktemp("journals")) as server:
        yield server.url()


@pytest.fixture(params=["memory", "log", "sqlite", pytest.param("postgres", marks=pytest.mark.real)])
def place(request, tmp_path):
    where = {"memory": InMemoryStorage(), "log": tmp_path / "journal.log", "sqlite": f"sqlite:///{tmp_path / 'a.db'}"}
    if request.param == "postgres":
        where["postgres"] = request.getfixturevalue("postgres_url")
    place = Place(request.param, where[request.param])
    yield place
    for storage in place.opened:
        close_storage(storage)


@pytest.fixture
def name(request):
    """A search of its own, where one server serves many tests."""
    return request.node.name


@pytest.fixture
def journal(place, name):
    journal = Journal(place.open(), name, create=True)
    yield journal
    journal.close()


@pytest.fixture
def read_again(place, name):
    """The record, through a storage that was opened anew."""

    def read():
        storage = place.open(read_only=True)
        history = load(storage, name)
        if place.kind != "memory":
            close_storage(storage)
        return history.trials, history.retrainings, history.notes

    return read


def view(journal):
    return journal.trials, journal.retrainings, journal.notes


def test_everything_is_there_after_opening_again(place, name, journal, read_again):
    source = Source("one-factor", step="decay", number_of_pass=2, num_epochs=6, compared_with=(0, 3))
    first, second = journal.add_trial(make_proposal(source=source), seed=7), add_trial(journal)
    assert (first.key, first.number, first.config, first.seed, first.source) == ("trial-0000", 0, CONFIG, 7, source)
    decision = Decision("continue", 0.125, 1, 2)
    journal.record_epoch(first.key, make_epoch(1, 0.25, decision=decision, val_top5=0.1 + 0.2))
    first = journal.record_epoch(first.key, make_epoch(2, 0.5))
    assert (first.epochs[0].decision, first.epochs[1].decision) == (decision, None)
    journal.end(first.key, "completed")
    journal.pause(second.key)
    retraining = journal.add_retraining(0, 1, CONFIG, seed=9)
    assert (retraining.key, retraining.seed_index, retraining.source) == ("retraining-0000-01", 1, source)
    journal.record_epoch(retraining.key, make_epoch(1))
    journal.record_test(retraining.key, TEST)
    journal.note("key", [1, {"a": 2}])

    assert [trial.status for trial in journal.trials] == ["completed", "paused"]
    assert journal.retrainings[retraining.key].test == TEST
    assert read_again() == view(journal)
    again = Journal(place.open(), name)
    assert view(again) == view(journal)
    # It goes on where the other stopped.
    again.resume(second.key)
    again.record_epoch(second.key, make_epoch(1, 0.75))
    again.end(second.key, "failed", "why")
    assert add_trial(again).number == 2
    assert read_again() == view(again)
    assert (again.trials[1].status, again.trials[1].error) == ("failed", "why")


def test_an_epoch_is_recorded_once(journal, read_again):
    trial = add_trial(journal)
    journal.record_epoch(trial.key, make_epoch(1, 0.25))
    assert journal.record_epoch(trial.key, make_epoch(1, 0.75)).epochs[0].val_top1 == 0.25
    assert [epoch.val_top1 for epoch in read_again()[0][0].epochs] == [0.25]
    with pytest.raises(AssertionError, match="epoch 3 after 1"):
        journal.record_epoch(trial.key, make_epoch(3))
    with pytest.raises(AssertionError, match="nan"):
        journal.record_epoch(trial.key, make_epoch(2, float("nan")))
    assert len(read_again()[0][0].epochs) == 1


def test_an_ending_is_the_last_word(journal, read_again):
    trial = add_trial(journal)
    journal.end(trial.key, "stopped")
    with pytest.raises(AssertionError, match="trial-0000 has ended already: stopped"):
        journal.end(trial.key, "failed")
    assert read_again()[0][0].status == "stopped"


def test_a_retraining_that_is_known_is_returned(journal, read_again):
    add_trial(journal)
    first = journal.add_retraining(0, 2, CONFIG, seed=1)
    assert journal.add_retraining(0, 2, CONFIG, seed=1) is first
    assert list(read_again()[1]) == ["retraining-0000-02"]


def test_paused_trials_go_on(place, name, journal):
    trial = add_trial(journal)
    assert journal.pause(trial.key).status == "paused"
    assert journal.pause(trial.key).status == "paused"
    if place.kind != "log":  # whose lock is that of the run directory
        assert optuna.load_study(study_name=name, storage=place.open()).trials[0].state == TrialState.WAITING
    assert journal.resume(trial.key).status == "running"
    journal.record_epoch(trial.key, make_epoch(1))
    journal.end(trial.key, "completed")
    assert load(place.open(), name).trials[0].status == "completed"


def test_a_dashboard_sees_states_values_and_no_nan(place, name, journal, read_again):
    for status in ("completed", "stopped", "diverged", "out_of_memory", "failed"):
        trial = add_trial(journal)
        journal.record_epoch(trial.key, make_epoch(1, 0.25))
        journal.end(trial.key, status, error="why" if status == "failed" else "")
    study = optuna.load_study(study_name=name, storage=place.open())
    assert [t.state for t in study.trials] == [TrialState.COMPLETE, TrialState.PRUNED] + [TrialState.FAIL] * 3
    assert [t.value for t in study.trials] == [0.25, 0.25, None, None, None]
    assert all(t.intermediate_values == {1: 0.25} for t in study.trials)
    assert all(t.params == {"learning_rate": 0.1} for t in study.trials)
    assert [trial.error for trial in read_again()[0]] == ["", "", "", "", "why"]


WRITES = [
    "create_new_trial",
    "set_trial_intermediate_value",
    "set_trial_user_attr",
    "set_trial_state_values",
    "set_study_user_attr",
]


@pytest.fixture
def at_once(monkeypatch):
    """No pause between two tries."""
    monkeypatch.setattr(journal_module.time, "sleep", lambda seconds: None)


@pytest.mark.parametrize("write", WRITES)
def test_what_is_written_again_after_its_answer_got_lost_is_there_once(
    place, name, journal, read_again, at_once, monkeypatch, write
):
    """Every call of that kind writes, and raises the first time: the connection broke before the answer."""
    original, calls = getattr(journal.storage, write), []

    def answer_every_second_time(*arguments, **options):
        result = original(*arguments, **options)
        calls.append(arguments)
        if len(calls) % 2:
            raise StorageInternalError("gone")
        return result

    monkeypatch.setattr(journal.storage, write, answer_every_second_time)
    first, second = add_trial(journal), add_trial(journal)
    assert (first.number, second.number) == (0, 1)
    journal.record_epoch(first.key, make_epoch(1, 0.25))
    journal.pause(first.key)
    journal.resume(first.key)
    journal.end(first.key, "completed")
    retraining = journal.add_retraining(0, 1, CONFIG, seed=9)
    journal.record_epoch(retraining.key, make_epoch(1))
    journal.end(retraining.key, "completed")
    journal.record_test(retraining.key, TEST)
    journal.note("key", 5)
    assert len(calls) >= 2
    assert [trial.number for trial in journal.trials] == [0, 1]
    assert journal.trials[0].status == "completed"
    assert read_again() == view(journal)
    assert optuna.load_study(study_name=name, storage=place.open()).trials[0].values == [0.25]


def test_what_could_not_be_written_is_neither_in_memory_nor_recorded(journal, read_again, monkeypatch):
    """Whatever happens, and whichever write of it fails: before its last write it does not count."""
    of_database = isinstance(journal.storage, RDBStorage)
    error = sqlalchemy.exc.OperationalError("", {}, Exception("gone")) if of_database else OSError(28, "disk full")
    trial = add_trial(journal)
    before = read_again()
    monkeypatch.setattr(journal_module, "PATIENCE_SECONDS", -1.0)
    happenings = {
        "create_new_trial": lambda: add_trial(journal),
        "set_trial_user_attr": lambda: journal.record_epoch(trial.key, make_epoch(1)),
        "set_trial_state_values": lambda: journal.end(trial.key, "failed", error="why"),
    }

    def fail(*arguments, **options):
        raise error

    for write, happening in happenings.items():
        with monkeypatch.context() as patch:
            patch.setattr(journal.storage, write, fail)
            with pytest.raises(JournalError, match="What was recorded before is safe"):
                happening()
    assert isinstance(journal.error, JournalError)
    assert read_again() == before
    assert view(journal) == before
    monkeypatch.setattr(journal_module, "PATIENCE_SECONDS", 60.0)
    journal.record_epoch(trial.key, make_epoch(1))
    journal.end(trial.key, "completed")
    assert read_again() == view(journal), "it goes on when it can be written again"


def test_a_storage_that_does_not_answer_is_waited_for_and_that_is_said_once(journal, at_once, monkeypatch, capsys):
    original, failures = journal.storage.create_new_trial, iter([OSError(28, "disk full")] * 3)

    def write(*arguments):
        for error in failures:
            raise error
        return original(*arguments)

    monkeypatch.setattr(journal.storage, "create_new_trial", write)
    assert add_trial(journal).number == 0
    assert capsys.readouterr().err.count("the search cannot be recorded ([Errno 28] disk full); waiting ...") == 1


def test_recording_reads_no_other_trials(journal, monkeypatch):
    """It must cost the same after ten thousand trials."""

    def refuse(*arguments, **options):
        raise AssertionError("all trials are read")

    monkeypatch.setattr(journal.storage, "get_all_trials", refuse)
    trial = add_trial(journal)
    journal.record_epoch(trial.key, make_epoch(1))
    journal.end(trial.key, "completed")


def test_a_clock_can_be_given(place):
    now = [5.0]
    journal = Journal(clock=lambda: now[0])
    trial = add_trial(journal)
    now[0] = 6.0
    journal.record_epoch(trial.key, make_epoch(1))
    now[0] = 7.0
    trial = journal.end(trial.key, "completed")
    assert (trial.started_at, trial.epochs[0].recorded_at, trial.ended_at) == (5.0, 6.0, 7.0)


def test_missing_and_taken_names_are_named(place, name, journal):
    with pytest.raises(ValueError, match="holds no search named 'other'"):
        Journal(place.open(), "other")
    with pytest.raises(ValueError, match="already holds a search named"):
        Journal(place.open(), name, create=True)
    if place.kind != "log":  # a file of its own
        add_trial(Journal(place.open(), name + " beside it", create=True))
        assert load(place.open(), name).trials == []


def test_what_is_no_database_is_named(tmp_path):
    with pytest.raises(ValueError, match="--storage must be a database URL such as"):
        open_database("nonsense")
    with pytest.raises(ValueError, match="--storage must be a database URL such as"):
        open_database("nosuch://host/name")
    missing = Path(tmp_path / "no" / "folder" / "a.db")
    with pytest.raises(JournalError, match="cannot be opened"):
        open_database(f"sqlite:///{missing}")


def test_passwords_are_masked():
    assert mask_password("postgresql://me:secret@host/db") == "postgresql://me:***@host/db"
    assert "secret" not in mask_password("postgresql://host/db?password=secret")

"""The journal: what is committed is there after any end, once, and as it was."""

import datetime

import optuna
import pytest
import sqlalchemy
from optuna.distributions import FloatDistribution
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from optuna.trial import TrialState
from sqlalchemy.orm import Session

from tune_sketch.storage import commits
from tune_sketch.storage.journal import ENDINGS, Journal, JournalError, mask_password


def make_metrics(epoch, value=0.5, **changes):
    return {"epoch": epoch, "val_top1": value, "val_top5": 0.9, "val_loss": 1.0, "epoch_seconds": 2.0} | changes


def add_trial(journal, epochs=3):
    config = {"learning_rate": 0.1, "epochs": epochs}
    distributions = {"learning_rate": FloatDistribution(0.01, 1.0, log=True)}
    return journal.add_trial(
        config, {"learning_rate": 0.1}, distributions, seed=5, origin={"kind": "random", "rung": None}
    )


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'study.db'}"


def test_everything_is_there_after_opening_again(url):
    journal = Journal(url, "s", create=True)
    first, second = add_trial(journal), add_trial(journal)
    assert journal.record_epoch(first, make_metrics(1, 0.25))
    assert journal.record_epoch(first, make_metrics(2, 0.5))
    journal.end(first, "completed")
    journal.park(second)
    retraining = journal.add_retraining(0, 1, first.config, seed=9)
    journal.record_epoch(retraining, make_metrics(1))
    journal.note("key", [1, 2])

    again = Journal(url, "s")
    assert [record.status for record in again.trials] == ["completed", "waiting"]
    assert [epoch["val_top1"] for epoch in again.trials[0].epochs] == [0.25, 0.5]
    assert again.trials[0].config == first.config
    assert again.trials[0].distributions == first.distributions
    assert again.trials[0].epochs == first.epochs
    assert again.retrainings["confirm-0000-01"].epochs == retraining.epochs
    assert again.notes() == {"key": [1, 2]}


def test_an_epoch_is_recorded_once(url):
    journal = Journal(url, "s", create=True)
    record = add_trial(journal)
    assert journal.record_epoch(record, make_metrics(1, 0.25))
    assert not journal.record_epoch(record, make_metrics(1, 0.75))
    assert Journal(url, "s").trials[0].epochs[0]["val_top1"] == 0.25
    with pytest.raises(AssertionError, match="epoch 3 after 1"):
        journal.record_epoch(record, make_metrics(3))


def test_the_visible_study_has_states_values_and_no_nan(url):
    journal = Journal(url, "s", create=True)
    statuses = ["completed", "stopped", "diverged", "out_of_memory", "failed"]
    for status in statuses:
        record = add_trial(journal)
        journal.record_epoch(record, make_metrics(1, 0.25))
        journal.end(record, status, error="why" if status == "failed" else "")
    study = optuna.load_study(study_name="s", storage=url)
    assert [t.state for t in study.trials] == [TrialState.COMPLETE, TrialState.PRUNED] + [TrialState.FAIL] * 3
    assert [t.value for t in study.trials] == [0.25, 0.25, None, None, None]
    assert all(t.intermediate_values == {1: 0.25} for t in study.trials)
    with pytest.raises(AssertionError, match="nan"):
        journal.record_epoch(add_trial(journal), make_metrics(1, float("nan")))
    assert [r.error for r in Journal(url, "s").trials] == ["", "", "", "", "why", ""]


def test_a_happening_is_there_whole_or_not_at_all(url, monkeypatch):
    """Whatever the last row of a commit fails at, none of its rows stays."""
    journal = Journal(url, "s", create=True)
    record = add_trial(journal)
    before = optuna.load_study(study_name="s", storage=url).trials
    monkeypatch.setattr("tune_sketch.storage.journal.PATIENCE_SECONDS", 0.0)

    def fail(session):
        session.flush()
        raise sqlalchemy.exc.OperationalError("commit", {}, Exception("disk full"))

    sqlalchemy.event.listen(Session, "before_commit", fail)
    try:
        for happening in (
            lambda: add_trial(journal),
            lambda: journal.record_epoch(record, make_metrics(1)),
            lambda: journal.end(record, "failed", error="why"),
        ):
            with pytest.raises(JournalError, match="disk full"):
                happening()
    finally:
        sqlalchemy.event.remove(Session, "before_commit", fail)
    assert optuna.load_study(study_name="s", storage=url).trials == before
    assert len(journal.trials) == 1
    assert record.epochs == []
    assert record.status == "running"


@pytest.mark.parametrize("name", ["insert_trial", "insert_epoch", "insert_ending"])
def test_what_is_committed_again_after_its_answer_got_lost_is_there_once(url, monkeypatch, name):
    journal = Journal(url, "s", create=True)
    commit, answers = getattr(commits, name), iter([sqlalchemy.exc.OperationalError("", {}, Exception("gone"))])

    def answer_late(*arguments):
        result, error = commit(*arguments), next(answers, None)
        if error is not None:
            raise error
        return result

    monkeypatch.setattr(commits, name, answer_late)
    first, second = add_trial(journal), add_trial(journal)
    assert (first.number, second.number) == (0, 1)
    journal.record_epoch(first, make_metrics(1, 0.25))
    journal.end(first, "completed")
    again = Journal(url, "s")
    assert [record.number for record in again.trials] == [0, 1]
    assert again.trials[0].epochs == first.epochs
    assert again.trials[0].status == "completed"
    assert optuna.load_study(study_name="s", storage=url).trials[0].values == [0.25]


def test_the_rows_are_those_that_optuna_writes_itself(url):
    """Trial for trial and column for column, but for the ids and the clock."""
    theirs = RDBStorage(url)
    study_id = theirs.create_new_study([StudyDirection.MAXIMIZE], "theirs")
    journal = Journal(url, "ours", create=True)
    for status, state in ENDINGS.items():
        record = add_trial(journal)
        attributes = {"config": record.config, "seed": 5, "origin": record.origin, "started_at": record.started_at}
        template = optuna.trial.create_trial(
            state=TrialState.RUNNING,
            params=record.params,
            distributions=record.distributions,
            user_attrs=attributes,
        )
        template.datetime_start = datetime.datetime.now()
        number = theirs.create_new_trial(study_id, template)
        journal.record_epoch(record, make_metrics(1, 0.25))
        theirs.set_trial_user_attr(number, "epoch_0001", record.epochs[0])
        theirs.set_trial_intermediate_value(number, 1, 0.25)
        journal.end(record, status, error="why")
        theirs.set_trial_user_attr(number, "ending", {"status": status, "error": "why", "ended_at": record.ended_at})
        theirs.set_trial_state_values(number, state, None if state == TrialState.FAIL else [0.25])

    def rows(name):
        study = optuna.load_study(study_name=name, storage=url)
        found = []
        for trial in study.trials:
            row = dict(vars(trial))
            del row["_trial_id"]
            times = [row.pop("_datetime_start"), row.pop("datetime_complete")]
            assert all(abs(datetime.datetime.now() - time).total_seconds() < 60 for time in times)
            found.append(row)
        return found

    assert rows("ours") == rows("theirs")


def test_a_suggestion_reads_no_other_trials(url, monkeypatch):
    """It must cost the same after ten thousand trials."""
    journal = Journal(url, "s", create=True)

    def refuse(*arguments, **options):
        raise AssertionError("all trials are read")

    monkeypatch.setattr(journal.storage, "get_all_trials", refuse)
    add_trial(journal)
    journal.record_epoch(journal.trials[0], make_metrics(1))
    journal.end(journal.trials[0], "completed")


def test_waiting_trials_go_on(url):
    journal = Journal(url, "s", create=True)
    record = add_trial(journal)
    journal.park(record)
    assert optuna.load_study(study_name="s", storage=url).trials[0].state == TrialState.WAITING
    again = Journal(url, "s")
    again.unpark(again.trials[0])
    again.record_epoch(again.trials[0], make_metrics(1))
    again.end(again.trials[0], "completed")
    assert Journal(url, "s").trials[0].status == "completed"


def test_missing_and_taken_studies_are_named(url):
    with pytest.raises(ValueError, match="no study named 'other'"):
        Journal(url, "other")
    Journal(url, "s", create=True)
    with pytest.raises(ValueError, match="already holds a study named 's'"):
        Journal(url, "s", create=True)
    with pytest.raises(ValueError, match="--storage must be a database URL"):
        Journal("nonsense", "s")


def test_passwords_are_masked():
    assert mask_password("postgresql://me:secret@host/db") == "postgresql://me:***@host/db"

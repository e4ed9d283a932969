"""The journal: what is committed is there after any end, once, and as it was."""

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.exceptions import StorageInternalError
from optuna.trial import TrialState

from tune_sketch.journal import Journal, mask_password


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


def test_a_kill_between_the_two_commits_of_an_epoch_is_mended(url):
    journal = Journal(url, "s", create=True)
    record = add_trial(journal)
    journal.storage.set_trial_user_attr(record.storage_id, "epoch_0001", make_metrics(1, 0.25, recorded_at=1.0))
    again = Journal(url, "s")
    assert len(again.trials[0].epochs) == 1
    again.mend()
    assert optuna.load_study(study_name="s", storage=url).trials[0].intermediate_values == {1: 0.25}


def test_a_kill_between_ending_and_state_leaves_the_trial_unfinished(url):
    journal = Journal(url, "s", create=True)
    record = add_trial(journal)
    journal.record_epoch(record, make_metrics(1))
    ending = {"status": "stopped", "error": "", "ended_at": 1.0}
    journal.storage.set_trial_user_attr(record.storage_id, "ending", ending)
    again = Journal(url, "s")
    assert again.trials[0].is_unfinished
    again.end(again.trials[0], "stopped")
    assert Journal(url, "s").trials[0].status == "stopped"


def test_a_suggestion_whose_answer_got_lost_is_there_once(url, monkeypatch):
    journal = Journal(url, "s", create=True)
    commit, answers = journal.storage.create_new_trial, iter([StorageInternalError("gone"), None])

    def answer_late(*arguments):
        identifier, error = commit(*arguments), next(answers)
        if error is not None:
            raise error
        return identifier

    monkeypatch.setattr(journal.storage, "create_new_trial", answer_late)
    first, second = add_trial(journal), add_trial(journal)
    assert (first.number, second.number) == (0, 1)
    assert [record.number for record in Journal(url, "s").trials] == [0, 1]


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

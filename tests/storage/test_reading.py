"""The record of a run is found wherever it is kept, read beside its writer, and what is missing is named."""

import pytest

from tests.support.facts import make_facts
from tests.support.trials import add_trial, make_epoch
from tune_sketch.events import TestResult
from tune_sketch.storage.database import open_database, open_log
from tune_sketch.storage.facts import write_facts
from tune_sketch.storage.journal import Journal
from tune_sketch.storage.reading import open_storage, read_history
from tune_sketch.storage.run_directory import RunDirectory


@pytest.fixture
def run(tmp_path):
    run = RunDirectory(tmp_path / "run")
    run.path.mkdir()
    return run


@pytest.mark.parametrize("kind", ["log", "database"])
def test_what_is_read_is_the_journals_own_view_at_every_moment(run, tmp_path, kind):
    url = None if kind == "log" else f"sqlite:///{tmp_path / 'a.db'}"
    facts = make_facts(storage=url)
    write_facts(run, facts)
    journal = Journal(open_log(run.journal_log) if url is None else open_database(url), "s", create=True)

    def agree():
        history = read_history(run)
        assert (history.trials, history.retrainings, history.notes) == (
            journal.trials,
            journal.retrainings,
            journal.notes,
        )

    agree()
    key = add_trial(journal).key
    agree()
    journal.record_epoch(key, make_epoch(1))
    agree()
    journal.pause(key)
    agree()
    journal.resume(key)
    journal.end(key, "completed")
    agree()
    retraining = journal.add_retraining(0, 1, {"epochs": 1}, seed=3).key
    journal.record_epoch(retraining, make_epoch(1))
    agree()
    journal.end(retraining, "completed")
    journal.record_test(retraining, TestResult({"top1": 0.5}, 10))
    journal.note("test_readings", [{"chosen": 0}])
    agree()
    again = Journal(open_storage(run, facts), "s")
    assert again.trials == journal.trials
    assert [read_history(run).find(key) for key in ("trial-0000", "retraining-0000-01")] == [
        journal.trials[0],
        journal.retrainings["retraining-0000-01"],
    ]


def test_a_database_is_found_by_the_url_that_is_given_again(run, tmp_path):
    write_facts(run, make_facts(storage="postgresql://me:***@host/db"))
    url = f"sqlite:///{tmp_path / 'a.db'}"
    journal = Journal(open_database(url), "s", create=True)
    add_trial(journal)
    with pytest.raises(ValueError, match="needs its password: give --storage again"):
        read_history(run)
    assert read_history(run, url).trials == journal.trials


def test_what_is_missing_is_named(run):
    with pytest.raises(ValueError, match=r"is not a run directory: it has no search\.json"):
        read_history(run)
    write_facts(run, make_facts())
    with pytest.raises(ValueError, match=r"has lost its record journal\.log"):
        read_history(run)
    run.journal_log.touch()
    with pytest.raises(ValueError, match="holds no search named 's'"):
        read_history(run)

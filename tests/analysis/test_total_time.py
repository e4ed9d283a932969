"""The report and the status of a run within --total-time say what was planned, what it took and what was left out."""

from dataclasses import replace

import pytest

from tests.support.facts import make_session
from tests.support.fake_runs import add_trials, begin_run
from tests.support.trials import train
from tune_sketch.analysis.run_data import read_run
from tune_sketch.analysis.tables.costs import tabulate_costs
from tune_sketch.analysis.tables.finalists import show_finalists, tabulate_finalists
from tune_sketch.analysis.tables.selection_bias import tabulate_selection_bias
from tune_sketch.analysis.tables.total_time import show_total_time, tabulate_total_time
from tune_sketch.analysis.verdict import state_result, warn
from tune_sketch.config.total_time import Division
from tune_sketch.events import OF_SEARCH, TestResult
from tune_sketch.retraining.timetable import PLAN_NOTE
from tune_sketch.status import status_lines
from tune_sketch.storage.facts import read_facts, write_facts

METRICS = {"top1": 0.5, "top5": 0.9, "loss": 1.0, "precision": 0.5, "recall": 0.5, "f1": 0.5, "balanced_accuracy": 0.5}


@pytest.fixture
def run(tmp_path):
    """A run of two minutes, of which all but the search's own network was left out."""
    run, journal = begin_run(tmp_path / "run", total_time_seconds=120.0)
    add_trials(run, journal, 4)
    times = [epoch.recorded_at for trial in journal.trials for epoch in trial.epochs]
    adopted = journal.add_retraining(1, OF_SEARCH, journal.trials[1].config | {"epochs": 2}, 5)
    train(journal, adopted, [0.4, 0.5], "completed", images_per_second=9.0, micro_batch=8.0)
    journal.record_test(adopted.key, TestResult(METRICS, 40))
    journal.note("test_readings", [{"chosen": 1, "networks": [adopted.key]}])
    journal.note(PLAN_NOTE, {"total_seconds": 120.0, "planned": [], "text": "nothing; left out: trial 0 (paper)"})
    begun = min(times) - 10.0
    session = make_session(begun, prepared_seconds=4.0, ended_at=begun + 100.0)
    facts = replace(read_facts(run), sessions=(session,), division=Division(120.0, 4.0, 22.0, 15.0))
    write_facts(run, facts)
    return run


def test_the_report_says_what_was_planned_and_what_it_took(run):
    rows = tabulate_total_time(read_run(run.path))
    assert [row["part"] for row in rows] == [
        *("preparation", "search", "retraining and last step", "test and report", "together")
    ]
    assert [row["planned_seconds"] for row in rows] == [4.0, 79.0, 22.0, 15.0, 120.0]
    assert sum(row["seconds"] for row in rows[:-1]) == pytest.approx(rows[-1]["seconds"])
    assert rows[0]["seconds"] == 4.0
    assert "left out: trial 0 (paper)" in show_total_time(rows)[2][""]


def test_a_network_of_the_search_is_marked_with_its_epochs(run):
    read = read_run(run.path)
    (row,) = show_finalists(tabulate_finalists(read))
    assert (row["trial"], row["epochs"]) == ("1 (search) *", "2")
    assert row["validation, fresh seeds"] == "none", "it is not on a fresh seed"
    assert tabulate_selection_bias(read) == [], "it would be compared with itself"
    assert any("the network is the search's own" in warning for warning in warn(read))
    assert any("This is the one network that the search itself trained with" in text for text in state_result(read))


def test_a_network_of_the_search_was_paid_for_by_the_search(run):
    (row,) = tabulate_costs(read_run(run.path))
    assert row["part"] == "search"
    assert not any(line.startswith("retrain cost") for line in status_lines(run))


def test_status_says_how_much_is_used(run):
    (line,) = [line for line in status_lines(run) if line.startswith("total time")]
    assert line.endswith("of 2 min used, all sessions together")


def test_without_a_total_time_there_is_no_such_table(tmp_path):
    run, _ = begin_run(tmp_path / "run")
    assert tabulate_total_time(read_run(run.path)) == []
    assert not any(line.startswith("total time") for line in status_lines(run))

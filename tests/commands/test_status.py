"""The text of status for a run in each state, reading only."""

import os
import re
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from tests.support.fake_runs import add_epochs, add_trials, begin_run, make_finished_run
from tests.support.mounts import read_only
from tests.support.real_search import ROOT
from tune_sketch.config.total_time import divide
from tune_sketch.events import TestResult
from tune_sketch.formatting import duration_text
from tune_sketch.retraining.last_step import LastStep
from tune_sketch.retraining.timetable import PLAN_NOTE
from tune_sketch.standing.progress import time_left_text
from tune_sketch.status import main, status_lines
from tune_sketch.storage.facts import read_facts, write_facts
from tune_sketch.storage.lock import lock
from tune_sketch.storage.reading import read_history


def lines_by_name(run):
    """{what a line begins with: the rest}; the best configuration's line has no beginning of its own."""
    return {line[:15].strip(): line[15:] for line in status_lines(run)}


def test_an_empty_run(tmp_path):
    run, _ = begin_run(tmp_path / "run")
    lines = lines_by_name(run)
    assert lines["model, data"] == "baseline, doodles"
    assert lines["owner"] == "nobody is at work on it"
    assert lines["trials"] == "0 of 12: none"
    assert "best so far" not in lines
    assert lines["rung    1"] == "0 trials came so far; 0 stopped here"
    assert lines["test split"] == "not read yet"
    assert "start 12 new trials, then retrain the finalists and read the test split" in lines["a resume would"]


def test_a_running_run_has_an_owner_and_a_time_left(tmp_path):
    run, journal = begin_run(tmp_path / "run")
    with lock(run):
        lines = lines_by_name(run)
        assert lines["time left"] == "not known before the first epoch"
        add_trials(run, journal, 6, running=2)
        lines = lines_by_name(run)
    assert lines["owner"].startswith(f"process {os.getpid()} on {os.uname().nodename}, for ")
    assert "2 running" in lines["trials"]
    assert lines["time left"].startswith("about ")


def test_an_interrupted_run_says_what_a_resume_would_do(tmp_path):
    run, journal = begin_run(tmp_path / "run")
    add_trials(run, journal, 6, running=2)
    journal.pause(journal.trials[4].key)
    lines = lines_by_name(run)
    best = journal.trials[0].best_epoch.val_top1
    assert lines["trials"].startswith("6 of 12: ")
    assert "1 interrupted" in lines["trials"]
    assert "1 paused" in lines["trials"]
    assert "time left" not in lines
    assert lines["best so far"].startswith(f"trial 0: validation top-1 {100 * best:.1f} % after 9 epochs")
    assert lines["rung    9"].startswith("1 trial came so far, best top-1")
    assert lines["a resume would"].strip() == (
        "continue 2 trials (4 after epoch 1, 5 after epoch 1), then start 6 new trials, "
        "then retrain the finalists and read the test split"
    )


def test_retrainings_and_an_unread_test_split(tmp_path):
    run, journal = begin_run(tmp_path / "run", num_samples=4)
    add_trials(run, journal, 4)
    done, begun = (journal.add_retraining(number, 1, journal.trials[number].config, seed=1) for number in (0, 1))
    add_epochs(journal, done, 1, 0.5)
    lines = lines_by_name(run)
    assert lines["retrainings"] == "2: 2 interrupted"
    assert "continue 2 retrainings, then retrain" in lines["a resume would"]
    journal.end(done.key, "completed")
    journal.end(begun.key, "failed", error="x")
    assert "read the test split" in lines_by_name(run)["a resume would"]
    journal.record_test(done.key, TestResult({"top1": 0.5}, 10))
    lines = lines_by_name(run)
    assert lines["test split"] == "read"
    assert "find nothing to do; extend it" in lines["a resume would"]


def test_a_last_step_that_is_to_come(tmp_path):
    run, journal = begin_run(tmp_path / "run", num_samples=4, last_step=True)
    add_trials(run, journal, 4)
    trial = journal.add_retraining(0, 1, journal.trials[0].config, seed=1)
    add_epochs(journal, trial, 1, 0.5)
    journal.end(trial.key, "completed")
    expected = "let the winner go on with the validation drawings, then read the test split"
    assert lines_by_name(run)["a resume would"] == expected
    last = LastStep(journal, seed=0).propose()
    lines = lines_by_name(run)
    assert (lines["last step"], lines["a resume would"]) == ("1 interrupted", expected)
    journal.end(last.key, "failed", error="x")
    assert lines_by_name(run)["a resume would"] == "read the test split"


def test_a_finished_run(tmp_path, capsys):
    run = make_finished_run(tmp_path / "run")
    assert main([str(run.path)]) == 0
    text = capsys.readouterr().out
    assert "nobody is at work on it" in text
    assert "test split     read" in text
    assert "worker time" in text
    assert f"find nothing to do; extend it: python -m tune_sketch.search --resume {run.path} --num-samples N" in text


def test_what_is_no_run_is_an_error(tmp_path, capsys):
    assert main([str(tmp_path)]) == 2
    assert f"error: {tmp_path} is not a run directory" in capsys.readouterr().err


def files_of(run):
    return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in run.path.rglob("*")}


def test_it_reads_what_cannot_be_written(tmp_path):
    run, journal = begin_run(tmp_path / "run")
    add_trials(run, journal, 5)
    before = files_of(run)
    with read_only(run.path):
        lines = lines_by_name(run)
    assert lines["trials"].startswith("5 of 12: ")
    assert files_of(run) == before


@pytest.mark.parametrize("torn", [b'{"op_code": 4, "worker_id"', b"{"])
def test_it_reads_after_a_crash_that_tore_the_last_line(tmp_path, torn):
    """As a kill or a power cut leaves the record: a reader leaves the torn line alone."""
    run, journal = begin_run(tmp_path / "run")
    add_trials(run, journal, 5)
    with open(run.journal_log, "ab") as file:
        file.write(torn)
    before = files_of(run)
    assert lines_by_name(run)["trials"].startswith("5 of 12: ")
    assert files_of(run) == before


def test_it_needs_neither_ray_nor_torch(tmp_path):
    """So that it answers at once, on a machine that is busy training too."""
    code = "import sys, tune_sketch.status; print([name for name in ('ray', 'torch') if name in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert answer.stdout.strip() == "[]"


def test_budgets_and_what_more_search_may_bring(tmp_path):
    run, journal = begin_run(tmp_path / "run", num_samples=40, gpu_hours=2.0, min_gain=0.002, time_budget_seconds=90.0)
    assert "more search" not in lines_by_name(run)
    add_trials(run, journal, 34)
    text = "\n".join(status_lines(run))
    assert "budget         ends after 2 min of searching" in text
    assert "budget         ends after 2 GPU-hours of training (worker-hours without a GPU)" in text
    assert "less than 0.2 points of top-1" in text
    assert "10 more trials can be expected to gain at most " in lines_by_name(run)["more search"]


def begin_now(path, **choices):
    """A run whose first session began now, as epochs are recorded; (run, journal)."""
    run, journal = begin_run(path, num_samples=1000, **choices)
    facts = read_facts(run)
    total = facts.settings.total_time_seconds
    division = divide(total, 0.0, last_step=False) if total is not None else None
    sessions = (replace(facts.sessions[0], started_at=time.time()),)
    write_facts(run, replace(facts, sessions=sessions, division=division))
    return run, journal


@pytest.mark.parametrize(("budget", "little", "much"), [("time_budget_seconds", 5.0, 1e6), ("gpu_hours", 1e-4, 100.0)])
def test_what_a_resume_would_do_within_a_budget(tmp_path, budget, little, much):
    new = "start new trials, as its budget allows, then "
    for value, first in ((little, ""), (much, f"continue 1 trial (5 after epoch 1), then {new}")):
        run, journal = begin_now(tmp_path / f"{value}", **{budget: value})
        add_trials(run, journal, 6, running=1)
        journal.pause(journal.trials[5].key)
        lines = lines_by_name(run)
        assert lines["trials"].startswith("6 of at most 1000: ")
        assert lines["a resume would"] == f"{first}retrain the finalists and read the test split"


@pytest.mark.parametrize("budget", [{}, {"time_budget_seconds": 30.0}, {"gpu_hours": 100 / 3600}])
def test_the_time_left_is_no_more_than_what_the_budget_leaves(tmp_path, budget):
    run, journal = begin_now(tmp_path / "run", **budget)
    add_trials(run, journal, 6)
    trials, facts = read_history(run).trials, read_facts(run)
    now = facts.sessions[0].started_at + 20.0
    trained = sum(trial.train_seconds for trial in trials)
    expected = 10.0 if "time_budget_seconds" in budget else (100.0 - trained) * 20 / trained
    text = time_left_text(read_history(run), facts, now)
    if budget:
        assert text == f"about {duration_text(expected)} for the search, then the retrainings"
    else:
        assert re.fullmatch("about .* (min|h) for the search, then the retrainings", text)


def test_the_time_left_of_a_total_time_includes_all(tmp_path):
    run, journal = begin_now(tmp_path / "run", total_time_seconds=7200.0)
    add_trials(run, journal, 2)
    facts = read_facts(run)
    text = time_left_text(read_history(run), facts, facts.sessions[0].started_at + 3600.0)
    assert text == "at most 60 min, retrainings, test and report included"
    assert lines_by_name(run)["a resume would"].startswith("start new trials, as its budget allows, then ")
    journal.note(PLAN_NOTE, {"total_seconds": 7200.0, "planned": [], "text": ""})
    assert lines_by_name(run)["a resume would"] == "retrain the finalists and read the test split"


def test_one_factor_is_extended_by_passes(tmp_path):
    run, _ = begin_run(tmp_path / "run", num_samples=20, strategy="one-factor")
    lines = lines_by_name(run)
    assert lines["strategy"] == "one-factor: the paper's own procedure"
    assert lines["trials"].startswith("0 of at most 20")
    assert "go on with the steps that are left" in lines["a resume would"]

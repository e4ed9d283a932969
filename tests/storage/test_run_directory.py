"""One owner, whole files or the old ones, and the columns that tools rely on."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.storage.test_journal import make_metrics
from tests.support.fake_runs import add_trials, begin_run
from tune_sketch.search_spaces import study_configuration
from tune_sketch.search_spaces.common import SpaceLimits
from tune_sketch.storage.run_directory import (
    METRICS,
    PLACE,
    TRIAL_COLUMNS,
    RunDirectory,
    own,
    read_csv,
    read_owner,
    write_csv,
    write_json,
    write_tables,
)

ROOT = Path(__file__).parents[2]
OWNER = """
import sys, time
from pathlib import Path
from tune_sketch.storage.run_directory import RunDirectory, own
with own(RunDirectory(Path(sys.argv[1]))):
    print("mine", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def run(tmp_path):
    return RunDirectory(tmp_path)


@pytest.fixture
def other_owner(run):
    """Another process that owns the run directory."""
    with subprocess.Popen([sys.executable, "-c", OWNER, run.path], stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout.readline() == b"mine\n"
        yield process
        process.kill()


def test_a_second_process_is_refused_with_host_and_process(run, other_owner):
    owner = read_owner(run)
    assert (owner["host"], owner["process"]) == (socket.gethostname(), other_owner.pid)
    assert 0 <= time.time() - owner["since"] < 60
    expected = f"in use by process {other_owner.pid} on {socket.gethostname()}"
    with pytest.raises(ValueError, match=expected), own(run):
        pytest.fail("two owners")
    assert read_owner(run) == owner, "a refused process leaves the owner's entry alone"


def test_the_lock_of_a_killed_process_is_taken_over(run, other_owner):
    other_owner.kill()
    other_owner.wait()
    assert (run.path / "owner.json").read_text() != "", "it could not clean up"
    assert read_owner(run) is None
    with own(run), open(run.path / "owner.json") as file:
        assert json.load(file)["process"] == os.getpid()
    assert read_owner(run) is None


def test_the_entry_of_another_machine_without_its_lock_is_taken_over(run):
    """As it lies there after that machine died, or in a copy of the run directory."""
    write_json(run.path / "owner.json", {"host": "elsewhere", "process": 1, "since": 0.0})
    assert read_owner(run) is None
    with own(run):
        assert read_owner(run)["process"] == os.getpid()


def test_nobody_owns_a_directory_that_was_never_owned(run):
    assert read_owner(run) is None


def test_looking_at_the_owner_keeps_nobody_out(run):
    """status takes the lock for a moment to find out whether there is an owner."""
    with own(run):
        pass
    done = threading.Event()

    def look():
        while not done.is_set():
            read_owner(run)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        for _ in range(20):
            with own(run):
                pass
    finally:
        done.set()
        thread.join()


def test_a_folder_that_is_no_run_directory_is_named(run):
    with pytest.raises(ValueError, match=r"is not a run directory: it has no search\.json"):
        run.read_search()
    write_json(run.search_json, {"storage": None, "study_name": "s"})
    with pytest.raises(ValueError, match=r"has lost its study database study\.db"):
        run.open_journal()
    write_json(run.search_json, {"storage": "postgresql://me:***@host/db", "study_name": "s"})
    with pytest.raises(ValueError, match="needs its password: give --storage again"):
        run.open_journal()


def test_a_file_is_replaced_whole_or_not_at_all(run, monkeypatch):
    path = run.path / "table.csv"
    write_csv(path, ["a", "b"], [{"a": 1}, {"a": 2, "b": 'x,"y"\n'}])
    assert path.read_text() == 'a,b\n1,\n2,"x,""y""\n"\n'

    def rows():
        yield {"a": 3}
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        write_csv(path, ["a"], rows())

    def full(descriptor):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            write_json(path, {})
    assert path.read_text().startswith("a,b\n1,")
    assert os.listdir(run.path) == ["table.csv"], "nothing is left that takes space"


def test_the_tables_have_their_columns_and_the_journals_values(tmp_path):
    run, journal = begin_run(tmp_path / "run", num_samples=9)
    add_trials(run, journal, 8, failed=1, running=1)
    limits = SpaceLimits(max_epochs=9, pretrained=False)
    config = study_configuration("baseline", limits) | {"only_here": 5}
    journal.add_trial(config, {}, {}, seed=0, origin={"kind": "model", "rung": 3})
    retraining = journal.add_retraining(3, 2, config, seed=9)
    journal.record_epoch(retraining, make_metrics(1, 0.25, micro_batch=8, learning_rate=0.1))
    write_tables(run, journal)

    trials, epochs, confirm = map(read_csv, (run.trials_csv, run.epochs_csv, run.confirm_epochs_csv))
    names = sorted({name for record in journal.trials for name in record.config})
    assert list(trials[0]) == [*TRIAL_COLUMNS, *(f"config/{name}" for name in names)]
    assert list(epochs[0]) == ["trial", "epoch", *METRICS, *PLACE, "recorded_at"]
    assert list(confirm[0]) == ["trial", "seed_index", "epoch", *METRICS, *PLACE, "recorded_at"]
    assert [row["trial"] for row in trials] == [str(number) for number in range(9)]
    assert [row["status"] for row in trials] == [record.status for record in journal.trials]
    assert len(epochs) == sum(len(record.epochs) for record in journal.trials)
    for row in epochs:  # exactly the journal's numbers: text that reads back to the same float
        metrics = journal.trials[int(row["trial"])].epochs[int(row["epoch"]) - 1]
        assert all(float(row[name]) == metrics[name] for name in METRICS)
    first = journal.trials[0]
    assert float(trials[0]["best_val_top1"]) == max(epoch["val_top1"] for epoch in first.epochs)
    assert int(trials[0]["best_epoch"]) == len(first.epochs)
    assert trials[0]["config/only_here"] == ""
    assert (trials[8]["config/only_here"], trials[8]["origin_rung"], trials[8]["best_epoch"]) == ("5", "3", "")
    assert (confirm[0]["trial"], confirm[0]["seed_index"], confirm[0]["train_loss"]) == ("3", "2", "")

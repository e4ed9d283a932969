"""One process owns a run directory; its lock ends with it, however it ends."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tune_sketch.storage.files import write_json
from tune_sketch.storage.lock import Owner, lock, read_owner
from tune_sketch.storage.run_directory import RunDirectory

ROOT = Path(__file__).parents[2]
OWNER = """
import sys, time
from pathlib import Path
from tune_sketch.storage.lock import lock
from tune_sketch.storage.run_directory import RunDirectory
with lock(RunDirectory(Path(sys.argv[1]))):
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
    assert (owner.host, owner.process) == (socket.gethostname(), other_owner.pid)
    assert 0 <= time.time() - owner.since < 60
    expected = f"in use by process {other_owner.pid} on {socket.gethostname()}"
    with pytest.raises(ValueError, match=expected), lock(run):
        pytest.fail("two owners")
    assert read_owner(run) == owner, "a refused process leaves the owner's entry alone"


def test_the_lock_of_a_killed_process_is_taken_over(run, other_owner):
    other_owner.kill()
    other_owner.wait()
    assert run.owner_json.read_text() != "", "it could not clean up"
    assert read_owner(run) is None
    with lock(run), open(run.owner_json) as file:
        assert json.load(file)["process"] == os.getpid()
    assert read_owner(run) is None


def test_the_entry_of_another_machine_without_its_lock_is_taken_over(run):
    """As it lies there after that machine died, or in a copy of the run directory."""
    write_json(run.owner_json, {"host": "elsewhere", "process": 1, "since": 0.0})
    assert read_owner(run) is None
    with lock(run):
        assert read_owner(run).process == os.getpid()


def test_nobody_owns_a_directory_that_was_never_owned(run):
    assert read_owner(run) is None


def test_looking_at_the_owner_keeps_nobody_out(run):
    """status takes the lock for a moment to find out whether there is an owner."""
    with lock(run):
        pass
    done = threading.Event()

    def look():
        while not done.is_set():
            read_owner(run)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        for _ in range(20):
            with lock(run):
                pass
    finally:
        done.set()
        thread.join()


def test_a_torn_entry_has_an_owner_all_the_same(run):
    """The lock is held and the entry not written yet."""
    with lock(run):
        run.owner_json.write_text("")
        assert read_owner(run) == Owner("unknown", 0, 0.0)

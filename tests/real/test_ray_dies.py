"""Ray's own processes die under a search, or hear what is sent to all: it goes on by itself, or can be resumed."""

import os
import shutil
import signal
import subprocess
import sys
import time

import psutil
import pytest

from tests.support.processes import family, is_trial, ray_process
from tests.support.real_search import Search, output_of
from tests.support.recorded import check_complete, count_epochs, recorded_epochs, snapshot
from tune_sketch.backend.private_folder import PREFIX
from tune_sketch.backend.restart import MOST_RESTARTS

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]
LONG = ("--num-samples", 2, "--max-epochs", 60, "--grace-epochs", 60, "--finalists", 0, "--no-last-step")
LONG = (*LONG, "--retraining-seeds", 1)  # not longer than two deaths need
LOSS_SECONDS = 30  # within these it is said what died
STEAL = """
import os, sys
folder = sys.argv[1]
def attempt(name, work):
    try:
        work()
        print(name)
    except OSError:
        pass
attempt("listed", lambda: os.listdir(folder))
for name in sys.argv[2:]:
    attempt("read " + name, lambda: open(name).read())
    attempt("wrote " + name, lambda: open(name, "w"))
    attempt("swapped " + name, lambda: os.rename(name, name + "-mine"))
attempt("renamed", lambda: os.rename(folder, folder + "-mine"))
"""


@pytest.fixture
def search(tmp_path):
    search = Search(tmp_path, {})
    yield search
    search.close()


def wait_for_text(process, text, seconds=LOSS_SECONDS, times=1):
    deadline = time.monotonic() + seconds
    while output_of(process).count(text) < times:
        assert process.poll() is None, output_of(process)
        assert time.monotonic() < deadline, f"not said in {seconds} s: {text}\n{output_of(process)}"
        time.sleep(0.1)


def folder_of_ray(process):
    """The private folder of a search's Ray."""
    argument = next(part for part in ray_process(process, "raylet").cmdline() if "--session_dir=" in part)
    return next(part for part in argument.split("/") if part.startswith(PREFIX))


def test_a_search_goes_on_by_itself_when_processes_of_ray_die(search, record_tries):
    process = search.start(*LONG)
    search.wait_for_epochs(process, 2)
    for number, name in enumerate(("raylet", "gcs_server"), start=1):
        before, folder = snapshot(search.run), folder_of_ray(process)
        victim = ray_process(process, name)
        victim.kill()
        wait_for_text(process, f"Ray's {name} (process {victim.pid}) has died")
        wait_for_text(process, f"Ray is started again (1 of {MOST_RESTARTS})", times=number)
        search.wait_for_epochs(process, count_epochs(search.run) + 2)
        assert folder_of_ray(process) != folder
        assert not os.path.exists(f"/tmp/{folder}")
        after = snapshot(search.run)
        for key, trial in before.items():
            assert after[key].epochs[: len(trial.epochs)] == trial.epochs
        record_tries(f"deaths of Ray's {name} under a search", 1, 1)
    text = search.finish(process, timeout=400)
    assert "Traceback" not in text
    check_complete(search.run)
    assert {trial.error for trial in snapshot(search.run).values()} == {""}, "no trial is blamed for it"


def test_a_signal_to_the_whole_group_pauses_the_search(search, record_tries):
    process = search.start(*LONG)
    search.wait_for_epochs(process, 2)
    folder = f"/tmp/{folder_of_ray(process)}"

    # A worker that was stopped goes on later as if nothing had been.
    victim = next(r for r in family(process) if is_trial(r) and epochs_of(search.run, r.pid))
    victim.suspend()
    time.sleep(3)
    before = epochs_of(search.run, victim.pid)
    victim.resume()
    while len(epochs_of(search.run, victim.pid)) < len(before) + 2:
        search.wait_for_epochs(process, count_epochs(search.run) + 1)
    assert victim.is_running()
    assert len({key for key, _ in epochs_of(search.run, victim.pid)}) == 1, "it trains its own trial"
    assert "its process died" not in output_of(process)

    # To the group, as `timeout` sends it, and to every other process, as systemd and batch systems do.
    others = [relative for relative in family(process) if os.getpgid(relative.pid) != process.pid]
    os.killpg(process.pid, signal.SIGTERM)
    for relative in others:
        relative.terminate()
    text = search.finish(process, expected_code=130, timeout=60)  # seconds, where nothing else runs
    assert "SIGTERM: each training finishes its epoch and keeps a checkpoint" in text
    assert f"python -m tune_sketch.search --resume {search.run.path}" in text
    assert "Ray is started again" not in text
    assert "Traceback" not in text
    assert {trial.status for trial in snapshot(search.run).values() if trial.is_unfinished} == {"paused"}
    assert not os.path.exists(folder)
    record_tries("SIGTERM to all processes of a search", 1, 1)


def epochs_of(run, process):
    """The epochs, as (training, number), that one process has trained."""
    return {what for what, epoch in recorded_epochs(run).items() if epoch.worker.process == process}


def test_no_other_user_of_the_machine_gets_in(search, record_tries):
    """Nobody reads or swaps what the search's processes find each other by."""
    process = search.start(*LONG)
    search.wait_for_epochs(process, 1)
    folder = f"/tmp/{folder_of_ray(process)}"
    assert os.stat(folder).st_mode & 0o777 == 0o700
    files = [os.path.join(place, name) for place, _, names in os.walk(folder) for name in names]
    assert any("port" in name for name in files)
    for relative in family(process):
        try:
            listening = {c.laddr.ip for c in relative.net_connections("inet") if c.status == psutil.CONN_LISTEN}
        except psutil.Error:
            continue
        assert listening <= {"127.0.0.1", "::ffff:127.0.0.1", "::1"}, (relative, listening)
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("needs root, to become another user")
    stranger = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", sys.executable, "-c", STEAL]
    answer = subprocess.run([*stranger, folder, *files], capture_output=True, text=True, check=False, cwd="/")
    if "Permission denied" in answer.stderr or answer.returncode:
        stranger[4] = "/usr/bin/python3"  # ours may lie where the other user cannot get
        answer = subprocess.run([*stranger, folder, *files], capture_output=True, text=True, check=False, cwd="/")
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout == ""
    num_tried = 2 + 3 * len(files)
    record_tries("files of a search, read, written or swapped by another user", num_tried, num_tried)

"""The folder of Ray's files: short enough for its sockets, closed to all others, gone at the end and after a kill."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tune_sketch.backend.private_folder import (
    LOCK,
    MOST_FOLDER_BYTES,
    SHORT_FOLDER,
    choose_parent,
    is_ours,
    make_private_folder,
    remove_abandoned,
)
from tune_sketch.backend.ray_backend import RayBackend

ROOT = Path(__file__).parents[2]
HOLD = """
import time
from tune_sketch.backend.private_folder import make_private_folder
folder = make_private_folder()
(folder.path / "file").touch()
print(folder.path, flush=True)
time.sleep(60)
"""


@pytest.fixture
def parent(monkeypatch):
    """A short folder of our own for the folders."""
    path = Path(os.path.realpath("/tmp")) / f"tsp{os.getpid()}"
    path.mkdir(mode=0o700)
    monkeypatch.setenv("RAY_TMPDIR", str(path))
    yield path
    subprocess.run(["rm", "-r", str(path)], check=True)


@pytest.mark.parametrize("variable", ["TMPDIR", "RAY_TMPDIR"])
def test_a_folder_too_long_for_sockets_is_left_alone(variable, monkeypatch):
    for name in ("TMPDIR", "RAY_TMPDIR"):
        monkeypatch.delenv(name, raising=False)
    assert choose_parent() == SHORT_FOLDER
    monkeypatch.setenv(variable, "/var/tmp")
    assert choose_parent() == Path("/var/tmp")
    monkeypatch.setenv(variable, "/var/tmp/" + "x" * (MOST_FOLDER_BYTES - 9))
    assert choose_parent() == Path(os.environ[variable])
    for length in (MOST_FOLDER_BYTES + 1, 42, 60, 200):
        monkeypatch.setenv(variable, "/var/tmp/" + "x" * (length - 9))
        assert choose_parent() == SHORT_FOLDER
    monkeypatch.setenv(variable, "/var/tmp/" + "é" * 15)
    assert choose_parent() == SHORT_FOLDER, "bytes count"


def test_a_folder_that_cannot_be_written_is_said_before_anything_starts(monkeypatch):
    monkeypatch.setenv("RAY_TMPDIR", "/proc/nowhere")
    monkeypatch.setattr("os.access", lambda path, mode: not str(path).startswith("/proc"))
    with pytest.raises(ValueError, match="/proc cannot be written: set RAY_TMPDIR to a folder that can, of at most"):
        RayBackend().check()
    with pytest.raises(ValueError, match="no Ray cluster runs"):  # the folder is the cluster's own affair
        RayBackend("auto").check()


def test_what_is_made_in_a_folder_that_others_can_change_could_be_swapped(parent):
    for mode, ours in ((0o700, True), (0o755, True), (0o1777, True), (0o777, False), (0o775, False)):
        parent.chmod(mode)
        assert is_ours(parent) == ours, oct(mode)
        assert is_ours(parent / "to be made") == ours
        assert choose_parent() == (parent if ours else SHORT_FOLDER)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_nothing_is_made_in_a_folder_of_another_user_nor_removed_of_his(parent):
    his = parent / "ts-12345678"
    his.mkdir()
    os.chown(his, 65534, 65534)
    remove_abandoned(parent)
    assert his.exists()
    os.chown(parent, 65534, 65534)
    assert choose_parent() == SHORT_FOLDER


def test_a_folder_is_closed_to_others_and_lives_as_long_as_its_process(parent):
    processes = []
    for _ in range(2):
        processes.append(
            subprocess.Popen(
                [sys.executable, "-c", HOLD],
                stdout=subprocess.PIPE,
                text=True,
                env=os.environ | {"PYTHONPATH": str(ROOT)},
            )
        )
    try:
        killed, alive = (Path(process.stdout.readline().strip()) for process in processes)
        assert (killed.stat().st_mode & 0o777, killed.parent) == (0o700, parent)
        processes[0].send_signal(signal.SIGKILL)
        processes[0].wait()
        assert killed.exists()
        (parent / "ts-notours-really").mkdir()
        (parent / "ts-12345678").symlink_to("/")
        with_own = make_private_folder()
        assert not killed.exists()
        assert (alive / "file").exists()
        assert {path.name for path in parent.iterdir()} == {
            alive.name,
            with_own.path.name,
            "ts-notours-really",
            "ts-12345678",
        }
        with_own.remove()
        assert not with_own.path.exists()
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def test_a_folder_that_is_being_made_is_not_taken_for_an_abandoned_one(parent, monkeypatch):
    """Removed in the moment between its making and its lock: another one is made."""
    from tune_sketch.backend import private_folder

    take, made = private_folder.take_lock, []

    def slow(path, *, wait):
        if wait and not made:
            made.append(path)
            remove_abandoned(parent)
            assert not path.exists()
        return take(path, wait=wait)

    monkeypatch.setattr(private_folder, "take_lock", slow)
    folder = make_private_folder()
    assert folder.path not in made
    assert (folder.path / LOCK).exists()
    folder.remove()

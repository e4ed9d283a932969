"""Ray's own processes die, or are stopped: it is said within seconds, and no call waits for them for ever."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time

import psutil
import pytest

from tune_sketch.backend import watch
from tune_sketch.backend.base import BackendLostError
from tune_sketch.backend.watch import Gate, Head, OwnProcesses, watched

PRETENDER = "import time; time.sleep(60)"


class Fake:
    """A Ray that dies when it is told to."""

    loss = ""

    def find_loss(self):
        return self.loss


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    monkeypatch.setattr(watch, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(watch, "STOPPED_SECONDS", 0.3)
    monkeypatch.setattr(watch, "UNREACHABLE_SECONDS", 0.3)


@pytest.fixture
def raylet(tmp_path):
    """(watch of a Ray in a folder, its raylet)."""
    (tmp_path / "raylet").symlink_to(os.path.realpath(sys.executable))
    process = subprocess.Popen([str(tmp_path / "raylet"), "-c", PRETENDER])
    own = OwnProcesses(str(tmp_path) + os.sep)
    deadline = time.monotonic() + 10
    while not own.seen and time.monotonic() < deadline:  # between fork and exec it is no raylet
        own.look()
    yield own, process
    process.kill()
    process.wait()


def find_within(own, seconds):
    deadline = time.monotonic() + seconds
    while not (found := own.find_loss()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return found


def test_a_dead_process_is_found_also_before_and_after_it_is_waited_for(raylet):
    own, process = raylet
    assert own.find_loss() == ""
    process.kill()
    dead = f"Ray's raylet (process {process.pid}) has died"
    assert find_within(own, 5) == dead
    process.wait()
    assert own.find_loss() == dead


def test_a_process_that_is_stopped_for_long_counts_as_dead(raylet):
    own, process = raylet
    process.send_signal(signal.SIGSTOP)
    time.sleep(0.1)
    assert own.find_loss() == "", "as by Ctrl-Z, for a moment"
    process.send_signal(signal.SIGCONT)
    time.sleep(0.4)
    assert own.find_loss() == ""
    process.send_signal(signal.SIGSTOP)
    assert find_within(own, 5) == f"Ray's raylet (process {process.pid}) was stopped"
    own.kill()
    assert not psutil.pid_exists(process.pid)


def test_processes_of_others_are_left_alone(raylet):
    own, _ = raylet
    other = subprocess.Popen([sys.executable, "-c", PRETENDER, "/home/ray/raylet"])
    own.kill()
    assert other.poll() is None
    other.kill()
    other.wait()


def test_a_call_that_never_returns_is_left_when_ray_dies():
    ray, never = Fake(), threading.Event()
    threading.Timer(0.2, lambda: setattr(ray, "loss", "the raylet died")).start()
    started = time.monotonic()
    with pytest.raises(BackendLostError, match="the raylet died"):
        watched(never.wait, ray)
    assert time.monotonic() - started < 5
    never.set()


def test_a_call_returns_and_raises_as_without_a_watch():
    assert watched(lambda: 7, Fake()) == 7

    def wrong():
        raise ValueError("--flag")

    with pytest.raises(ValueError, match="--flag"):
        watched(wrong, Fake())


def test_an_error_that_is_heard_of_before_its_reason_is_the_loss():
    ray = Fake()

    def fail():
        threading.Timer(0.3, lambda: setattr(ray, "loss", "the raylet died")).start()
        raise RuntimeError("connection reset")

    with pytest.raises(BackendLostError, match="the raylet died"):
        watched(fail, ray)


def test_a_dead_ray_without_machines_is_no_wrong_input():
    """Allocation found no machine with a core when the raylet had died between search and retraining."""
    ray = Fake()

    def allocate():
        ray.loss = "the raylet died"
        raise ValueError("one trial asks for 1 CPUs, the largest machine has 0 CPUs")

    with pytest.raises(BackendLostError, match="the raylet died"):
        watched(allocate, ray)


def test_a_call_that_was_left_behind_does_nothing_more():
    ray, done = Fake(), []
    gate = Gate(ray)
    assert gate.through(lambda: 3) == 3
    gate.close()
    with pytest.raises(BackendLostError):
        gate.through(lambda: done.append(1))
    assert not done


def test_trainings_that_die_with_ray_are_not_heard_of():
    ray, heard = Fake(), []
    gate = Gate(ray)
    gate.through(lambda: heard.append("its process died"), look=True)
    ray.loss = "the raylet died"
    with pytest.raises(BackendLostError, match="the raylet died"):
        gate.through(lambda: heard.append("its process died"), look=True)
    assert heard == ["its process died"]


def test_a_head_that_does_not_answer_for_long_is_lost():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        head = Head(f"127.0.0.1:{port}")
        time.sleep(0.4)
        assert head.find_loss() == ""
    assert head.find_loss() == "", "a moment without an answer is no loss"
    time.sleep(0.4)
    assert "the head of the cluster at 127.0.0.1" in head.find_loss()

"""A command whose Ray dies begins again in its own process, a few times; else it ends resumable."""

import json
import os
import signal
import sys
import threading
from types import SimpleNamespace

import pytest

from tune_sketch.backend import restart
from tune_sketch.backend.base import BackendLostError
from tune_sketch.backend.restart import MOST_RESTARTS, VARIABLE, run_begun, run_or_restart
from tune_sketch.data.screen import hear_sigterm
from tune_sketch.storage.run_directory import RunDirectory


class Left(BaseException):
    """This process was replaced, or left."""


@pytest.fixture
def left(monkeypatch):
    """Records how the process was left: the command, or the exit code."""
    seen = []

    def leave(*how):
        seen.append(how)
        raise Left

    monkeypatch.setattr(os, "execv", leave)
    monkeypatch.setattr(os, "_exit", leave)
    monkeypatch.setattr(restart, "is_command", lambda: True)
    monkeypatch.setattr(restart, "stop_ray", lambda lost: None)
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "tune_sketch.search", "--model", "a,b"])
    monkeypatch.delenv(VARIABLE, raising=False)
    yield seen
    os.environ.pop(VARIABLE, None)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})


def lose(tmp_path, num_epochs=0, address=None, was_stopping=False):
    def search():
        assert VARIABLE not in os.environ, "what the search starts does not hear of it"
        lost = BackendLostError("Ray's raylet (process 7) has died")
        lost.num_epochs, lost.was_stopping = num_epochs, was_stopping
        raise lost

    with pytest.raises(Left):
        run_or_restart(search, RunDirectory(tmp_path / "b"), address)


def test_the_same_command_begins_again_and_knows_its_run(left, tmp_path, capsys):
    assert run_begun() is None
    lose(tmp_path)
    assert left == [(sys.executable, [sys.executable, "-m", "tune_sketch.search", "--model", "a,b"])]
    assert run_begun() == RunDirectory(tmp_path / "b")
    said = capsys.readouterr().err
    assert "Ray's raylet (process 7) has died" in said
    assert f"Ray is started again (1 of {MOST_RESTARTS})" in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_it_begins_again_ends_it_as_ctrl_c(left, tmp_path, number):
    before = signal.getsignal(signal.SIGTERM)
    of_others = signal.signal(signal.SIGINT, signal.default_int_handler)
    lose(tmp_path)
    signal.pthread_kill(threading.get_ident(), number)  # after the exec there is no other thread
    assert number in signal.sigpending()
    try:
        with pytest.raises(KeyboardInterrupt):
            hear_sigterm()
    finally:
        signal.signal(signal.SIGTERM, before)
        signal.signal(signal.SIGINT, of_others)


def test_it_ends_when_ray_dies_again_and_again_without_an_epoch(left, tmp_path, capsys):
    for _ in range(MOST_RESTARTS + 1):
        lose(tmp_path)
    assert left[-1] == (130,)
    assert all(len(how) == 2 for how in left[:-1])
    assert f"stopped. Resume with:  python -m tune_sketch.search --resume {tmp_path / 'b'}" in capsys.readouterr().err


def test_an_epoch_in_between_begins_the_count_anew(left, tmp_path):
    for _ in range(3 * MOST_RESTARTS):
        lose(tmp_path, num_epochs=1)
    assert json.loads(os.environ[VARIABLE])["count"] == 1


@pytest.mark.parametrize("how", [{"address": "auto"}, {"was_stopping": True}])
def test_a_cluster_is_not_ours_to_restart_and_a_stopping_search_needs_none(left, tmp_path, how):
    lose(tmp_path, **how)
    assert left == [(130,)]


def test_a_program_that_calls_us_is_not_begun_again(left, tmp_path, monkeypatch):
    monkeypatch.undo()
    assert not restart.is_command()
    for name, yes in (("tune_sketch.search", True), ("tune_sketch.__main__", True), ("pytest.__main__", False)):
        monkeypatch.setitem(sys.modules, "__main__", SimpleNamespace(__spec__=SimpleNamespace(name=name)))
        assert restart.is_command() == yes


def test_what_a_search_returns_is_passed_on(tmp_path):
    assert run_or_restart(lambda: True, RunDirectory(tmp_path), None)
    assert not run_or_restart(lambda: False, RunDirectory(tmp_path), None)

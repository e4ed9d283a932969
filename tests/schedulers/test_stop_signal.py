"""The search winds up: on a signal, when its time is spent, or when every trial fails for one reason."""

import math
import os
import signal
import threading
import time
from dataclasses import replace

import pytest

from tests.support.trials import make_trial
from tune_sketch.commands import command_text
from tune_sketch.schedulers.stop_signal import StopSignal
from tune_sketch.storage.run_directory import RunDirectory


@pytest.fixture
def stop(tmp_path):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    said = []
    stop = StopSignal(RunDirectory(tmp_path), said.append)
    stop.said = said
    yield stop
    stop.close()
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_each_training_finish_its_epoch(stop, number):
    assert stop.may_start()
    os.kill(os.getpid(), number)
    assert stop.requested()
    assert not stop.may_start()
    assert stop.by_signal
    assert stop.run.stop_file.exists()
    assert stop.said[0].startswith(f"{number.name}: each training finishes its epoch and keeps a checkpoint")
    assert f"python -m tune_sketch.search --resume {stop.run.path}" in stop.said[0]
    stop.clear()
    assert stop.requested(), "a signal is for the retraining too"


def test_the_second_signal_leaves_at_once(stop, monkeypatch, capsys):
    codes = []
    monkeypatch.setattr(os, "_exit", codes.append)
    for _ in range(2):
        os.kill(os.getpid(), signal.SIGINT)
    assert codes == [130]
    assert "left at once" in capsys.readouterr().err


def test_an_interruption_is_for_what_comes_after_too_and_a_first_signal_leaves_time(stop, monkeypatch):
    codes = []
    monkeypatch.setattr(os, "_exit", codes.append)
    stop.interrupt("splits.csv is lost")
    assert stop.requested()
    assert stop.by_signal
    assert stop.said[0] == f"splits.csv is lost\nresume with:  {command_text('search', '--resume', stop.run.path)}"
    stop.clear()
    assert stop.requested()
    os.kill(os.getpid(), signal.SIGINT)
    assert codes == []


def test_a_spent_time_budget_ends_the_search_but_not_what_comes_after(stop):
    assert stop.seconds_left() == math.inf
    stop.deadline = time.monotonic() + 60
    assert not stop.requested()
    assert 50 < stop.seconds_left() <= 60
    stop.deadline = time.monotonic() - 1
    assert stop.requested()
    assert stop.requested()
    assert len(stop.said) == 1
    assert "the time budget is spent" in stop.said[0]
    assert stop.seconds_left() == 0
    stop.clear()
    assert not stop.requested()
    assert not stop.run.stop_file.exists()


def test_failures_of_one_reason_end_the_search(stop):
    failed = [make_trial(number, status="failed", error="no such file") for number in range(3)]
    stop.check_failures([*failed[:2], make_trial(2)])
    assert not stop.requested(), "two have failed, one runs"
    stop.check_failures([*failed[:2], make_trial(2, status="failed", error="another")])
    stop.check_failures([*failed, make_trial(3, [0.5], status="stopped")])
    assert not stop.requested()
    stop.check_failures(failed)
    assert "every trial fails for one reason, so the search ends: no such file" in stop.said[0]


def test_a_full_disk_does_not_keep_a_search_from_winding_up(stop):
    stop.run = RunDirectory(stop.run.path / "gone")
    stop.request("enough")
    assert stop.requested()
    assert "no file can be written" in stop.said[0]


def test_the_stop_file_of_an_earlier_session_is_removed(stop, tmp_path):
    RunDirectory(tmp_path).stop_file.touch()
    StopSignal(RunDirectory(tmp_path), lambda text: None).close()
    assert not (tmp_path / "stop").exists()


def test_in_another_thread_it_is_said_that_no_signal_is_caught(tmp_path):
    said = []
    thread = threading.Thread(target=lambda: StopSignal(RunDirectory(tmp_path), said.append))
    thread.start()
    thread.join()
    assert "not in the main thread" in said[0]


def test_the_failures_of_one_of_several_networks_do_not_end_the_search(stop):
    def fail(number, network):
        trial = make_trial(number, status="out_of_memory", error="no memory")
        return replace(trial, config={"epochs": 9, "network": network})

    unstarted = replace(make_trial(3), config={"epochs": 9, "network": "baseline"})
    stop.check_failures([*(fail(number, "resnet50") for number in range(3)), unstarted])
    assert stop.reason == ""
    stop.check_failures([*(fail(n, "resnet50") for n in range(3)), *(fail(n, "baseline") for n in range(3, 6))])
    assert "every trial fails for one reason" in stop.reason

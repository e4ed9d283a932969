"""Commands that compute in their own process leave a core of the machine to other programs."""

import os
import subprocess
import sys

import pytest

from tune_sketch.inference import cores

THREADS = """
import sys
from tune_sketch import {command}
assert "torch" not in sys.modules, "it would have its threads already"
assert {command}.main(["/nowhere", *{more}]) == 2
import torch
print(torch.get_num_threads())
"""


@pytest.mark.parametrize(("num_cores", "num_threads"), [(1, "1"), (2, "1"), (8, "7")])
def test_one_core_stays_free_where_there_are_several(monkeypatch, num_cores, num_threads):
    monkeypatch.setattr(cores, "count_cores", lambda: num_cores)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    cores.leave_a_core_free()
    assert os.environ["OMP_NUM_THREADS"] == num_threads


def test_a_number_of_threads_that_somebody_gave_stays(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    cores.leave_a_core_free()
    assert os.environ["OMP_NUM_THREADS"] == "5"


@pytest.mark.parametrize(("command", "more"), [("predict", ["a.png"]), ("draw", [])])
def test_the_commands_do_so_before_torch_is_there(command, more):
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    script = THREADS.format(command=command, more=more)
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert int(done.stdout) == max(1, cores.count_cores() - 1)

"""Searches that really ran and that several tests look at: each runs once."""

import os
from types import SimpleNamespace

import hypothesis
import pytest

from benchmarks.real_weights import write_squeezenet, write_weights
from tests.support.in_process import InProcessBackend
from tests.support.real_search import Search, search_once
from tests.support.whole_run import make_run
from tune_sketch.run import run_search
from tune_sketch.storage.run_directory import RunDirectory

# The same examples in every run, and no deadline for one: the machine may be busy with other tests.
hypothesis.settings.register_profile("steady", deadline=None, derandomize=True)
hypothesis.settings.load_profile("steady")

# One trial at a time: then the order of results is fixed, and with it everything that a search records.
FLAGS = "--num-samples 10 --max-epochs 9 --finalists 1 --max-concurrent 1 --grace-epochs 3"


@pytest.fixture(scope="session")
def straight(tmp_path_factory):
    """A finished search that nothing disturbed: its run directory, to be read only, and its flags."""
    search = Search(tmp_path_factory.mktemp("straight"), {})
    try:
        search.finish(search.start(*FLAGS.split()))
    finally:
        search.close()
    return SimpleNamespace(run=search.run, flags=FLAGS)


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A finished search in this process that nothing disturbed, to be read only: its run directory."""
    before = os.umask(0o077)
    try:
        run = make_run(tmp_path_factory.mktemp("finished") / "run")
        assert run_search(run, InProcessBackend())
    finally:
        os.umask(before)
    return run


@pytest.fixture
def no_report(finished, monkeypatch):
    """The report of one search, `finished`, is enough: it takes longer than all the trainings."""
    monkeypatch.setattr("tune_sketch.analysis.report.write_report", lambda runs, path, *more: path.touch())


@pytest.fixture(scope="session")
def searched(tmp_path_factory):
    """(run directory, to be read only, what the command printed) of a small search."""
    folder = tmp_path_factory.mktemp("searched")
    answer = search_once(folder, "--classes", "4", "--per-class", "30")
    assert answer.returncode == 0, answer.stderr
    return RunDirectory(folder / "small"), answer


@pytest.fixture(scope="session")
def real_squeezenet(tmp_path_factory):
    """A file with SqueezeNet 1.1's ImageNet weights. Tests that ask for it are marked `needs_real_weights`."""
    return write_squeezenet(tmp_path_factory.mktemp("weights") / "squeezenet1_1.pth")


@pytest.fixture(scope="session")
def real_efficientnet(tmp_path_factory):
    """A file with EfficientNet-Lite0's ImageNet weights for timm's network. Mark tests `needs_efficientnet`."""
    return write_weights(tmp_path_factory.mktemp("weights") / "efficientnet_lite0.pth", "efficientnet_lite0")


_inputs = {"tried": 0, "named as bad": 0}


@pytest.fixture(scope="session")
def record_inputs():
    """Counts damaged inputs that a reader was given, and those of them that it refused."""

    def record(tried: int, refused: int) -> None:
        _inputs["tried"] += tried
        _inputs["named as bad"] += refused

    return record


def pytest_terminal_summary(terminalreporter):
    """Print how many damaged inputs the readers were given."""
    if _inputs["tried"]:
        terminalreporter.write_line("damaged inputs: " + ", ".join(f"{n:,} {what}" for what, n in _inputs.items()))

"""Searches that really ran and that several tests look at: each runs once."""

import functools
import os
import signal
from types import SimpleNamespace

import hypothesis
import pytest

from benchmarks.real_weights import write_squeezenet, write_weights
from tests.support.in_process import InProcessBackend
from tests.support.real_search import Search, search_once
from tests.support.tries import write_tries
from tests.support.whole_run import make_run
from tune_sketch.run import run_search
from tune_sketch.storage.run_directory import RunDirectory

# The same examples in every run, and no deadline for one: the machine may be busy with other tests.
hypothesis.settings.register_profile("steady", deadline=None, derandomize=True)
hypothesis.settings.load_profile("steady")

DAMAGED = "damaged inputs"
FORMAT = "tune_sketch.trainables.speed.devices.cpu_multiplies_bfloat16"


@pytest.fixture(scope="session", autouse=True)
def same_on_every_processor():
    """Trainings in this process compute in float32 also where bfloat16 is faster: tests compare numbers.

    Gives what is asked otherwise.
    """
    from tune_sketch.trainables.speed.devices import cpu_multiplies_bfloat16

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FORMAT, lambda: False)
        yield cpu_multiplies_bfloat16


@pytest.fixture(autouse=True)
def as_in_other_processes(request, same_on_every_processor, monkeypatch):
    """Real tests compare with the trainings of processes that know nothing of it."""
    if request.node.get_closest_marker("real"):
        monkeypatch.setattr(FORMAT, same_on_every_processor)


@pytest.fixture(scope="session", autouse=True)
def interrupts_are_heard():
    """Tests that a shell started in the background ignore SIGINT, and every program that they start would with them."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


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
    monkeypatch.setattr(
        "tune_sketch.analysis.report.write_report", lambda runs, path, *more: path.write_text("left out")
    )


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


_tries: dict[str, tuple[int, int]] = {}


def add_tries(what: str, tried: int, held: int) -> None:
    before = _tries.get(what, (0, 0))
    _tries[what] = before[0] + tried, before[1] + held


@pytest.fixture(scope="session")
def record_tries():
    """Counts what was tried against a reader or a search, and what of it was refused or survived."""
    return add_tries


@pytest.fixture(scope="session")
def record_inputs(record_tries):
    """Counts damaged inputs that a reader was given, and those of them that it refused."""
    return functools.partial(record_tries, DAMAGED)


def pytest_addoption(parser):
    what = "put what test_security.py and test_ray_dies.py tried into docs/reliability.md"
    parser.addoption("--write-tries", action="store_true", help=what)


def pytest_sessionfinish(session):
    """Hand the counts of a process of pytest-xdist to the one that prints."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["tries"] = _tries


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node, error):
    """Add up what the processes of pytest-xdist counted."""
    for what, (tried, held) in getattr(node, "workeroutput", {}).get("tries", {}).items():
        add_tries(what, tried, held)


def pytest_terminal_summary(terminalreporter, config):
    """Print what was tried."""
    for what, (tried, held) in _tries.items():
        how = "named as bad" if what == DAMAGED else "refused or survived"
        terminalreporter.write_line(f"{what}: {tried:,} tried, {held:,} {how}")
    if config.getoption("write_tries"):
        write_tries({what: both for what, both in _tries.items() if what != DAMAGED})

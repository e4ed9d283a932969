"""TensorBoard and optuna-dashboard beside a search that runs, started as they come: they answer this machine alone."""

import contextlib
import importlib.util
import ipaddress
import os
import signal
import subprocess
import sys
import time
import urllib.request

import psutil
import pytest

from tests.support.real_search import Search
from tests.support.recorded import check_complete, count_epochs

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]
FLAGS = ("--num-samples", 2, "--max-epochs", 40, "--grace-epochs", 40, "--finalists", 0, "--no-last-step")
# By program: what it is started with beside its data, and what comes behind its address.
COMMANDS = {
    "tensorboard": (["-m", "tensorboard.main", "--port", "0", "--logdir"], "data/runs"),
    "optuna_dashboard": (["-c", "from optuna_dashboard._cli import main; main()"], "api/studies"),
}


@pytest.fixture
def search(tmp_path):
    search = Search(tmp_path, {})
    yield search
    search.close()


def listening(process):
    """(address, port) of all at which the process and its children take connections."""
    found = set()
    with contextlib.suppress(psutil.Error):
        parent = psutil.Process(process.pid)
        for one in (parent, *parent.children(recursive=True)):
            found |= {tuple(c.laddr) for c in one.net_connections("inet") if c.status == psutil.CONN_LISTEN}
    return found


def read(port, place):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{place}", timeout=10) as answer:
            return answer.read().decode() if answer.status == 200 else ""
    except OSError:
        return ""


@contextlib.contextmanager
def serving(search, name):
    """The program beside the search, from its first answer, which is of this search; ended afterwards."""
    command, place = COMMANDS[name]
    data = search.run.tensorboard if name == "tensorboard" else search.run.journal_log
    said = search.folder / f"{name}.txt"
    with open(said, "w") as output:
        process = subprocess.Popen(
            [sys.executable, *command, str(data)], stdout=output, stderr=output, start_new_session=True
        )
    try:
        deadline, answers = time.monotonic() + 120, {}
        while not any(answers.values()):
            assert process.poll() is None, said.read_text()
            assert time.monotonic() < deadline, said.read_text()
            time.sleep(0.2)
            answers = {port: read(port, place) for _, port in listening(process)}
        (answer,) = filter(None, answers.values())
        assert ("trial-0000" if name == "tensorboard" else '"study_name"') in answer
        yield process
        assert process.poll() is None
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(15)


def test_by_default_they_answer_this_machine_alone_and_the_search_goes_on(search):
    installed = [name for name in COMMANDS if importlib.util.find_spec(name) is not None]
    process = search.start(*FLAGS, "--retraining-seeds", 1)
    search.wait_for_epochs(process, 2, timeout=300)
    with contextlib.ExitStack() as stack:
        dashboards = [stack.enter_context(serving(search, name)) for name in installed]
        before = [listening(dashboard) for dashboard in dashboards]
        assert all(before)
        for address, _ in set().union(*before):
            assert ipaddress.ip_address(address).is_loopback, address
        assert process.poll() is None, "the search runs beside them"
        search.wait_for_epochs(process, count_epochs(search.run) + 2)
        text = search.finish(process, timeout=400)
        assert [listening(dashboard) for dashboard in dashboards] == before
    assert "Traceback" not in text
    check_complete(search.run)
    if len(installed) < len(COMMANDS):
        pytest.skip(f"only {' and '.join(installed)} is installed: pip install -e '.[dashboard]'")

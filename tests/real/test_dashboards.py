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


@pytest.mark.parametrize("name", COMMANDS)
def test_by_default_it_answers_this_machine_alone_and_the_search_goes_on(search, name):
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed: pip install -e '.[dashboard]'")
    process = search.start(*FLAGS, "--retraining-seeds", 1)
    search.wait_for_epochs(process, 2, timeout=300)
    command, place = COMMANDS[name]
    data = search.run.tensorboard if name == "tensorboard" else search.run.journal_log
    with open(search.folder / "dashboard.txt", "w") as output:
        dashboard = subprocess.Popen(
            [sys.executable, *command, str(data)], stdout=output, stderr=output, start_new_session=True
        )
    try:
        deadline, answers = time.monotonic() + 120, {}
        while not any(answers.values()):
            assert dashboard.poll() is None, (search.folder / "dashboard.txt").read_text()
            assert time.monotonic() < deadline, (search.folder / "dashboard.txt").read_text()
            time.sleep(0.2)
            answers = {port: read(port, place) for _, port in listening(dashboard)}
        (answer,) = filter(None, answers.values())
        assert ("trial-0000" if name == "tensorboard" else '"study_name"') in answer
        addresses = {address for address, _ in listening(dashboard)}
        assert all(ipaddress.ip_address(address).is_loopback for address in addresses), addresses
        assert process.poll() is None, "the search runs beside it"
        search.wait_for_epochs(process, count_epochs(search.run) + 2)
        text = search.finish(process, timeout=400)
        assert dashboard.poll() is None
        assert {address for address, _ in listening(dashboard)} == addresses
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(dashboard.pid, signal.SIGKILL)
        dashboard.wait(15)
    assert "Traceback" not in text
    check_complete(search.run)

"""The head of a cluster dies under a search: it ends at once, in words, and can be resumed."""

import contextlib
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest

from tests.support.real_search import Search
from tests.support.recorded import count_epochs, snapshot
from tune_sketch.backend.watch import UNREACHABLE_SECONDS

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]
RAY = [sys.executable, "-c", "from ray.scripts.scripts import main; main()"]
LONG = ("--num-samples", 2, "--max-epochs", 60, "--grace-epochs", 60, "--finalists", 0, "--no-last-step")


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@pytest.fixture
def head(tmp_path):
    """(address, environment, processes) of a cluster of one machine that `ray start` began, as the docs say."""
    (tmp_path / "home/.ray").mkdir(parents=True)
    token = tmp_path / "home/.ray/auth_token"
    token.write_text("ab" * 32)
    token.chmod(0o600)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= {"HOME": str(tmp_path / "home"), "RAY_AUTH_MODE": "token"}
    port = free_port()
    flags = f"start --head --port={port} --num-cpus=2 --object-store-memory=80000000"
    flags += " --include-dashboard=false --disable-usage-stats --min-worker-port=0 --max-worker-port=0"
    flags += f" --ray-client-server-port={free_port()} --dashboard-agent-listen-port={free_port()}"
    with tempfile.TemporaryDirectory(prefix="tsh", dir="/tmp") as folder:  # sockets have short names

        def processes():
            """Those that belong to this cluster, by their folder."""
            found = []
            for process in psutil.process_iter():
                with contextlib.suppress(psutil.Error):
                    if folder in " ".join(process.cmdline()):
                        found.append(process)
            return found

        try:
            started = subprocess.run(
                [*RAY, *flags.split(), f"--temp-dir={folder}"],
                env=environment,
                capture_output=True,
                text=True,
                timeout=120,
            )
            assert started.returncode == 0, started.stderr
            yield f"127.0.0.1:{port}", environment, processes
        finally:
            ours = processes()
            for process in ours:
                with contextlib.suppress(psutil.Error):
                    process.kill()
            psutil.wait_procs(ours, timeout=10)


def test_a_search_ends_resumable_when_the_head_of_its_cluster_dies(head, tmp_path):
    address, environment, processes = head
    search = Search(tmp_path / "search", {})
    search.environment = environment | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    try:
        process = search.start(*LONG, "--retraining-seeds", 1, "--address", address)
        search.wait_for_epochs(process, 2, timeout=300)
        before = snapshot(search.run)
        (gcs,) = [one for one in processes() if one.name() == "gcs_server"]
        gcs.kill()
        killed_at = time.monotonic()
        text = search.finish(process, expected_code=130, timeout=UNREACHABLE_SECONDS + 40)
        assert time.monotonic() - killed_at < UNREACHABLE_SECONDS + 40
    finally:
        search.close()
    port = address.rpartition(":")[2]
    assert re.search(rf"the head of the cluster at [\d.]+:{port} has not answered for \d+ s", text)
    assert f"stopped. Resume with:  python -m tune_sketch.search --resume {search.run.path}" in text
    assert "Traceback" not in text
    assert "Ray is started again" not in text, "it is not ours to start"
    after = snapshot(search.run)
    assert {trial.status for trial in after.values() if trial.is_unfinished} == {"paused"}
    assert {trial.error for trial in after.values()} == {""}
    assert count_epochs(search.run) >= 2
    for key, trial in before.items():
        assert after[key].epochs[: len(trial.epochs)] == trial.epochs

"""Ray's own autoscaler, with its provider of pretended machines: up for trials that wait, down when nothing runs."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import ray

from tests.support.recorded import check_complete
from tune_sketch.storage.run_directory import RunDirectory

ROOT = Path(__file__).parents[2]
# Namespaces of its own: Ray's pretended machines use the ports of a real cluster, and other Rays must be out of sight.
NAMESPACES = ["unshare", "--mount", "--pid", "--net", "--fork", "--kill-child", "--mount-proc"]
HEAD_ID = "f" * 51 + "00000"  # that Ray's provider gives to the head
NUM_WORKERS = 2
SEARCH = "--model baseline --classes 2 --per-class 12 --image-px 32 --num-samples 2 --max-epochs 1 --finalists 0"
SEARCH += f" --retraining-seeds 1 --seed 1 --gpus-per-trial 1 --max-concurrent {NUM_WORKERS} --address auto"
SEARCH += " --name grown"


def make_config(folder: Path) -> Path:
    """A cluster file of the shape of ../cluster.yaml: a head without trials, workers with one pretended GPU each."""
    worker = {"resources": {"CPU": 1, "GPU": 1, "object_store_memory": 80_000_000}, "node_config": {}}
    config = {
        "cluster_name": "pretended",
        "max_workers": NUM_WORKERS,
        "upscaling_speed": 8.0,
        "idle_timeout_minutes": 0.05,
        "provider": {"type": "fake_multinode", "launch_multiple": True, "head_node_id": HEAD_ID},
        "available_node_types": {
            "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
            "gpu": worker | {"min_workers": 0, "max_workers": NUM_WORKERS},
        },
        "head_node_type": "ray.head.default",
    }
    unused = "auth docker file_mounts cluster_synced_files initialization_commands setup_commands head_setup_commands"
    unused += " worker_setup_commands head_start_ray_commands worker_start_ray_commands"
    mappings = ("auth", "docker", "file_mounts")
    config |= {name: {} if name in mappings else [] for name in unused.split()}
    path = folder / "cluster.json"
    path.write_text(json.dumps(config))
    return path


@pytest.fixture
def cluster(tmp_path):
    """A Ray head with its autoscaler; in its shell we wait for the search's end, and go on."""
    probe = (
        subprocess.run([*NAMESPACES, "--propagation", "private", "true"], capture_output=True, text=True)
        if sys.platform == "linux"
        else None
    )
    if probe is None or probe.returncode:
        pytest.skip(f"needs namespaces of Linux: {probe.stderr.strip() if probe else sys.platform}")
    for name in ("home/.ray", "tmp"):
        (tmp_path / name).mkdir(parents=True)
    # Ray's wheel lacks the file of defaults that the provider asks for.
    provider = Path(ray.__file__).parent / "autoscaler/_private/fake_multi_node"
    shutil.copytree(provider, tmp_path / "provider")
    shutil.copyfile(make_config(tmp_path), tmp_path / "provider/example.yaml")
    (tmp_path / "home/.ray/auth_token").write_text("ab" * 32)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= {"HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    environment |= {"RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1", "RAY_AUTH_MODE": "token"}
    environment |= {"RAY_enable_autoscaler_v2": "1", "RAY_CLOUD_INSTANCE_ID": HEAD_ID}
    environment |= {"RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD_ID, "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
    environment |= {"TUNE_SKETCH_CACHE": str(tmp_path / "cache")}
    start = "ray start --head --port=6379 --num-cpus=0 --object-store-memory=80000000 --include-dashboard=false"
    script = (
        "set -e; ip link set lo up; mount -t tmpfs -o size=1g tmpfs /dev/shm; mkdir -p /tmp/ray; "
        f"mount --bind {tmp_path / 'tmp'} /tmp/ray; mount --bind {tmp_path / 'provider'} {provider}; "
        f"{start} --disable-usage-stats --autoscaling-config={tmp_path / 'cluster.json'}; touch {tmp_path / 'ready'}; "
        f"{sys.executable} -m tune_sketch.search {SEARCH} --runs-dir {tmp_path / 'runs'} && touch {tmp_path / 'done'}; "
        "while true; do sleep 0.2; done"  # the shell is the first process here: with it everything ends
    )
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}:/usr/sbin:/sbin"
    with open(tmp_path / "output.txt", "w") as output:
        program = [*NAMESPACES, "--propagation", "private", "bash", "-c", script]
        process = subprocess.Popen(program, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        yield process, tmp_path
    finally:
        process.kill()
        process.wait(20)


def count_machines(process: subprocess.Popen) -> int:
    """Pretended machines that run now, the head among them: each has one raylet."""
    machines = 0
    for relative in psutil.Process(process.pid).children(recursive=True):
        try:
            machines += relative.name() == "raylet" and relative.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            continue
    return machines


@pytest.mark.real
def test_machines_come_for_waiting_trials_and_go_when_nothing_runs(cluster):
    process, folder = cluster

    def wait_for(what: str, condition: Callable[[], bool], seconds: float) -> float:
        started = time.monotonic()
        while not condition():
            logs = [folder / "output.txt", *folder.glob("tmp/session_2*/logs/monitor.*")]
            said = "\n".join(path.read_text()[-2000:] for path in logs)
            assert process.poll() is None, f"ended: {said}"
            assert time.monotonic() < started + seconds, f"no {what} within {seconds:.0f} s: {said}"
            time.sleep(0.1)
        return time.monotonic() - started

    wait_for("head", (folder / "ready").exists, 60)
    assert count_machines(process) == 1, "a cluster without a search is its head alone"
    wait_for("machine for each waiting trial", lambda: count_machines(process) == 1 + NUM_WORKERS, 90)
    wait_for("end of the search", (folder / "done").exists, 120)
    wait_for("end of the idle machines", lambda: count_machines(process) == 1, 60)
    check_complete(RunDirectory(folder / "runs" / "grown"))

"""A real `ray up` over ssh onto several hosts; one dies in the middle of a search, a new one joins, nothing is lost."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from tests.support.hosts import NETWORK, Hosts, missing_tools
from tests.support.recorded import GOOD_ENDINGS, check_complete, snapshot
from tune_sketch.data import open_data
from tune_sketch.storage.facts import read_facts
from tune_sketch.storage.run_directory import RunDirectory

ROOT = Path(__file__).parents[2]
NUM_GPUS = 2  # pretended, of each worker
SEARCH = "--model baseline --classes 4 --per-class 60 --image-px 32 --num-samples 8 --max-epochs 12 --grace-epochs 4"
SEARCH += " --finalists 1 --retraining-seeds 1 --seed 5 --gpus-per-trial 1 --address auto --name spread"


@pytest.fixture
def hosts(tmp_path):
    lacking = missing_tools()
    if lacking:
        pytest.skip(f"hosts of network namespaces: {lacking}")
    bashrc = f"export PATH={sys.prefix}/bin:$PATH PYTHONPATH=/root/tune_sketch TUNE_SKETCH_CACHE={tmp_path}/cache\n"
    bashrc += "export TUNE_SKETCH_NODE_CACHE=/root/cache\n"  # on the host's own disk
    bashrc += "export RAY_AUTH_MODE=token RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO=0\n"
    # Ray takes a minute to be sure that a host is dead, and a host as long that the head is: here some twenty seconds.
    bashrc += "export RAY_health_check_period_ms=1000 RAY_health_check_timeout_ms=3000\n"
    bashrc += "export RAY_gcs_rpc_server_reconnect_timeout_s=15\n"
    with Hosts(tmp_path, bashrc) as hosts:
        yield hosts


def make_config(hosts: Hosts, name: str, workers: list[int]) -> Path:
    """clusters/local.yaml with our addresses, key and pretended GPUs; the packages are installed already."""
    config: dict[str, Any] = yaml.safe_load((ROOT / "clusters/local.yaml").read_text())
    config["cluster_name"] = f"test-{os.getpid()}"
    config["provider"] |= {"head_ip": f"{NETWORK}.1", "worker_ips": [f"{NETWORK}.{number}" for number in workers]}
    config["auth"] = {"ssh_user": "root", "ssh_private_key": str(hosts.key)}
    mounts = {there: str(ROOT / here) for there, here in config["file_mounts"].items() if not here.startswith("~")}
    mounts = {there: here for there, here in mounts.items() if Path(here).exists()}
    config["file_mounts"] = mounts | {"~/.ray/auth_token": str(hosts.folder / "auth_token")}
    config["setup_commands"] = config["setup_commands"][:1]
    for side, extra in (("head", "--num-cpus=0"), ("worker", f"--num-cpus={NUM_GPUS} --num-gpus={NUM_GPUS}")):
        commands = config[f"{side}_start_ray_commands"]
        size = "--object-store-memory=100000000"
        commands[1] = commands[1].replace("--disable-usage-stats", f"--disable-usage-stats {extra} {size}")
    path = hosts.folder / name
    path.write_text(yaml.safe_dump(config))
    return path


def begin(hosts: Hosts, *arguments: str) -> subprocess.Popen:
    """A `ray` command on the laptop, which here is this machine outside of all hosts."""
    environment = dict(os.environ) | {"RAY_UP_enable_autoscaler_v2": "0", "HOME": str(hosts.folder)}
    environment["TMPDIR"] = str(hosts.folder)  # where the launcher keeps what it knows of the cluster
    with open(hosts.folder / f"ray-{arguments[0]}.txt", "a") as output:
        program = [str(Path(sys.prefix) / "bin/ray"), *arguments]
        return subprocess.Popen(program, env=environment, stdout=output, stderr=output, stdin=subprocess.DEVNULL)


def ray(hosts: Hosts, *arguments: str, timeout: float = 150) -> None:
    """The same, to its end."""
    start, process = time.monotonic(), begin(hosts, *arguments)
    try:
        assert process.wait(timeout) == 0, f"ray {arguments[0]}: {said(hosts, arguments[0])[-3000:]}"
    finally:
        process.kill()
    print(f"{time.monotonic() - start:.0f} s: ray {arguments[0]}")


def said(hosts: Hosts, command: str) -> str:
    return (hosts.folder / f"ray-{command}.txt").read_text()


def wait_for(what: str, condition: Callable[[], Any], seconds: float) -> Any:
    start = time.monotonic()
    while not (found := condition()):
        assert time.monotonic() < start + seconds, f"no {what} within {seconds:.0f} s"
        time.sleep(0.5)
    print(f"{time.monotonic() - start:.0f} s: {what}")
    return found


def lines_on(hosts: Hosts, number: int, word: str) -> list[str]:
    """The command lines of a host that have a word in them."""
    found = []
    for process in hosts.running(number):
        try:
            line = " ".join(process.cmdline())
        except psutil.NoSuchProcess:
            continue
        if word in line:
            found.append(line[:100])
    return found


def trials_on(hosts: Hosts, number: int) -> list[str]:
    return lines_on(hosts, number, "ray::ResourceTrainable")  # Tune's name for a trainable with resources of its own


def ray_processes(hosts: Hosts, number: int) -> list[str]:
    return [*lines_on(hosts, number, "ray::"), *lines_on(hosts, number, "site-packages/ray/")]


def join(hosts: Hosts, number: int) -> None:
    """Start one more host and let it join the running cluster, by the commands of clusters/README.md."""
    hosts.start(number)
    config = yaml.safe_load((hosts.folder / "cluster.yaml").read_text())
    for there, here in config["file_mounts"].items():
        copied = hosts.ssh(number, f"mkdir -p $(dirname {there}) && cp -r {here} {there}")
        assert copied.returncode == 0, copied.stderr
    commands = [*config["setup_commands"], f"export RAY_HEAD_IP={NETWORK}.1", *config["worker_start_ray_commands"][1:]]
    joined = hosts.ssh(number, "; ".join(commands), timeout=90)
    assert joined.returncode == 0, joined.stdout + joined.stderr


@pytest.mark.real
@pytest.mark.timeout(600)
def test_a_search_on_several_hosts_outlives_the_death_of_one(hosts):
    (hosts.folder / "auth_token").write_text("ab" * 32)
    (hosts.folder / "fetched").mkdir()
    for number in (1, 2, 3):
        hosts.start(number)
    config = make_config(hosts, "cluster.yaml", [2, 3])
    ray(hosts, "up", "-y", "--no-config-cache", str(config))
    try:
        wait_for("GPUs of two workers", lambda: f"/{2 * NUM_GPUS}.0 GPU" in hosts.ssh(1, "ray status").stdout, 120)
        for number in (1, 2, 3):
            mode = hosts.ssh(number, "stat -c %a /root/.ray/auth_token").stdout.strip()
            assert mode == "600", f"the token of host {number} has mode {mode}"

        runs = hosts.folder / "runs"
        run = RunDirectory(runs / "spread")
        search = begin(hosts, "exec", str(config), f"python -m tune_sketch.search {SEARCH} --runs-dir {runs}")
        wait_for(
            "trials on both workers",
            lambda: search.poll() is not None or all(len(trials_on(hosts, n)) == NUM_GPUS for n in (2, 3)),
            150,
        )
        # In the middle: every running trial has an epoch to lose, none has ended.
        wait_for(
            "epochs of four trials",
            lambda: search.poll() is not None or sum(bool(r.epochs) for r in snapshot(run).values()) >= 4,
            120,
        )
        assert search.poll() is None, said(hosts, "exec")[-3000:]
        before = snapshot(run)
        assert trials_on(hosts, 3)
        hosts.remove(3)

        join(hosts, 4)
        wait_for("trial on the new host", lambda: search.poll() is not None or trials_on(hosts, 4), 150)
        assert search.poll() is None, "the search was over before the new host joined: " + said(hosts, "exec")
        wait_for("end of the search", lambda: search.poll() is not None, 250)
        assert search.returncode == 0, said(hosts, "exec")

        # What comes back to the laptop is the run directory, whole.
        ray(hosts, "rsync-down", str(config), str(run.path), f"{hosts.folder}/fetched/")
        run = RunDirectory(hosts.folder / "fetched" / "spread")
        check_complete(run)
        after = snapshot(run)
        for key, old in before.items():
            assert after[key].epochs[: len(old.epochs)] == old.epochs, f"{key}: recorded epochs changed"
        assert {record.status for record in after.values()} <= set(GOOD_ENDINGS)
        assert "goes on from its checkpoint (retry 1 of 3)" in said(hosts, "exec")
        # The drawings were copied to the own disk of each host that trained.
        decoded = Path(read_facts(run).data.cache)
        for number in (2, 3, 4):
            copied = hosts.folder / f"host{number}" / "home/cache/decoded" / decoded.name
            assert open_data(copied).fingerprint == open_data(decoded).fingerprint
    finally:
        ray(hosts, "down", "-y", str(make_config(hosts, "cluster.yaml", [2, 4])))
    # The head was stopped; the workers' Ray ends itself when it cannot reach the head for a minute.
    wait_for("end of every Ray process", lambda: not any(ray_processes(hosts, number) for number in (1, 2, 4)), 120)

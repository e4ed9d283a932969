"""Ray on this machine: the cores of a container's quota, and where its sockets open."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MEASURE = """
import sys
from tune_sketch.data.workers import count_cores
print(count_cores())
if "ray" in sys.argv:
    from tune_sketch.backend.allocation import allocate_workers
    from tune_sketch.backend.cluster import start_ray, stop_ray
    from tune_sketch.config.settings import Settings
    start_ray(None)
    workers = allocate_workers(Settings("baseline", weights="none"), 16)
    print(workers.num_workers, workers.cpus, workers.num_threads)
    stop_ray()
"""


def run_in_container(tmp_path: Path, files: dict[str, str], *arguments: str, **more: str) -> list[str]:
    """The script's output where these are the files of the container's control group."""
    for name, text in files.items():
        (tmp_path / "cgroup" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "cgroup" / name).write_text(text + "\n")
    mount = f"mount --bind {tmp_path}/cgroup /sys/fs/cgroup"
    can_mount = subprocess.run(["unshare", "-m", "sh", "-c", mount], capture_output=True, check=False)
    if can_mount.returncode != 0:
        pytest.skip(f"cannot mount: {can_mount.stderr.decode().strip()}")
    answer = subprocess.run(
        ["unshare", "-m", "sh", "-c", f'{mount} && exec "$0" -c "$1" {" ".join(arguments)}', sys.executable, MEASURE],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | more,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    return answer.stdout.splitlines()


def version_2(quota: str) -> dict[str, str]:
    return {"cpu.max": quota}


def version_1(quota: str) -> dict[str, str]:
    first, _, second = quota.partition(" ")
    return {"cpu/cpu.cfs_quota_us": first.replace("max", "-1"), "cpu/cpu.cfs_period_us": second}


@pytest.mark.parametrize("version", [version_1, version_2])
@pytest.mark.parametrize(
    ("quota", "cores"), [("max 100000", None), ("50000 100000", 1), ("1000 100000", 1), ("150000 100000", 2)]
)
def test_cores_of_a_quota(tmp_path, version, quota, cores):
    of_machine = len(os.sched_getaffinity(0))
    assert run_in_container(tmp_path, version(quota)) == [str(min(of_machine, cores or of_machine))]


@pytest.mark.real
@pytest.mark.parametrize("version", [version_1, version_2])
@pytest.mark.parametrize("quota", ["50000 100000", "10000 100000"])
def test_a_search_has_a_worker_in_a_part_of_a_core(tmp_path, version, quota):
    assert run_in_container(tmp_path, version(quota), "ray") == ["1", "1 1.0 1"]


@pytest.mark.real
def test_ray_starts_with_a_long_temporary_folder(tmp_path):
    long = tmp_path / ("x" * 60)
    long.mkdir()
    answer = subprocess.run(
        [sys.executable, "-c", MEASURE, "ray"],
        capture_output=True,
        text=True,
        env={name: value for name, value in os.environ.items() if name != "RAY_TMPDIR"}
        | {"TMPDIR": str(long), "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    assert not list(long.iterdir())

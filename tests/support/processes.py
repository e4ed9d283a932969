"""Finds and kills the processes of a search: the driver, Ray's own, and those that train."""

import contextlib
import os
import subprocess
import time

import psutil


def family(process: subprocess.Popen) -> list[psutil.Process]:
    """Every process that the search started, and those that these started."""
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def is_trial(process: psutil.Process) -> bool:
    """Whether a process trains, or waits to."""
    try:
        # Ray names a trial by what it does now: "ray::SketchTrial" idle, "ray::ResourceTrainable.train" at work.
        return any(name in " ".join(process.cmdline()) for name in ("SketchTrial", "ResourceTrainable"))
    except psutil.Error:  # gone, or a zombie
        return False


def ray_process(process: subprocess.Popen, name: str) -> psutil.Process:
    """One of Ray's own processes in a search: "gcs_server", "raylet" or "DashboardAgent"."""
    for relative in family(process):
        with contextlib.suppress(psutil.Error):
            if relative.status() != psutil.STATUS_ZOMBIE and name in relative.cmdline()[0]:
                return relative
    raise AssertionError(f"the search has no {name}")


def kill_process(victim: psutil.Process) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        victim.kill()


def end_family(process: subprocess.Popen) -> None:
    """SIGKILL for the driver and every process it started, all at one moment."""
    relatives = family(process)
    process.kill()
    for relative in relatives:
        kill_process(relative)


def wait_until_gone(process: subprocess.Popen) -> None:
    """Wait for the processes of a search that has ended: they notice its death by themselves.

    Not for Ray's two agents, which train nothing: they spend a minute on telling a dead Ray that it is dead.
    """
    process.wait()
    deadline = time.monotonic() + 60
    while is_left(process.pid) and time.monotonic() < deadline:
        time.sleep(0.1)


def is_left(group: int) -> bool:
    """Whether a process of the group is alive that is not one of Ray's agents."""
    for relative in psutil.process_iter():
        with contextlib.suppress(ProcessLookupError, psutil.Error):
            if os.getpgid(relative.pid) == group and relative.status() != psutil.STATUS_ZOMBIE:
                name = " ".join(relative.cmdline())
                if "ray::DashboardAgent" not in name and "ray::RuntimeEnvAgent" not in name:
                    return True
    return False

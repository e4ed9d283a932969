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
    """Wait for Ray's processes of a search that has ended: they notice its death by themselves."""
    process.wait()  # a dead leader that nobody waited for would count as one of its group
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)

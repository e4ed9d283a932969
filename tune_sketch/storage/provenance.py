"""Describes the software and the machine behind a session, so that a run directory explains itself."""

import datetime
import os
import platform
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tune_sketch.storage.database import hide_password
from tune_sketch.storage.facts import Host, Session

PACKAGES = ("tune_sketch", "ray", "optuna", "torch", "torchvision", "numpy", "scikit-learn", "tensorboard")


def describe_session(address: str | None) -> Session:
    """The session that begins now: command, versions, code version and hardware."""
    return Session(
        started_at=time.time(),
        time=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        command=(Path(sys.argv[0]).name, *map(hide_password, sys.argv[1:])),
        versions={"python": platform.python_version(), **{name: find_version(name) for name in PACKAGES}},
        git_commit=find_git_commit(),
        host=Host(platform.system(), platform.machine(), os.cpu_count()),
        address=address,
    )


def find_version(package: str) -> str | None:
    """The installed version, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def find_git_commit() -> str | None:
    """The commit of the code that runs, with "+changes" when files differ from it; None outside a checkout."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():  # an installed copy may lie in somebody else's checkout
        return None
    try:
        commit, changes = (
            subprocess.run(["git", "-C", root, *arguments], capture_output=True, text=True, check=True, timeout=10)
            for arguments in (["rev-parse", "HEAD"], ["status", "--porcelain"])
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return commit.stdout.strip() + ("+changes" if changes.stdout.strip() else "")

"""Describes the software and the machine behind a session, so that a run directory explains itself."""

import datetime
import os
import platform
import subprocess
import sys
import time
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from tune_sketch.data.names import written_name

if TYPE_CHECKING:
    from tune_sketch.storage.facts import Session

PACKAGES = ("tune_sketch", "ray", "optuna", "torch", "torchvision", "numpy", "scikit-learn", "tensorboard")


def describe_session(address: str | None, begun_at: float | None = None, now: float | None = None) -> "Session":
    """The session that begins now: command, versions, code version and hardware.

    begun_at: when its command did, of time.monotonic. now: in the run's time, seconds since 1970.
    """
    from tune_sketch.storage.database import hide_password
    from tune_sketch.storage.facts import Host, Session

    prepared_seconds = 0.0 if begun_at is None else time.monotonic() - begun_at
    return Session(
        started_at=time.time() if now is None else now,
        time=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        command=(Path(sys.argv[0]).name, *(written_name(hide_password(word)) for word in sys.argv[1:])),
        versions={"python": platform.python_version(), **{name: find_version(name) for name in PACKAGES}},
        git_commit=find_git_commit(),
        host=Host(platform.system(), platform.machine(), os.cpu_count()),
        address=address,
        prepared_seconds=prepared_seconds,
    )


def find_version(package: str) -> str | None:
    """The installed version, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def find_git_commit(root: Path = Path(__file__).parents[2]) -> str | None:
    """The commit of the code that runs, with "+changes" when files differ from it; None outside our own checkout.

    An installed or copied tune_sketch may lie in somebody else's checkout, whose commit says nothing about us.
    """
    try:
        project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["name"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if project != "tune_sketch":
        return None
    # Without the variables by which git, where it has started us, points at a repository of its own choice.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        top, commit, changes = (
            subprocess.run(
                ["git", "-C", root, *arguments], capture_output=True, text=True, check=True, timeout=10, env=environment
            ).stdout.strip()
            for arguments in (["rev-parse", "--show-toplevel"], ["rev-parse", "HEAD"], ["status", "--porcelain"])
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return commit + ("+changes" if changes else "") if Path(top).resolve() == root.resolve() else None

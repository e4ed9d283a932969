"""File systems mounted for a test: small ones, and folders that nobody can write."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def mounted(folder: Path, *options: str) -> Iterator[None]:
    """A file system mounted at the folder, or the test is skipped where that is not allowed."""
    folder.mkdir(parents=True, exist_ok=True)
    answer = subprocess.run(["mount", *options, str(folder)], capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        pytest.skip(f"cannot mount: {answer.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """The folder, which nobody can write any more, root neither."""
    with mounted(folder, "--bind", str(folder)):
        subprocess.run(["mount", "-o", "remount,ro,bind", str(folder)], check=True)
        yield

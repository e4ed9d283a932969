"""Makes one process the owner of a run directory, and tells others who it is."""

import contextlib
import fcntl
import json
import math
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from tune_sketch.storage.run_directory import RunDirectory


@dataclass(frozen=True)
class Owner:
    """The process that writes a run directory now."""

    host: str
    process: int
    since: float  # seconds since 1970


UNKNOWN = Owner("unknown", 0, 0.0)
MAX_CHARACTERS = 10_000  # of an owner's entry


@contextlib.contextmanager
def lock(run: RunDirectory) -> Iterator[None]:
    """Be the only process that writes this run directory.

    The operating system holds the lock and lets go of it when the process ends, however it ends: a lock of a dead
    process needs no cleaning up. Raises ValueError that names the owner's host and process when a search is at work.
    """
    with open(run.owner_json, "a+", encoding="utf-8") as file:
        for attempt in reversed(range(5)):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                # A reader that only looks, by read_owner, has let go of it a moment later.
                if attempt == 0:
                    raise ValueError(f"{run.path} is in use by {describe_owner(run)}") from None
                time.sleep(0.1)
        file.truncate(0)
        json.dump(asdict(Owner(socket.gethostname(), os.getpid(), time.time())), file)
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


def read_owner(run: RunDirectory) -> Owner | None:
    """The process that holds the run directory now, or None."""
    try:
        with open(run.owner_json, encoding="utf-8", errors="replace") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return parse_owner(file.read(MAX_CHARACTERS))
    except FileNotFoundError:
        pass
    return None


def parse_owner(text: str) -> Owner:
    """The owner's entry: whatever it says, somebody holds the lock."""
    try:
        entry = json.loads(text)
        owner = Owner(str(entry["host"]), int(entry["process"]), float(entry["since"]))
    except Exception:  # not written yet, or damaged
        return UNKNOWN
    return owner if math.isfinite(owner.since) else UNKNOWN


def describe_owner(run: RunDirectory) -> str:
    """The owner in words."""
    owner = read_owner(run)
    return f"process {owner.process} on {owner.host}" if owner else "another process"

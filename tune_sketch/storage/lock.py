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
    since_boot: float | None = None  # the same moment, of its machine's time.monotonic

    def seconds(self) -> float | None:
        """How long it has been at work: on this machine whatever its clock was set to since. None: unknown."""
        if not self.process:
            return None
        if self.since_boot is not None and self.host == socket.gethostname():  # it lives: in the same boot
            return max(0.0, time.monotonic() - self.since_boot)
        return max(0.0, time.time() - self.since)


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
        owner = Owner(socket.gethostname(), os.getpid(), time.time(), time.monotonic())
        json.dump(asdict(owner), file)
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
        since_boot = entry.get("since_boot")  # None: written by an earlier version
        moments = float(entry["since"]), None if since_boot is None else float(since_boot)
        owner = Owner(str(entry["host"]), int(entry["process"]), *moments)
    except Exception:  # not written yet, or damaged
        return UNKNOWN
    return owner if math.isfinite(owner.since + (owner.since_boot or 0.0)) else UNKNOWN


def describe_owner(run: RunDirectory) -> str:
    """The owner in words."""
    owner = read_owner(run)
    return f"process {owner.process} on {owner.host}" if owner else "another process"

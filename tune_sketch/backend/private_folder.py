"""Makes the folder of a Ray on this machine: private, short, and removed, also after a kill."""

import fcntl
import os
import shutil
import stat
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

PREFIX = "ts-"
LOCK = "lock"
SHORT_FOLDER = Path("/tmp")
# The longest name of a socket in bytes, and what Ray and we add to the folder that is asked for.
MOST_SOCKET_BYTES = 107 if sys.platform == "linux" else 103
LONGEST_SOCKET = f"/{PREFIX}12345678/r/session_2026-01-01_00-00-00_123456_1234567/sockets/plasma_store"
MOST_FOLDER_BYTES = MOST_SOCKET_BYTES - len(LONGEST_SOCKET)


@dataclass(frozen=True)
class PrivateFolder:
    """A folder that only this user can enter, in use as long as this process lives."""

    path: Path
    lock: IO[str]  # held; the operating system lets go of it when this process ends, however it ends

    @property
    def for_ray(self) -> Path:
        """Ray's temporary folder, which it opens to everybody: inside one that it does not."""
        return self.path / "r"

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        shutil.rmtree(self.path, ignore_errors=True)  # what a dying process of Ray has just added
        self.lock.close()


def make_private_folder() -> PrivateFolder:
    """A new folder; those of this user's searches that were killed are removed. Raises ValueError as choose_parent."""
    parent = choose_parent()
    parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned(parent)
    while True:
        path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))  # of mode 0700
        lock = take_lock(path, wait=True)
        if lock is not None:
            return PrivateFolder(path, lock)


def take_lock(path: Path, *, wait: bool) -> IO[str] | None:
    """The lock of a folder; None where somebody has it, or has removed the folder."""
    try:
        lock = open(path / LOCK, "a", encoding="utf-8")  # noqa: SIM115 (held beyond this function)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        if os.path.samestat(os.fstat(lock.fileno()), os.stat(path / LOCK)):
            return lock
    except OSError:
        pass
    lock.close()
    return None


def remove_abandoned(parent: Path) -> None:
    """Remove this user's folders that no living process has: a killed search cannot."""
    for path in parent.glob(f"{PREFIX}????????"):
        try:
            status = path.lstat()
        except OSError:  # removed by its own search
            continue
        if stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid():
            lock = take_lock(path, wait=False)
            if lock is not None:
                PrivateFolder(path, lock).remove()


def choose_parent() -> Path:
    """Where the folder is made: where TMPDIR says, or in /tmp where that is too long, or open to others.

    Raises ValueError when there is none to write in.
    """
    wanted = Path(os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or SHORT_FOLDER).absolute()
    is_short = len(os.fsencode(wanted)) <= MOST_FOLDER_BYTES
    parent = wanted if is_short and is_ours(wanted) else SHORT_FOLDER
    existing = first_existing(parent)
    if not os.access(existing, os.W_OK | os.X_OK):
        why = "" if is_short else f", since {wanted} is too long for the sockets of Ray"
        raise ValueError(
            f"Ray needs a folder for its files, and {existing} cannot be written{why}: set RAY_TMPDIR to a folder "
            f"that can, of at most {MOST_FOLDER_BYTES} characters"
        )
    return parent


def is_ours(folder: Path) -> bool:
    """Whether no other user, but root, can rename what we make in a folder, and so put something else in its place."""
    existing = first_existing(folder).resolve()
    for path in (existing, *existing.parents):
        status = path.stat()
        if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not status.st_mode & stat.S_ISVTX:
            return False
        if status.st_uid not in (0, os.geteuid()):
            return False
    return True


def first_existing(folder: Path) -> Path:
    """The folder, or the nearest above it that exists."""
    return next(path for path in (folder, *folder.parents) if path.exists())

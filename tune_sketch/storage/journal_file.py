"""Keeps the log file of Optuna's JournalStorage whole through kills and full disks."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock


class NoLock(JournalFileOpenLock):
    """No lock: only the owner of the run directory writes its journal, and the owner's lock ends with its process.

    Optuna's own locks are files, which a killed process leaves behind.
    """

    def __init__(self) -> None:
        pass

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass


class WholeLinesBackend(JournalFileBackend):
    """One event per line; a line that was begun and not ended, by a kill or a full disk, is cut off."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = path
        if not read_only:
            cut_torn_line(path)
        self.held: list[dict[str, Any]] | None = None  # events to be written together
        super().__init__(str(path), lock_obj=NoLock())

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append whole lines. Raises OSError, with the file as it was, when they cannot be written."""
        if self.held is not None:
            self.held += logs
            return
        size = self.path.stat().st_size
        try:
            super().append_logs(logs)
        except OSError:
            os.truncate(self.path, size)
            raise


class LogStorage(JournalStorage):
    """Optuna's storage in a log file."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.file = WholeLinesBackend(path, read_only=read_only)
        super().__init__(self.file)

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Write what is recorded meanwhile at once: a disk takes as long for one event as for two."""
        self.file.held = []
        try:
            yield
        finally:
            held, self.file.held = self.file.held, None
        self.file.append_logs(held)


def cut_torn_line(path: Path) -> None:
    """Cut what follows the last line's end, if anything does."""
    if not path.exists():
        return
    with open(path, "rb+") as file:
        end = size = file.seek(0, os.SEEK_END)
        while end > 0:
            start = max(0, end - 65_536)
            file.seek(start)
            last_newline = file.read(end - start).rfind(b"\n")
            if last_newline >= 0:
                end = start + last_newline + 1
                break
            end = start
        if end < size:
            file.truncate(end)
            os.fsync(file.fileno())

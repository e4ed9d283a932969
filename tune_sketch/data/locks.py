"""Lets one process at a time build something in the cache, while the others wait for it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout


@contextmanager
def hold_lock(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on the file `path`, which is created and stays.

    The operating system releases the lock when the process ends, even by a kill.
    """
    lock = FileLock(path)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        print(f"waiting for another process that prepares the same data ({path.name})", file=sys.stderr)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()

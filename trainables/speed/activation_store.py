"""Keeps activations on the machine's own disk: half-precision arrays in limited space, shared by processes.

For feature_cache.py, which gains by it. A drawing takes 2 to 131 kB per view, by network and freeze point
(benchmarks/results/frozen_prefix-cpu.md).
"""

import contextlib
import fcntl
import os
import shutil
import weakref
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

STORE_BYTES = 64 * 2**30
STORE_FRACTION = 0.5  # of what the disk would have free without the store


class Entry:
    """The arrays of one key. While it is open in any process it is not evicted.

    An array is made by one process while others that want it wait; it appears whole or not at all.
    """

    def __init__(self, folder: Path, lock: int) -> None:
        self.folder = folder
        # Shared by all who use the entry. Closing lets go of it, as does the end of the process, however it ends.
        self._finalizer = weakref.finalize(self, os.close, lock)

    def open_array(self, name: str, shape: tuple[int, ...], compute: Callable[[], Iterable[np.ndarray]]) -> np.ndarray:
        """float16 `shape`, memory-mapped and read-only; `compute` gives its rows in order, if nobody has yet.

        Raises OSError where the disk is full after all, or the file damaged; it is taken back.
        """
        file = self.folder / f"{name}.npy"
        with hold(self.folder / f"{name}.lock"):
            if not file.exists():
                part = file.with_suffix(".part")  # a killed process' one is written over, or removed by make_room
                try:
                    write_array(part, shape, compute())
                    os.replace(part, file)
                finally:
                    part.unlink(missing_ok=True)
        try:
            array: np.ndarray = np.load(file, mmap_mode="r", allow_pickle=False)
            is_whole = array.shape == shape and array.dtype == np.float16
        except Exception:  # NumPy reads an array's heading as Python, which raises almost anything
            is_whole = False
        if not is_whole:
            file.unlink(missing_ok=True)
            raise OSError(f"{file} was damaged")
        return array

    def discard(self) -> None:
        """Let go of the entry, and remove it unless another process has it open."""
        with hold(self.folder.parent / "lock"):
            self._finalizer()
            remove_idle(self.folder)


def open_entry(root: Path, key: str, num_bytes: int) -> Entry | None:
    """The entry of `key`, with space reserved for `num_bytes` of arrays; None where there is no room.

    Room is made by removing entries that no process uses, the least recently opened first. Raises OSError.
    """
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    if root.stat().st_uid != os.getuid():
        raise PermissionError(f"{root} belongs to another user")
    with hold(root / "lock"):  # entries are opened, reserved and removed by one process at a time
        folder = root / key
        folder.mkdir(exist_ok=True)
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_SH)
        os.utime(folder / "lock")
        (folder / "reserved").write_text(str(max(num_bytes, reserved_bytes(folder))))
        if make_room(root):
            return Entry(folder, lock)
        os.close(lock)
        remove_idle(folder)
        return None


def make_room(root: Path) -> bool:
    """Whether all that is reserved fits into the store's space, after removing what has to go."""
    for part in root.glob("*/*.part"):
        with try_hold(part.with_suffix(".lock")) as held:
            if held:  # whoever wrote it was killed
                part.unlink(missing_ok=True)
    folders = sorted((path for path in root.iterdir() if path.is_dir()), key=opened_at)
    used_bytes = sum(file.stat().st_size for file in root.glob("*/*.npy"))
    limit_bytes = min(STORE_BYTES, STORE_FRACTION * (shutil.disk_usage(root).free + used_bytes))
    total_bytes = sum(map(reserved_bytes, folders))
    for folder in folders:
        if total_bytes <= limit_bytes:
            break
        num_bytes = reserved_bytes(folder)
        if remove_idle(folder):
            total_bytes -= num_bytes
    return total_bytes <= limit_bytes


def opened_at(folder: Path) -> float:
    """When an entry was last opened; 0 for what a killed process left half removed."""
    lock = folder / "lock"
    return lock.stat().st_mtime if lock.exists() else 0.0


def reserved_bytes(folder: Path) -> int:
    """The space of an entry; 0 where a process was killed before it wrote the number, or while it removed the entry."""
    try:
        return int((folder / "reserved").read_text())
    except (FileNotFoundError, ValueError):
        return 0


def remove_idle(folder: Path) -> bool:
    """Remove an entry unless a process has it open; whether it is gone."""
    with try_hold(folder / "lock") as held:
        if held:
            shutil.rmtree(folder)
        return held


def write_array(file: Path, shape: tuple[int, ...], blocks: Iterable[np.ndarray]) -> None:
    """Write a .npy of float16 block by block and force it to the disk.

    Plain writes, not a memory map: a full disk is then an OSError and not the end of the process.
    """
    num_rows = 0
    with file.open("wb") as out:
        header = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.float16)), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_2_0(out, header)
        for block in blocks:
            assert block.dtype == np.float16
            assert block.shape[1:] == shape[1:]
            out.write(np.ascontiguousarray(block).data)
            num_rows += len(block)
        out.flush()
        os.fsync(out.fileno())
    assert num_rows == shape[0]


@contextlib.contextmanager
def hold(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on `path`; the system lets go of it when the process ends, however it ends."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def try_hold(path: Path) -> Iterator[bool]:
    """Hold the lock if nobody has it; whether it is held."""
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True

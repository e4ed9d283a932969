"""Brings a decoded data set to each machine once: copied by one process, verified, then read by all trainings there."""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from fsspec import AbstractFileSystem
from fsspec.core import url_to_fs

from tune_sketch.data.locks import hold_lock
from tune_sketch.data.progress import Progress
from tune_sketch.data.request import node_cache_dir
from tune_sketch.data.sketch_data import is_whole

PIECE_BYTES = 16 * 2**20  # read at once; what arrived before a broken transfer is kept
NUM_TRIES, FIRST_PAUSE_SECONDS = 6, 1.0  # pauses of 1, 2, 4, 8, 16 s: a network that is gone for half a minute
T = TypeVar("T")


class NotStaged(OSError):
    """A data set could not be brought to this machine; perhaps it can to another, or later."""


def publish_data(folder: Path) -> str:
    """Where trainings find the data set that was decoded into `folder`: its path, or a URL to which it is copied.

    The URL is of $TUNE_SKETCH_CACHE, where that is one ("s3://bucket/tune_sketch"; all that fsspec knows). What is
    there already is not copied again; meta.json goes last, so that without it nothing is there. Raises ValueError when
    the place cannot be used.
    """
    kept = os.environ.get("TUNE_SKETCH_CACHE", "")
    if "://" not in kept:
        return str(folder)
    url = f"{kept.rstrip('/')}/decoded/{folder.name}"
    try:
        files, place = url_to_fs(url)
        if not files.exists(f"{place}/meta.json"):
            names = [*sorted(path.name for path in folder.glob("*.npy")), "meta.json"]
            bar = Progress(f"copying to {url}", len(names))
            files.makedirs(place, exist_ok=True)
            for done, name in enumerate(names, start=1):
                files.put_file(str(folder / name), f"{place}/{name}")
                bar.show(done)
            bar.close()
    except Exception as error:  # each file system has errors of its own, and an import for its driver
        raise ValueError(f"TUNE_SKETCH_CACHE={kept} cannot be used: {type(error).__name__}: {error}") from error
    return url


def stage_data(place: str) -> Path:
    """The folder for `open_data` on this machine of a data set at a path or URL that `publish_data` gave.

    A path is read where it is, unless $TUNE_SKETCH_NODE_CACHE asks for a copy on this machine's own disk. A copy is
    made by one process, while the others wait; it is checked by SHA-256 and seen only when it is whole. A broken
    transfer goes on where it broke off, in this process or the next. The last part of the place is the key of the
    content, so another content is another copy. Raises NotStaged with the reason when tries and patience are spent.
    """
    if "://" not in place and not os.environ.get("TUNE_SKETCH_NODE_CACHE"):
        return Path(place)
    key = place.rstrip("/").rsplit("/", 1)[-1]
    decoded = node_cache_dir() / "decoded"
    folder = decoded / key
    if "://" not in place and folder.resolve() == Path(place).resolve():
        return folder
    if not is_whole(folder):
        decoded.mkdir(parents=True, exist_ok=True)
        with hold_lock(decoded / f"{key}.lock"):
            if not is_whole(folder):
                arriving = decoded / f".{key}.arriving"
                arriving.mkdir(exist_ok=True)
                _fetch_all(place, key, arriving)
                shutil.rmtree(folder, ignore_errors=True)
                arriving.rename(folder)
    return folder


def _fetch_all(place: str, key: str, arriving: Path) -> None:
    files, root = url_to_fs(place)
    meta = _try_often(f"{place}/meta.json", lambda: json.loads(files.cat_file(f"{root}/meta.json")))
    if not meta["fingerprint"].startswith(key):
        raise NotStaged(f"{place} holds another data set, of fingerprint {meta['fingerprint'][:12]}")
    wanted: dict[str, dict[str, Any]] = meta["files"]
    num_bytes, free_bytes = sum(file["bytes"] for file in wanted.values()), shutil.disk_usage(arriving).free
    if num_bytes - sum(part.stat().st_size for part in arriving.iterdir()) > free_bytes:
        raise NotStaged(f"{place} needs {num_bytes:,} bytes in {arriving.parent}, where {free_bytes:,} are free")
    bar, num_before = Progress(f"copying {place} (bytes)", num_bytes), 0
    for name, file in wanted.items():
        part = arriving / name
        for _ in range(2):  # what is wrong may have been damaged on its way
            for arrived in _append_rest(files, f"{root}/{name}", part, file["bytes"]):
                bar.show(num_before + arrived)
            if (found := hash_file(part)) == file["sha256"]:
                break
            part.unlink()
        else:
            raise NotStaged(f"{place}/{name} has SHA-256 {found}, what was decoded {file['sha256']}: remove {place}")
        num_before += file["bytes"]
    bar.close()
    (arriving / "meta.json").write_text(json.dumps(meta, indent=1))


def _append_rest(files: AbstractFileSystem, source: str, part: Path, num_bytes: int) -> Iterator[int]:
    """Fetch what `part` lacks of a file; yields the number of bytes there are, after each piece."""
    with part.open("ab") as file:
        while (start := file.tell()) < num_bytes:
            end = min(start + PIECE_BYTES, num_bytes)
            file.write(_try_often(source, lambda: _fetch(files, source, start, end)))  # noqa: B023
            file.flush()
            yield file.tell()
        os.fsync(file.fileno())


def _fetch(files: AbstractFileSystem, source: str, start: int, end: int) -> bytes:
    piece = files.cat_file(source, start=start, end=end)
    if len(piece) != end - start:
        raise OSError(f"{len(piece):,} of {end - start:,} bytes came")
    return piece


def _try_often(what: str, work: Callable[[], T]) -> T:
    for number in range(NUM_TRIES):
        try:
            return work()
        except Exception as error:  # each file system has errors of its own
            problem = error
        if number < NUM_TRIES - 1:
            time.sleep(FIRST_PAUSE_SECONDS * 2**number)
    raise NotStaged(f"{what} could not be read in {NUM_TRIES} tries: {type(problem).__name__}: {problem}") from problem


def hash_file(path: Path) -> str:
    """SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def describe_files(folder: Path) -> dict[str, dict[str, Any]]:
    """{"images.npy": {"bytes": ..., "sha256": ...}, ...}: what a copy of a decoded data set is checked against."""
    return {
        path.name: {"bytes": path.stat().st_size, "sha256": hash_file(path)} for path in sorted(folder.glob("*.npy"))
    }

"""Copies a decoded data set to each machine once, verified; all trainings there read that copy."""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypedDict, TypeVar

from fsspec import AbstractFileSystem
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from tune_sketch.data.locks import hold_lock
from tune_sketch.data.progress import Progress
from tune_sketch.data.request import node_cache_dir
from tune_sketch.data.sketch_data import is_whole

PIECE_BYTES = 16 * 2**20  # read at once; what arrived before a broken transfer is kept
NUM_TRIES, FIRST_PAUSE_SECONDS = 6, 1.0  # pauses of 1, 2, 4, 8, 16 s: a network that is gone for half a minute
T = TypeVar("T")


class NotStagedError(OSError):
    """A data set could not be copied to this machine. Another machine or a later attempt may succeed."""


class StoredFile(TypedDict):
    """Size and SHA-256 of a file of a decoded data set; a copy is checked against them."""

    bytes: int
    sha256: str


def publish_data(folder: Path) -> str:
    """The location of the data set in `folder` for all trainings: its path, or a URL to which it is copied.

    It is a URL when $TUNE_SKETCH_CACHE is one ("s3://bucket/tune_sketch", or any other that fsspec knows). A data set
    that is there is not copied again. meta.json is copied last and marks a complete copy. Raises ValueError when the
    location cannot be used.
    """
    kept = os.environ.get("TUNE_SKETCH_CACHE", "")
    if "://" not in kept:
        return str(folder)
    url = f"{kept.rstrip('/')}/decoded/{folder.name}"
    try:
        files, location = url_to_fs(url)
        if not files.exists(f"{location}/meta.json"):
            names = [*sorted(path.name for path in folder.glob("*.npy")), "meta.json"]
            bar = Progress(f"copying to {url}", len(names))
            files.makedirs(location, exist_ok=True)
            for done, name in enumerate(names, start=1):
                files.put_file(str(folder / name), f"{location}/{name}")
                bar.show(done)
            bar.close()
    except Exception as error:  # each file system has errors of its own, and an import for its driver
        raise ValueError(f"TUNE_SKETCH_CACHE={kept} cannot be used: {type(error).__name__}: {error}") from error
    return url


def stage_data(location: str) -> Path:
    """The folder for `open_data`, on this machine, of a data set at a location from `publish_data`.

    A path is read in place, unless $TUNE_SKETCH_NODE_CACHE asks for a copy on this machine's own disk. One process
    makes the copy while the others wait; it is checked by SHA-256 and appears only when it is complete. A broken
    transfer resumes where it stopped, in this process or the next. The last part of the location is the key of the
    content, so other content is another copy. Raises NotStagedError with the reason when all tries have failed.
    """
    if "://" not in location and not os.environ.get("TUNE_SKETCH_NODE_CACHE"):
        return Path(location)
    key = location.rstrip("/").rsplit("/", 1)[-1]
    decoded = node_cache_dir() / "decoded"
    folder = decoded / key
    if "://" not in location and folder.resolve() == Path(location).resolve():
        return folder
    if not is_whole(folder):
        decoded.mkdir(parents=True, exist_ok=True)
        with hold_lock(decoded / f"{key}.lock"):
            if not is_whole(folder):
                arriving = decoded / f".{key}.arriving"
                arriving.mkdir(exist_ok=True)
                _fetch_all(location, key, arriving)
                shutil.rmtree(folder, ignore_errors=True)
                arriving.rename(folder)
    return folder


def _fetch_all(location: str, key: str, arriving: Path) -> None:
    # A plain path is one, whatever is in it: "::" and "{" mean something to fsspec.
    files, root = url_to_fs(location) if "://" in location else (LocalFileSystem(), location)
    meta = _try_often(f"{location}/meta.json", lambda: json.loads(files.cat_file(f"{root}/meta.json")))
    if not meta["fingerprint"].startswith(key):
        raise NotStagedError(f"{location} holds another data set, of fingerprint {meta['fingerprint'][:12]}")
    wanted: dict[str, StoredFile] = meta["files"]
    num_bytes, free_bytes = sum(file["bytes"] for file in wanted.values()), shutil.disk_usage(arriving).free
    if num_bytes - sum(part.stat().st_size for part in arriving.iterdir()) > free_bytes:
        raise NotStagedError(
            f"{location} needs {num_bytes:,} bytes in {arriving.parent}, where {free_bytes:,} are free"
        )
    bar, num_before = Progress(f"copying {location} (bytes)", num_bytes), 0
    for name, file in wanted.items():
        part = arriving / name
        for _ in range(2):  # it may have been damaged on its way
            for arrived in _append_rest(files, f"{root}/{name}", part, file["bytes"]):
                bar.show(num_before + arrived)
            if (found := hash_file(part)) == file["sha256"]:
                break
            part.unlink()
        else:
            raise NotStagedError(
                f"{location}/{name} has SHA-256 {found}, what was decoded {file['sha256']}: remove {location}"
            )
        num_before += file["bytes"]
    bar.close()
    (arriving / "meta.json").write_text(json.dumps(meta, indent=1))


def _append_rest(files: AbstractFileSystem, source: str, part: Path, num_bytes: int) -> Iterator[int]:
    """Fetch the rest of a file into `part`; yields the number of bytes in it after each piece."""
    with part.open("ab") as file:
        while (start := file.tell()) < num_bytes:
            end = min(start + PIECE_BYTES, num_bytes)
            file.write(_try_often(source, lambda: _fetch(files, source, start, end)))  # noqa: B023
            file.flush()
            yield file.tell()
        os.fsync(file.fileno())


def _fetch(files: AbstractFileSystem, source: str, start: int, end: int) -> bytes:
    piece: bytes = files.cat_file(source, start=start, end=end)
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
    raise NotStagedError(
        f"{what} could not be read in {NUM_TRIES} tries: {type(problem).__name__}: {problem}"
    ) from problem


def hash_file(path: Path) -> str:
    """SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def describe_files(folder: Path) -> dict[str, StoredFile]:
    """The arrays in a folder, by file name."""
    return {
        path.name: {"bytes": path.stat().st_size, "sha256": hash_file(path)} for path in sorted(folder.glob("*.npy"))
    }

"""Decodes many drawings at once into one array on disk, in processes of their own."""

import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tune_sketch.data.formats.base import DecodeSettings, Drawing
from tune_sketch.data.formats.registry import decode_drawing
from tune_sketch.data.near_copies import LEAST_IMAGE_PX, NUM_BYTES, hash_ink
from tune_sketch.data.pixels import BadDrawingError

MAX_WORKERS = 16
CHUNK_SIZE = 50  # drawings per task: their pickling costs little, and progress shows several times a second
_MIN_PER_WORKER = 200  # starting a process takes as long as decoding about this many drawings
_IDLE_SECONDS = 10  # after this time an idle worker gives its memory back


@dataclass(frozen=True)
class DecodedChunk:
    """The findings about a chunk besides its pixels."""

    start: int  # index of its first drawing
    num_drawings: int
    bad: dict[int, str]  # index -> reason
    sides_px: tuple[int, ...]  # the distinct original longer sides, where there are any
    papers: dict[int, int]  # index -> grey value of the original's paper, where there is any
    num_first_of_many: int  # pictures whose files hold other frames or pages too
    hashes: np.ndarray  # uint8 [num_drawings, NUM_BYTES] of `hash_ink`; 0 of bad ones, and where none are wanted


@dataclass(frozen=True)
class DecodedSet:
    """The findings about all drawings besides their pixels."""

    bad: dict[int, str]  # index -> reason
    original_px: tuple[int, int] | None  # smallest and largest original side
    papers: dict[int, int]  # index -> grey value of the original's paper, where there is any
    num_first_of_many: int  # pictures whose files hold other frames or pages too
    hashes: np.ndarray | None  # uint8 [N, NUM_BYTES] of `hash_ink`; None where such hashes say nothing


def count_cores() -> int:
    """Cores that this process may use, at least 1: of its affinity, and of a container's quota, rounded up."""
    from joblib import cpu_count  # 0.2 s, see `_decode_chunks`

    number: int = cpu_count()
    return number


def decode_all(
    drawings: Sequence[Drawing],
    settings: DecodeSettings,
    folder: Path,
    show: Callable[[int], None],
    num_workers: int | None = None,
    digests: Sequence[bytes | None] | None = None,
) -> DecodedSet:
    """Write row i of folder/images.npy, uint8 [N, image_px, image_px], from drawing i; bad ones stay empty.

    show: called with the number of finished drawings. num_workers: None suits the cores and the work. digests: SHA-256
    of each drawing's content, None of one that could not be read; a drawing that is another now is bad.
    """
    path = folder / "images.npy"
    shape = (len(drawings), settings.image_px, settings.image_px)
    images = np.lib.format.open_memmap(path, "w+", np.uint8, shape)
    if hasattr(os, "posix_fallocate"):  # a full disk is an OSError here, and would kill the process while decoding
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, os.stat(file.fileno()).st_size)
    if num_workers is None:
        num_workers = min(count_cores(), MAX_WORKERS, len(drawings) // _MIN_PER_WORKER)
    num_done, num_first_of_many, bad, sides_px, papers = 0, 0, dict[int, str](), set[int](), dict[int, int]()
    hashes = np.zeros((len(drawings), NUM_BYTES), np.uint8) if is_hashed(drawings, settings) else None
    expected = digests or [None] * len(drawings)
    for chunk in _decode_chunks(drawings, expected, settings, path, num_workers):
        num_done += chunk.num_drawings
        num_first_of_many += chunk.num_first_of_many
        bad |= chunk.bad
        sides_px |= set(chunk.sides_px)
        papers |= chunk.papers
        if hashes is not None:
            hashes[chunk.start : chunk.start + chunk.num_drawings] = chunk.hashes
        show(num_done)
    images.flush()
    original_px = (min(sides_px), max(sides_px)) if sides_px else None
    return DecodedSet(dict(sorted(bad.items())), original_px, papers, num_first_of_many, hashes)


def _decode_chunks(
    drawings: Sequence[Drawing],
    digests: Sequence[bytes | None],
    settings: DecodeSettings,
    path: Path,
    num_workers: int,
) -> Iterable[DecodedChunk]:
    """The chunks in the order in which they are finished."""
    parts = [slice(start, start + CHUNK_SIZE) for start in range(0, len(drawings), CHUNK_SIZE)]
    if num_workers <= 1:
        return (decode_chunk(drawings[part], digests[part], part.start, settings, path) for part in parts)
    from joblib import Parallel, delayed  # 0.2 s, which only decoding in processes should pay

    # joblib's loky starts plain processes: a fork is unsafe beside the threads of torch and Ray, and the standard
    # library's spawn would import the caller's main module, torch and Ray with it, into each worker.
    chunks: Iterable[DecodedChunk] = Parallel(
        n_jobs=num_workers,
        backend="loky",
        return_as="generator_unordered",
        batch_size=1,
        max_nbytes=None,
        idle_worker_timeout=_IDLE_SECONDS,
        initializer=_end_with_parent,
        initargs=(os.getpid(),),
    )(delayed(decode_chunk)(drawings[part], digests[part], part.start, settings, path) for part in parts)
    return chunks


def is_hashed(drawings: Sequence[Drawing], settings: DecodeSettings) -> bool:
    """Whether near copies can be looked for: the doodles are all alike, and tiny pictures look so."""
    return settings.image_px >= LEAST_IMAGE_PX and any(drawing.format != "doodles" for drawing in drawings)


def _end_with_parent(parent: int) -> None:
    """In a worker: end when the parent is gone. loky's own way takes minutes, or for ever where it died in a lock."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def decode_chunk(
    drawings: Sequence[Drawing],
    digests: Sequence[bytes | None],
    start: int,
    settings: DecodeSettings,
    path: Path,
) -> DecodedChunk:
    """Decode drawings into the rows from `start` on of the array at `path`."""
    images = np.load(path, mmap_mode="r+")
    bad: dict[int, str] = {}
    papers: dict[int, int] = {}
    sides_px: set[int] = set()
    num_first_of_many = 0
    hashes, wants_hashes = np.zeros((len(drawings), NUM_BYTES), np.uint8), is_hashed(drawings, settings)
    for index, (drawing, digest) in enumerate(zip(drawings, digests, strict=True), start=start):
        try:
            decoded = decode_drawing(drawing, settings, digest)
        except BadDrawingError as error:
            bad[index] = str(error)
        else:
            images[index] = decoded.square
            sides_px |= {decoded.side_px} - {0}
            if decoded.paper is not None:
                papers[index] = decoded.paper
            num_first_of_many += decoded.is_first_of_many
            if wants_hashes:
                hashes[index - start] = hash_ink(decoded.square if settings.invert else 255 - decoded.square)
    return DecodedChunk(start, len(drawings), bad, tuple(sides_px), papers, num_first_of_many, hashes)

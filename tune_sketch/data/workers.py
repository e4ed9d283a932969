"""Decode many drawings at once into one array on disk, in processes of their own."""

import json
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

import tune_sketch
from tune_sketch.data.decode import BadDrawing, DecodeSettings, decode_drawing
from tune_sketch.data.sources import Drawing

MAX_WORKERS = 16
_LEAST_PER_WORKER = 200  # starting a process takes as long as decoding about so many
_RUN = "from tune_sketch.data.workers import run_worker; run_worker()"


def count_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def decode_all(
    drawings: Sequence[Drawing],
    settings: DecodeSettings,
    folder: Path,
    show: Callable[[int], None],
    num_workers: int | None = None,
) -> tuple[dict[int, str], tuple[int, int] | None]:
    """Write row i of folder/images.npy, uint8 [N, image_px, image_px], from drawing i; bad ones stay empty.

    show: called with the number of drawings finished. num_workers: None suits the cores and the work.
    Returns index -> reason of the bad drawings, and the smallest and largest original side.
    """
    shape = (len(drawings), settings.image_px, settings.image_px)
    images = np.lib.format.open_memmap(folder / "images.npy", "w+", np.uint8, shape)
    if hasattr(os, "posix_fallocate"):  # a full disk is an OSError here, and a killed process while decoding
        with (folder / "images.npy").open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, os.stat(file.fileno()).st_size)
    if num_workers is None:
        num_workers = min(count_cores(), MAX_WORKERS, len(drawings) // _LEAST_PER_WORKER)
    if num_workers <= 1:
        bad, sides_px = decode_share(drawings, settings, images, range(len(drawings)), show)
        images.flush()
        return bad, sides_px
    del images
    return _run_workers(drawings, settings, folder, show, num_workers)


def decode_share(
    drawings: Sequence[Drawing],
    settings: DecodeSettings,
    images: np.ndarray,
    indices: range,
    show: Callable[[int], None],
) -> tuple[dict[int, str], tuple[int, int] | None]:
    """Decode the drawings of `indices` into `images`; returns as `decode_all`."""
    bad: dict[int, str] = {}
    smallest_px, largest_px = 0, 0
    for done, index in enumerate(indices, start=1):
        try:
            images[index], side_px = decode_drawing(drawings[index], settings)
        except BadDrawing as error:
            bad[index] = str(error)
        else:
            smallest_px = min(smallest_px or side_px, side_px)
            largest_px = max(largest_px, side_px)
        show(done)
    return bad, (smallest_px, largest_px) if largest_px else None


def _run_workers(
    drawings: Sequence[Drawing], settings: DecodeSettings, folder: Path, show: Callable[[int], None], num_workers: int
) -> tuple[dict[int, str], tuple[int, int] | None]:
    # Plain subprocesses: fork is unsafe beside torch's and Ray's threads, and multiprocessing's spawn would import
    # the caller's main module, torch and Ray with it, into each worker.
    (folder / "job.pickle").write_bytes(pickle.dumps((list(drawings), settings, num_workers)))
    done = np.lib.format.open_memmap(folder / "done.npy", "w+", np.int64, (num_workers,))
    package_folder = str(Path(tune_sketch.__file__).parents[1])
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, [package_folder, os.environ.get("PYTHONPATH")])),
    }
    processes = []
    try:
        for rank in range(num_workers):
            with (folder / f"stderr-{rank}.txt").open("wb") as stderr:
                command = [sys.executable, "-c", _RUN, str(folder), str(rank)]
                processes.append(subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stderr=stderr))
        while any(process.poll() is None for process in processes):
            show(int(done.sum()))
            _check_workers(processes, folder)
            time.sleep(0.05)
        _check_workers(processes, folder)
    finally:
        for process in processes:
            process.kill()
            process.wait()
    show(int(done.sum()))
    results = [json.loads((folder / f"result-{rank}.json").read_text()) for rank in range(num_workers)]
    sides = [side for result in results for side in result["sides_px"] or []]
    bad = {int(index): reason for result in results for index, reason in result["bad"].items()}
    for path in (*folder.glob("result-*.json"), *folder.glob("stderr-*.txt")):
        path.unlink()
    (folder / "job.pickle").unlink()
    (folder / "done.npy").unlink()
    return dict(sorted(bad.items())), (min(sides), max(sides)) if sides else None


def _check_workers(processes: list[subprocess.Popen[bytes]], folder: Path) -> None:
    """Raises RuntimeError with the worker's own words when one has failed."""
    for rank, process in enumerate(processes):
        if process.poll():
            words = (folder / f"stderr-{rank}.txt").read_text(errors="replace")[-2000:]
            raise RuntimeError(f"decoding worker {rank} ended with status {process.returncode}:\n{words}")


def run_worker() -> None:
    """Decode one worker's share of the job in a folder; arguments: folder, rank."""
    folder, rank = Path(sys.argv[1]), int(sys.argv[2])
    drawings, settings, num_workers = pickle.loads((folder / "job.pickle").read_bytes())
    images = np.load(folder / "images.npy", mmap_mode="r+")
    counts = np.load(folder / "done.npy", mmap_mode="r+")
    parent = os.getppid()

    def show(done: int) -> None:
        counts[rank] = done
        if os.getppid() != parent:
            sys.exit(1)  # whoever wanted this is gone

    bad, sides_px = decode_share(drawings, settings, images, range(rank, len(drawings), num_workers), show)
    images.flush()
    result = folder / f"result-{rank}.json"
    result.with_suffix(".tmp").write_text(json.dumps({"bad": bad, "sides_px": sides_px}))
    result.with_suffix(".tmp").rename(result)

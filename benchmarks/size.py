"""Sets larger than memory: the cost of an epoch by size under a memory limit, and one copy for several trainings.

python -m benchmarks.size [--quick]     limits memory by a control group (version 1, as root); says so where it cannot
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.machine import describe, result_path, write_result
from tune_sketch.storage.files import write_csv

LIMIT_BYTES = 512 * 2**20
MOST_GROWTH = 1.5  # of the cost per drawing, from the smallest to the largest set
MOST_COPIES = 1.1  # of the drawings that several trainings may hold together
SIZES, NUM_EPOCHS, NUM_LARGE = (250_000, 500_000, 1_000_000), 2, 20_000
NUM_READERS = (1, 2, 3)


def main() -> int:
    """Measure, write the result, print the ratios; 1 when one is over its target."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer sets and epochs; writes no result file")
    parser.add_argument("--train", nargs=3, help=argparse.SUPPRESS)  # file, number of drawings and of epochs
    parser.add_argument("--read", help=argparse.SUPPRESS)  # file: read all, then wait
    arguments = parser.parse_args()
    if arguments.train:
        path, num_images, num_epochs = arguments.train
        print(json.dumps(train(Path(path), int(num_images), int(num_epochs))))
        return 0
    if arguments.read:
        read_and_wait(Path(arguments.read))
        return 0
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))  # an exit, so that what it started ends with it
    print(describe(), flush=True)
    sizes, num_epochs, num_large = (SIZES[::2], 1, 4_000) if arguments.quick else (SIZES, NUM_EPOCHS, NUM_LARGE)
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder, memory_limit() as limit:
        rows = [measure_epochs(Path(folder), size, num_epochs, limit) for size in sizes]
        copies = measure_copies(Path(folder), num_large)
    said = f"limited to {LIMIT_BYTES >> 20} MiB with the pages of files" if limit else "NOT limited on this machine"
    lines = [
        "`fit` over a memory map of drawings of 28 px, all augmentation, a linear classifier, one thread beside the",
        f"one that reads. The process is {said}; the map begins out of memory.",
        "",
        "| drawings | set, MB | s per epoch, one by one | microseconds per drawing | most memory, MB |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        seconds = ", ".join(f"{number:.1f}" for number in row["epoch_seconds"])
        numbers = f"{row['set_mb']:.0f} | {seconds} | {row['microseconds_per_drawing']:.1f} | {row['peak_mb']:.0f}"
        lines.append(f"| {row['drawings']:,} | {numbers} |")
    lines += [
        "",
        f"Processes that each read all of {num_large:,} drawings of 224 px ({num_large * 224**2 / 1e9:.2f} GB) by a",
        "training's batches, from one map (without a limit). PSS counts a page of n processes as 1/n in each.",
        "",
        "| processes | of the map, all together, MB | copies | most that one has alone, torch and all, MB |",
        "|---|---|---|---|",
    ]
    for row in copies:
        lines.append(f"| {row['processes']} | {row['pss_mb']:.0f} | {row['copies']:.2f} | {row['own_mb']:.0f} |")
    print("\n".join(lines))
    if not arguments.quick:
        write_result("size", "Sets larger than memory, and one copy for all", lines)
        epochs = (
            {"drawings": row["drawings"], "epoch": n, "seconds": f"{seconds:.2f}", "peak_mb": f"{row['peak_mb']:.0f}"}
            for row in rows
            for n, seconds in enumerate(row["epoch_seconds"], 1)
        )
        write_csv(result_path("size", ".csv"), ("drawings", "epoch", "seconds", "peak_mb"), epochs)
    growth = rows[-1]["microseconds_per_drawing"] / rows[0]["microseconds_per_drawing"]
    most_copies = max(row["copies"] for row in copies)
    print(
        f"a drawing of {sizes[-1]:,} costs {growth:.2f} times one of {sizes[0]:,} (n = {num_epochs} epochs each, at "
        f"most {MOST_GROWTH}); {most_copies:.2f} copies for up to {NUM_READERS[-1]} processes (at most {MOST_COPIES})"
    )
    return int(growth > MOST_GROWTH or most_copies > MOST_COPIES)


@contextmanager
def memory_limit() -> Iterator[Path | None]:
    """A control group below our own with LIMIT_BYTES for a process and the files that it reads; None if we may not."""
    own = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    paths = [path for _, controllers, path in own if "memory" in controllers.split(",")]
    group = Path("/sys/fs/cgroup/memory" + paths[0]) / f"size-{os.getpid()}" if paths else None
    try:
        if group is not None:
            group.mkdir()
            (group / "memory.limit_in_bytes").write_text(str(LIMIT_BYTES))
    except OSError:
        group = None
    try:
        yield group
    finally:
        if group is not None:
            group.rmdir()


def write_drawings(path: Path, num_images: int, image_px: int) -> None:
    """A uint8 array [num_images, px, px] of sparse dots on disk, and out of the page cache."""
    block = ((np.random.default_rng(0).random((5000, image_px, image_px)) < 0.1) * 255).astype(np.uint8)
    images = np.lib.format.open_memmap(path, "w+", np.uint8, (num_images, image_px, image_px))
    for start in range(0, num_images, len(block)):
        images[start : start + len(block)] = block[: num_images - start]
    images.flush()
    del images
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def measure_epochs(folder: Path, num_images: int, num_epochs: int, limit: Path | None) -> dict[str, Any]:
    """Write a set and train over it in a limited process."""
    path = folder / "drawings.npy"
    write_drawings(path, num_images, 28)
    peak_file = limit / "memory.max_usage_in_bytes" if limit else None
    if peak_file:
        peak_file.write_text("0")  # begin anew

    def enter() -> None:
        if limit:
            (limit / "cgroup.procs").write_text(str(os.getpid()))

    command = [sys.executable, "-m", "benchmarks.size", "--train", str(path), str(num_images), str(num_epochs)]
    output = subprocess.run(command, preexec_fn=enter, stdout=subprocess.PIPE, text=True, check=True).stdout
    result = json.loads(output.splitlines()[-1])
    peak = int(peak_file.read_text()) if peak_file else result["peak_rss"]
    path.unlink()
    row = {
        "drawings": num_images,
        "set_mb": num_images * 28**2 / 1e6,
        "epoch_seconds": result["epoch_seconds"],
        "microseconds_per_drawing": statistics.mean(result["epoch_seconds"]) / num_images * 1e6,
        "peak_mb": peak / 1e6,
    }
    print(row, flush=True)
    return row


def train(path: Path, num_images: int, num_epochs: int) -> dict[str, Any]:
    """Seconds of epochs with every kind of augmentation, after torch has warmed up."""
    import resource

    import torch
    from torch import nn

    from benchmarks.limit import CONFIG
    from tune_sketch.trainables.batches import SplitArrays, TrainingSplits
    from tune_sketch.trainables.speed.devices import keep_freed_memory
    from tune_sketch.trainables.training import fit

    keep_freed_memory()
    torch.set_num_threads(1)
    images = np.load(path, mmap_mode="r")
    labels = np.arange(num_images) % 10
    validation = SplitArrays(images, labels, indices=np.arange(64))
    seconds = []
    for rows, epochs in ((np.arange(1024), 1), (np.arange(num_images), num_epochs)):  # the first only warms up
        model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 28**2, 10))
        splits = TrainingSplits(SplitArrays(images, labels, indices=rows), validation, 10, invert=True)
        config = CONFIG | {"epochs": epochs, "batch_size": 256}
        seconds = [metrics["epoch_seconds"] for metrics, _ in fit(model, splits, config, seed=0)]
    return {"epoch_seconds": seconds, "peak_rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}


def measure_copies(folder: Path, num_images: int) -> list[dict[str, Any]]:
    """How much of the drawings' memory 1, 2, 3 trainings hold together."""
    path = folder / "large.npy"
    write_drawings(path, num_images, 224)
    rows = []
    for num_readers in NUM_READERS:
        command = [sys.executable, "-m", "benchmarks.size", "--read", str(path)]
        readers = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for _ in range(num_readers)
        ]
        for reader in readers:
            assert reader.stdout is not None
            assert reader.stdout.readline() == "read\n"
        pss = sum(map_pss_bytes(reader.pid, path) for reader in readers)
        own = max(psutil.Process(reader.pid).memory_full_info().uss for reader in readers)
        for reader in readers:
            reader.communicate("")
        copies = pss / (num_images * 224**2)
        rows.append({"processes": num_readers, "pss_mb": pss / 1e6, "copies": copies, "own_mb": own / 1e6})
    return rows


def read_and_wait(path: Path) -> None:
    """Read every drawing in random order, as a training does, then keep the map until the parent has looked."""
    import torch

    from tune_sketch.trainables.batches import BatchSource, SplitArrays, shuffled_batches

    images = np.load(path, mmap_mode="r")
    source = BatchSource(SplitArrays(images, np.zeros(len(images), np.int64)), torch.device("cpu"))
    for _ in source.iterate(shuffled_batches(len(images), 64, torch.Generator().manual_seed(os.getpid()))):
        pass
    print("read", flush=True)
    sys.stdin.read()


def map_pss_bytes(pid: int, path: Path) -> int:
    """This process's share of the pages of a mapped file."""
    num_bytes, counted = 0, False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        words = line.split()
        if not words[0].endswith(":"):
            counted = words[-1] == str(path)  # the head of a mapping: its addresses ... and its file
        elif counted and words[0] == "Pss:":
            num_bytes += int(words[1]) * 1024
    return num_bytes


if __name__ == "__main__":
    sys.exit(main())

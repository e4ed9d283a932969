"""How many trainings should share a device, and whether the search's own measurement chooses well."""

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from unittest.mock import patch

import torch

from benchmarks.gpu.context import Case, Context, configure
from benchmarks.gpu.results import Row
from tune_sketch.events import Job
from tune_sketch.trainables.job import time_epoch
from tune_sketch.trainables.speed.throughput import JobTrainings, choose_trials_per_device, measure_packing

TARGET = 0.95  # of the best rate, by the number that is chosen


def cases(context: Context) -> Iterator[Case]:
    yield Case("processes", 70, lambda: compare(context, "processes"))
    if context.device.type == "cuda" and torch.cuda.device_count() > 1:
        yield Case("two cards", 60, lambda: train_on_two(context))
    yield Case("MPS", 60, lambda: with_mps(context))


def compare(context: Context, way: str) -> Iterator[Row]:
    """Drawings per second of 1, 2, ... trainings together; then as a search would choose."""
    sizes = context.sizes
    name = f"{context.sizes.small}, {sizes.small_px} px, {way}"
    rates: dict[int, float] = {}
    with JobTrainings(job_of(context), sizes.share_seconds) as trainings:
        seen = measure_packing(trainings, min(max(sizes.shares), len(os.sched_getaffinity(0))))
        rates |= {number: rate for number, rate in enumerate(seen.images_per_second, start=1)}
        for number in sizes.shares:
            if number not in rates:
                trainings.start(number)
                rates[number] = trainings.images_per_second(number)
    for number, rate in sorted(rates.items()):
        yield Row("sharing", name, f"{number} at once", rate, "images/s")
    if seen.memory_bytes is not None:
        yield Row("sharing", name, "memory of one", seen.memory_bytes[0] / 2**30, "GiB")
    chosen = choose_trials_per_device(list(seen.images_per_second))
    yield Row("sharing", name, "chosen", float(chosen), "trainings at once")
    ratio = rates[chosen] / max(rates.values())
    yield Row("sharing", name, "rate of the chosen number over the best", ratio, at_least=TARGET)


def with_mps(context: Context) -> Iterator[Row]:
    """The same through NVIDIA's server that lets kernels of several processes run at once, where it is allowed."""
    if context.device.type == "cuda" and shutil.which("nvidia-cuda-mps-control") is not None:
        with mps_server() as refusal:
            if not refusal:
                yield from compare(context, "MPS")
                return
    else:
        refusal = "no such program" if context.device.type == "cuda" else "no GPU"
    yield Row(
        "sharing",
        f"{context.sizes.small}, {context.sizes.small_px} px, MPS",
        "1 at once",
        None,
        note=f"no MPS: {refusal}",
    )


@contextlib.contextmanager
def mps_server() -> Iterator[str]:
    """A server of this run's own; yields why there is none."""
    with tempfile.TemporaryDirectory(prefix="mps-") as folder:
        folders = {"CUDA_MPS_PIPE_DIRECTORY": folder, "CUDA_MPS_LOG_DIRECTORY": folder}
        with patch.dict(os.environ, folders):
            control = ["nvidia-cuda-mps-control"]
            answer = subprocess.run([*control, "-d"], capture_output=True, text=True, timeout=20, check=False)
            try:
                yield (answer.stdout + answer.stderr).strip()[-200:] if answer.returncode else ""
            finally:
                if answer.returncode == 0:
                    subprocess.run(control, input="quit\n", text=True, timeout=20, check=False, capture_output=True)


def train_on_two(context: Context) -> Iterator[Row]:
    """Seconds of an epoch of one training with a process on each of two cards, over those with one."""
    job = replace(job_of(context, context.sizes.large, context.sizes.large_px), num_threads=4)
    one, two = time_epoch(job), time_epoch(replace(job, num_processes=2, gpus=2.0))
    yield Row(
        "sharing",
        f"{context.sizes.large}, {context.sizes.large_px} px, two cards",
        "speedup of one training",
        one / two,
    )


def job_of(context: Context, network: str | None = None, image_px: int | None = None) -> Job:
    """The paper's configuration on the drawings."""
    decoded = context.inputs.decoded(image_px or context.sizes.small_px)
    network, batch_size = network or context.sizes.small, context.sizes.batches[0]
    config = configure(network, 1, pretrained=False, recipe=False, batch_size=batch_size, freeze="none")
    return Job(
        key="sharing",
        model=network,
        config=config,
        seed=0,
        data=str(decoded),
        splits=str(decoded / "splits.csv"),
        checkpoints=str(context.folder / "checkpoints"),
        checkpoint_epochs=1,
        stop_file=str(context.folder / "stop"),
        weights=None,
        pretrained=False,
        invert=True,
        frozen_views=0,
        views_seed=0,
        num_threads=1,
        num_processes=1,
        gpus=float(context.device.type == "cuda"),
    )

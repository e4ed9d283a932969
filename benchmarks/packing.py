"""Trials beside each other on one thread each, against one trial on all cores: drawings per second all together.

And one trial, with one thread or all, while another program keeps a core busy.

python -m benchmarks.packing [--quick]     on a GPU: how many trials share it, as a search measures it
"""

import argparse
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import torch

from benchmarks.machine import describe, spread, write_result
from tune_sketch.config.flags import make_settings
from tune_sketch.config.plan import prepare_inputs
from tune_sketch.data.splits import write_splits
from tune_sketch.events import Job
from tune_sketch.search_spaces import SpaceLimits, configuration_of, largest_configuration, paper_configuration
from tune_sketch.trainables.speed.throughput import JobTrainings, choose_trials_per_device, measure_packing

MODELS, IMAGE_PX = ("baseline", "resnet50"), (32, 64)
SCRATCH = tempfile.TemporaryDirectory(prefix="packing-")  # of this process
LEAST_RATIO = 1.0  # of the median rates: the rule of share_of_cores in backend/allocation.py rests on it


def make_job(model: str, image_px: int, num_threads: int, *, largest: bool = False) -> Job:
    """The paper's configuration of a model in batches of 32 (or what takes most memory) on generated doodles."""
    settings = make_settings(model, {"image_px": image_px, "weights": "none", "max_epochs": 1})
    inputs = prepare_inputs(settings)
    limits = SpaceLimits(settings.max_epochs, inputs.weights.pretrained)
    config = configuration_of(model, paper_configuration(model, limits), limits) | {"batch_size": 32}
    splits = Path(SCRATCH.name) / f"splits-{image_px}.csv"
    write_splits(splits, inputs.data, inputs.splits)
    return Job(
        key="packing",
        model=model,
        config=largest_configuration(model, limits) if largest else config,
        seed=0,
        data=inputs.published,
        splits=str(splits),
        checkpoints=f"{SCRATCH.name}/checkpoints",
        checkpoint_epochs=1,
        stop_file=f"{SCRATCH.name}/stop",
        weights=None,
        pretrained=False,
        invert=True,
        frozen_views=0,
        views_seed=0,
        num_threads=num_threads,
        num_processes=1,
        gpus=float(torch.cuda.is_available()),
    )


def measure(model: str, image_px: int, num_cores: int, repetitions: int, seconds: float) -> dict[str, list[float]]:
    """Rates of: one trial with one thread or all, and one per core with one thread each or all each; in turn.

    Then of one trial with one thread or all beside a busy program.
    """
    one_thread, all_threads = (make_job(model, image_px, threads) for threads in (1, num_cores))
    rates: dict[str, list[float]] = {name: [] for name in ("single", "one", "many", "oversubscribed")}
    rates |= {"single beside": [], "one beside": []}
    with JobTrainings(one_thread, seconds) as singles, JobTrainings(all_threads, seconds) as wides:
        singles.start(num_cores)
        wides.start(num_cores)
        for number in range(repetitions):
            rates["single"].append(singles.images_per_second(1))
            rates["one"].append(wides.images_per_second(1))
            rates["many"].append(singles.images_per_second(num_cores))
            if number < 2:
                with busy_program():
                    rates["single beside"].append(singles.images_per_second(1))
                    rates["one beside"].append(wides.images_per_second(1))
                settle()
                rates["oversubscribed"].append(wides.images_per_second(num_cores))
                settle()
    return rates


def settle() -> None:
    """Wait until the trainings stand still: the step in which they were stopped may take seconds."""
    members = [process for process in psutil.Process().children() if process.name().startswith("python")]
    before, now = -1.0, 0.0
    while now > before:
        time.sleep(0.3)
        before, now = now, sum(sum(process.cpu_times()[:2]) for process in members)


@contextmanager
def busy_program() -> Iterator[None]:
    """A program that keeps a core busy, as of another terminal: schedulers weigh sessions, not programs."""
    program = subprocess.Popen([sys.executable, "-c", "while True: pass"], start_new_session=True)
    try:
        yield
    finally:
        program.kill()
        program.wait()


def compare_on_cpu(repetitions: int, seconds: float) -> tuple[list[str], list[float]]:
    """(lines of the table, for each row the median of the ratios of neighbouring measurements)."""
    num_cores = os.cpu_count() or 1
    lines = [
        f"| model, px | 1 trial, 1 thread | 1 trial, {num_cores} threads | {num_cores} trials, 1 thread each | "
        f"{num_cores} trials, {num_cores} threads each | third over second, n = {repetitions} (others: 2) | "
        f"1 thread beside a busy program | {num_cores} threads beside it |",
        "|---|---|---|---|---|---|---|---|",
    ]
    ratios = []
    for model, image_px in itertools.product(MODELS, IMAGE_PX):
        rates = measure(model, image_px, num_cores, repetitions, seconds)
        pairs = [many / one for many, one in zip(rates["many"], rates["one"], strict=True)]
        ratios.append(statistics.median(pairs))
        cells = [spread(found) for found in rates.values()]
        lines.append(f"| {model}, {image_px} | {' | '.join([*cells[:4], spread(pairs), *cells[4:]])} |")
        print(lines[-1], flush=True)
    return lines, ratios


def compare_on_gpu(seconds: float) -> tuple[list[str], list[float]]:
    """(lines of the table, for each row the chosen number's rate over that of one trial)."""
    lines = ["| model, px | drawings per second of 1, 2, ... trials | GiB of one | chosen |", "|---|---|---|---|"]
    ratios = []
    for model, image_px in itertools.product(MODELS, (64, 224)):
        with JobTrainings(make_job(model, image_px, 1, largest=True), seconds) as trainings:
            seen = measure_packing(trainings, os.cpu_count() or 1)
        rates, memory = list(seen.images_per_second), seen.memory_bytes
        number = choose_trials_per_device(rates)
        ratios.append(rates[number - 1] / rates[0])
        used = f"{memory[0] / 2**30:.1f}"
        lines.append(f"| {model}, {image_px} | {', '.join(f'{r:.0f}' for r in rates)} | {used} | {number} |")
        print(lines[-1], flush=True)
    return lines, ratios


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer repetitions; writes no result file")
    arguments = parser.parse_args()
    print(describe(), flush=True)
    repetitions, seconds = (2, 1.0) if arguments.quick else (4, 1.2)
    if torch.cuda.is_available():
        _, ratios = compare_on_gpu(seconds)
    else:
        lines, ratios = compare_on_cpu(repetitions, seconds)
        if not arguments.quick:
            write_result("packing", "Trials beside each other on a CPU, drawings per second all together", lines)
    text = ", ".join(f"{ratio:.2f}" for ratio in ratios)
    print(f"ratios {text} (at least {LEAST_RATIO}), n = {len(ratios)}, {min(ratios):.2f} to {max(ratios):.2f}")
    return 0 if min(ratios) >= LEAST_RATIO else 1


if __name__ == "__main__":
    sys.exit(main())

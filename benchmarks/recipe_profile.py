"""Where an epoch's time goes by the ordinary recipe and by ours: what to compare where their ratio differs.

python -m benchmarks.recipe_profile [--threads N] [MODEL]     prints a table; run it on each processor, in quiet

Each way is trained in a process of its own, without Ray and without loader processes, so that all its work is seen: two
epochs to warm up, some that are timed, and one under torch's profiler.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.against_recipe import CASES, NUM_CORES, our_job, prepare
from benchmarks.against_recipe_report import WAYS
from benchmarks.machine import describe

NUM_WARM, NUM_TIMED = 2, 5  # epochs
SHOWN = 18  # operations
OUTSIDE = "outside torch's operations: decoding, Python"


def main() -> int:
    """Print a column for each way: microseconds of a drawing's training, by operation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", choices=CASES, default="baseline")
    parser.add_argument("--threads", type=int, default=NUM_CORES, help="of torch (default: as many as cores)")
    parser.add_argument("--one", help=argparse.SUPPRESS)  # one way, of a JSON job
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(profile_one(json.loads(arguments.one))))
        return 0
    capability = torch.backends.cpu.get_cpu_capability()
    print(f"{arguments.model}, {arguments.threads} threads, torch for {capability}; {describe()}", flush=True)
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        (per_class, _), _ = CASES[arguments.model]
        job = prepare(arguments.model, Path(folder), per_class, NUM_WARM + NUM_TIMED + 1)
        job |= {"num_threads": arguments.threads, "num_workers": 0}
        for way in WAYS:
            of_way = job | {"way": way, "folder": job["folders"].get(way)}
            command = [sys.executable, "-m", "benchmarks.recipe_profile", "--one", json.dumps(of_way)]
            answer = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            found[way] = json.loads(answer.stdout.splitlines()[-1])
    print("\n".join(tabulate(found)))
    return 0


def profile_one(job: dict[str, Any]) -> dict[str, Any]:
    """Microseconds of a drawing's training: of the wall and of all threads, unprofiled, and by operation, profiled."""
    epochs = epochs_of(job)
    num_drawings = len(job["train"])
    for _ in range(NUM_WARM):
        next(epochs)
    walls, processors = [], []
    for _ in range(NUM_TIMED):
        start, used = time.perf_counter(), time.process_time()
        next(epochs)
        walls.append((time.perf_counter() - start) / num_drawings * 1e6)
        processors.append((time.process_time() - used) / num_drawings * 1e6)
    start = time.perf_counter()
    with profile(activities=[ProfilerActivity.CPU], acc_events=True) as profiled:
        next(epochs)
    wall = (time.perf_counter() - start) / num_drawings * 1e6
    operations = {event.key: event.self_cpu_time_total / num_drawings for event in profiled.key_averages()}
    operations[OUTSIDE] = max(0.0, wall - sum(operations.values()))
    return {"wall": statistics.median(walls), "processor": statistics.median(processors), "operations": operations}


def epochs_of(job: dict[str, Any]) -> Iterator[Any]:
    """The epochs of one way of training."""
    if job["way"] == "ours":
        from tune_sketch.trainables.job import start

        epochs, _ = start(our_job(job))
        return epochs
    from benchmarks.recipe import recipe_epochs

    return recipe_epochs(job)


def tabulate(found: dict[str, dict[str, Any]]) -> list[str]:
    """A line for each operation, the one first that takes most time in any way."""
    names = {name for of_way in found.values() for name in of_way["operations"]}
    most = {name: max(of_way["operations"].get(name, 0.0) for of_way in found.values()) for name in names}
    lines = [
        f"Microseconds of an epoch with its validation, over its training drawings; medians of {NUM_TIMED} epochs in",
        "the first two lines, one epoch under the profiler, which takes time itself, in the others.",
        "",
        f"| | {' | '.join(found)} |",
        "|---" * (len(found) + 1) + "|",
    ]
    for title, key in (("clock", "wall"), ("all threads", "processor")):
        lines.append(f"| {title} | " + " | ".join(f"{of_way[key]:.0f}" for of_way in found.values()) + " |")
    for name in sorted(names, key=lambda name: -most[name])[:SHOWN]:
        cells = [f"{of_way['operations'].get(name, 0.0):.1f}" for of_way in found.values()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    sys.exit(main())

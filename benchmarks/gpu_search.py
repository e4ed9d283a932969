"""One search on one GPU whose trials share it, from the command to the report: how busy the GPU is, how long all takes.

    python -m benchmarks.gpu_search [--data FOLDER]     needs the program installed whole, and a GPU
    python -m benchmarks.gpu_search --rehearse          a GPU that Ray is told of and that is not there

While the search runs nvidia-smi is asked every two seconds (a rehearsal asks for the processor's time). It is told the
card that torch uses; of a slice of a card (MIG) it tells no utilisation, and all else is measured all the same.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from benchmarks.gpu.watching import ask_nvidia_smi
from benchmarks.machine import gpu_name, result_path, spread, write_result
from tune_sketch.storage.files import read_csv, write_csv

Sample = dict[str, float | None]  # seconds since the command began; busy: a fraction; memory_mib; None: nobody tells

SECONDS_BETWEEN = 2.0
TARGET = 0.8  # of the time the GPU should be busy, in the median over the search
SEARCH = "--model resnet50 --image-px 224 --num-samples 24 --max-epochs 27 --finalists 1 --retraining-seeds 1"
REHEARSAL = "--model baseline --classes 4 --per-class 24 --image-px 32 --num-samples 3 --max-epochs 2 --finalists 0"
REHEARSAL += " --retraining-seeds 1 --no-last-step --gpus-per-trial 0.5"  # there is no GPU to measure sharing on
ENVIRONMENT = {"RAY_OVERRIDE_RESOURCES": json.dumps({"GPU": 1})}  # of a rehearsal


def main() -> int:
    """Search, write the result, print the utilisation; 1 below its target, or when the search failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="drawings (default: the generated doodles)")
    parser.add_argument("--rehearse", action="store_true", help="in small, without a GPU; writes no result file")
    arguments = parser.parse_args()
    if not arguments.rehearse and gpu_name() is None:
        parser.error("no GPU that torch can use was found: --rehearse runs it in small without one")
    flags = REHEARSAL.split() if arguments.rehearse else SEARCH.split()
    flags += ["--data", arguments.data] if arguments.data else []
    with tempfile.TemporaryDirectory(prefix="gpu-search-") as folder:
        command = [sys.executable, "-m", "tune_sketch.search", *flags, "--name", "run", "--runs-dir", folder]
        environment = os.environ | (ENVIRONMENT if arguments.rehearse else {})
        begun_at = time.time()
        seconds, code, samples = watch(command, environment, ask_processor if arguments.rehearse else ask_gpu)
        if code:
            print(f"the search ended with exit code {code}")
            return 1
        epochs = read_csv(Path(folder) / "run" / "epochs.csv")
        session = json.loads((Path(folder) / "run" / "search.json").read_text())["sessions"][-1]
    lines, busy = describe(flags, begun_at, seconds, samples, epochs, session)
    print("\n".join(lines))
    if not arguments.rehearse:
        write_csv(result_path("gpu_search", ".csv"), ("seconds", "busy", "memory_mib"), samples)
        write_result("gpu_search", "One search on one GPU", lines)
    if busy is None:
        print("how busy: nobody tells")
        return 0
    print(f"busy {busy:.2f} of the time in the median, n = {len(samples)} samples, target {TARGET}")
    return 0 if arguments.rehearse else int(busy < TARGET)


def watch(
    command: list[str], environment: dict[str, str], ask: Callable[[], Sample]
) -> tuple[float, int, list[Sample]]:
    """(seconds, exit code, samples of the device) of a command."""
    samples: list[Sample] = []
    ended = threading.Event()
    start = time.monotonic()

    def sample() -> None:
        while not ended.wait(SECONDS_BETWEEN):
            samples.append({"seconds": round(time.monotonic() - start, 1)} | ask())

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    code = subprocess.run(command, env=environment, check=False).returncode
    seconds = time.monotonic() - start
    ended.set()
    thread.join()
    return seconds, code, samples


def ask_gpu() -> Sample:
    """The utilisation of the first GPU that torch can use, and its memory in use."""
    percent, memory_mib = ask_nvidia_smi(0, "utilization.gpu", "memory.used")
    return {"busy": None if percent is None else percent / 100, "memory_mib": memory_mib}


def ask_processor() -> Sample:
    """The same of this machine's processor since the last question."""
    return {"busy": psutil.cpu_percent() / 100, "memory_mib": psutil.virtual_memory().used / 2**20}


def describe(
    flags: list[str],
    begun_at: float,
    seconds: float,
    samples: list[Sample],
    epochs: list[dict[str, str]],
    session: dict[str, object],
) -> tuple[list[str], float | None]:
    """(the result's lines, median utilisation between the first and the last epoch of the search's trials).

    begun_at: when the command began, in seconds since 1970, as in epochs.csv. None: nobody tells how busy the GPU was.
    """
    first, last = (choose(float(row["recorded_at"]) for row in epochs) - begun_at for choose in (min, max))
    within = [sample for sample in samples if first <= (sample["seconds"] or 0.0) <= last] or samples
    busy = values_of("busy", within)
    lines = [
        f"`python -m tune_sketch.search {' '.join(flags)}`",
        "",
        f"- from the command to the report: {seconds:.0f} s",
        f"- to the end of the first epoch of a trial: {first:.0f} s",
        f"- {len({row['trial'] for row in epochs})} trials, {len(epochs)} epochs",
        f"- trials on the GPU at once: {describe_sharing(session.get('gpu_sharing'))}",
        f"- GPU busy, between the first and the last epoch: {spread(busy) or 'nobody tells'}",
        f"- memory, MiB: {spread(values_of('memory_mib', within)) or 'nobody tells'}",
        "",
        "| minute | busy, mean |",
        "|---|---|",
    ]
    by_minute: dict[int, list[Sample]] = {}
    for sample in samples:
        by_minute.setdefault(int((sample["seconds"] or 0.0) // 60), []).append(sample)
    for minute, some in by_minute.items():
        told = values_of("busy", some)
        lines.append(f"| {minute} | {f'{statistics.mean(told):.2f}' if told else ''} |")
    return lines, statistics.median(busy) if busy else None


def describe_sharing(sharing: Any) -> str:
    """GPU sharing in words, from search.json."""
    if not sharing or not sharing["images_per_second"]:
        return "as the command says" if not sharing or sharing["reason"] == "no choice" else f"1: {sharing['reason']}"
    rates = ", ".join(f"{rate:,.0f}" for rate in sharing["images_per_second"])
    return f"{sharing['trials_per_gpu']}, for 1, 2, ... trained {rates} drawings per second all together"


def values_of(quantity: str, samples: list[Sample]) -> list[float]:
    """Recorded values of a quantity."""
    return [value for sample in samples if (value := sample[quantity]) is not None]


if __name__ == "__main__":
    sys.exit(main())

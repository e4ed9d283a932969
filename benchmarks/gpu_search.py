"""One search on one GPU whose trials share it, from the command to the report: how busy the GPU is, how long all takes.

    python -m benchmarks.gpu_search [--data FOLDER]     needs the program installed whole, and a GPU
    python -m benchmarks.gpu_search --rehearse          a GPU that Ray is told of and that is not there

While the search runs nvidia-smi is asked every two seconds (a rehearsal asks for the processor's time).
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

import psutil

from benchmarks.machine import gpu_name, result_path, spread, write_result
from tune_sketch.storage.files import read_csv, write_csv

SECONDS_BETWEEN = 2.0
TARGET = 0.8  # of the time the GPU should be busy, in the median over the search
SEARCH = "--model resnet50 --image-px 224 --num-samples 24 --max-epochs 27 --finalists 1 --retraining-seeds 1"
REHEARSAL = "--model baseline --classes 4 --per-class 24 --image-px 32 --num-samples 4 --max-epochs 3 --finalists 0"
REHEARSAL += " --gpus-per-trial 0.5"  # nobody can measure on a GPU that is not there
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
        seconds, code, samples = watch(command, environment, ask_processor if arguments.rehearse else ask_gpu)
        if code:
            print(f"the search ended with exit code {code}")
            return 1
        epochs = read_csv(Path(folder) / "run" / "epochs.csv")
        session = json.loads((Path(folder) / "run" / "search.json").read_text())["sessions"][-1]
    lines, busy = describe(flags, seconds, samples, epochs, session)
    print("\n".join(lines))
    if not arguments.rehearse:
        write_csv(result_path("gpu_search", ".csv"), samples[0], samples)
        write_result("gpu_search", "One search on one GPU", lines)
    print(f"busy {busy:.2f} of the time in the median, n = {len(samples)} samples, target {TARGET}")
    return 0 if arguments.rehearse else int(busy < TARGET)


def watch(
    command: list[str], environment: dict[str, str], ask: Callable[[], dict[str, float]]
) -> tuple[float, int, list[dict[str, float]]]:
    """(seconds, exit code, samples of the device) of a command."""
    samples: list[dict[str, float]] = []
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


def ask_gpu() -> dict[str, float]:
    """The first GPU's utilisation as a fraction, and its memory in use."""
    query = ["nvidia-smi", "--query-gpu=utilization.gpu,memory.used", "--format=csv,noheader,nounits", "--id=0"]
    answer = subprocess.run(query, capture_output=True, text=True, check=True).stdout.split(",")
    return {"busy": float(answer[0]) / 100, "memory_mib": float(answer[1])}


def ask_processor() -> dict[str, float]:
    """The same of this machine's processor since the last question."""
    return {"busy": psutil.cpu_percent() / 100, "memory_mib": psutil.virtual_memory().used / 2**20}


def describe(
    flags: list[str],
    seconds: float,
    samples: list[dict[str, float]],
    epochs: list[dict[str, str]],
    session: dict[str, object],
) -> tuple[list[str], float]:
    """(the result's lines, median utilisation between the first and the last epoch of the search's trials)."""
    first, last = (choose(float(row["recorded_at"]) for row in epochs) for choose in (min, max))
    begun = float(str(session["started_at"]))
    within = [sample for sample in samples if first - begun <= sample["seconds"] <= last - begun] or samples
    busy = statistics.median(sample["busy"] for sample in within)
    sharing = session.get("gpu_sharing")
    lines = [
        f"`python -m tune_sketch.search {' '.join(flags)}`",
        "",
        f"- from the command to the report: {seconds:.0f} s",
        f"- to the first epoch of a trial: {first - begun:.0f} s",
        f"- {len({row['trial'] for row in epochs})} trials, {len(epochs)} epochs",
        f"- trials on the GPU at once: {sharing if isinstance(sharing, dict) else 'as given'}",
        f"- GPU busy, between the first and the last epoch: {spread([sample['busy'] for sample in within])}",
        f"- memory, MiB: {spread([sample['memory_mib'] for sample in within])}",
        "",
        "| minute | busy, mean |",
        "|---|---|",
    ]
    for minute in sorted({int(sample["seconds"] // 60) for sample in samples}):
        some = [sample["busy"] for sample in samples if sample["seconds"] // 60 == minute]
        lines.append(f"| {minute} | {statistics.mean(some):.2f} |")
    return lines, busy


if __name__ == "__main__":
    sys.exit(main())

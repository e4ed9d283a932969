"""Runs the parts within the time, each in a process of its own, and keeps every number as soon as it comes."""

import datetime
import importlib
import multiprocessing
import os
import platform
import re
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import torch
import torchvision

from benchmarks.gpu.context import Context, Sizes
from benchmarks.gpu.inputs import open_inputs
from benchmarks.gpu.results import Note, ResultFile, Row
from benchmarks.machine import cpu_name
from tune_sketch.storage.provenance import find_git_commit
from tune_sketch.trainables.speed.data_parallel import end_with_parent
from tune_sketch.trainables.speed.devices import default_device, keep_freed_memory

# In order of value.
PARTS = ("correct", "first_epoch", "limit", "recipe", "frozen_prefix", "sharing", "more_limits", "accuracy")
RESERVED_SECONDS = 5.0  # for ending: all that is written is on the disk anyway


@dataclass(frozen=True)
class Machine:
    """A part's first message: only there is the device asked, for a process that has cannot be forked."""

    card: str
    where: str


@dataclass(frozen=True)
class Begun:
    """The number of the case that a part begins next."""

    case: int


class NoDeviceError(Exception):
    """There is no GPU that torch can use."""


def measure(parts: tuple[str, ...], sizes: Sizes, inputs: Path, folder: Path, deadline: float) -> int:
    """Each part in a process of its own; after a case that breaks the process, another for the cases that follow."""
    with tempfile.TemporaryDirectory(prefix="gpu-") as scratch:
        run = Run(sizes, inputs, folder, Path(scratch), deadline)
        for part in sorted(parts, key=PARTS.index):
            next_case: int | None = 0
            while next_case is not None:
                if deadline - time.monotonic() < RESERVED_SECONDS:
                    print(f"{part}: no time left", flush=True)
                    break
                try:
                    next_case = run.follow(part, next_case)
                except NoDeviceError:
                    print("no GPU that torch can use was found: --rehearse runs all of it in small without one")
                    return 2
    if run.results is None:
        print("nothing was measured")
        return 1
    # A rehearsal is too small to say how fast anything is.
    lines, good = run.results.verdict(counted=("correct",) if sizes.is_rehearsal else PARTS)
    print(f"\nwritten: {run.results.md} and {run.results.csv}\n")
    print("\n".join(lines))
    return 0 if good else 1


@dataclass
class Run:
    """One command's processes, one after the other, and the file that all of them fill."""

    sizes: Sizes
    inputs: Path
    folder: Path
    scratch: Path
    deadline: float
    results: ResultFile | None = None

    def follow(self, part: str, first_case: int) -> int | None:
        """Run a part from a case on in a new process; the case to go on with when that process broke, else None."""
        context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
        here, there = context.Pipe(duplex=False)
        arguments = (part, first_case, self.sizes, self.inputs, self.scratch, self.deadline, there)
        process = context.Process(target=run_part, args=arguments)
        process.start()
        there.close()
        begun = first_case
        while True:
            if not here.poll(max(0.0, self.deadline - time.monotonic())):
                process.kill()
                if self.results is None:
                    print(f"{part}: ended at the deadline before it said anything", flush=True)
                else:
                    report(self.results, Note(part, "deadline", "ended at the deadline in the middle of a case"))
                break
            try:
                item = here.recv()
            except EOFError:  # the process has ended, and all that it said was read
                break
            if isinstance(item, Machine):
                if item.card == "cpu":
                    process.kill()
                    raise NoDeviceError
                self.results = self.results or ResultFile(self.folder, item.card, item.where)
            elif isinstance(item, Begun):
                begun = item.case
            else:
                assert self.results is not None
                report(self.results, item)
        process.join()
        if not process.exitcode or self.results is None or self.deadline <= time.monotonic():
            return None
        text = f"its process ended with code {process.exitcode}"
        report(self.results, Note(part, f"case {begun + 1}", text, is_error=True))
        return begun + 1


def report(results: ResultFile, item: object) -> None:
    """Keep and print one row or note."""
    assert isinstance(item, Row | Note)
    results.add(item)
    left = "" if isinstance(item, Note) else f": {item.quantity}: {item.value if item.value is not None else item.note}"
    text = item.text if isinstance(item, Note) and item.is_error else ""
    print(f"{item.part}, {item.case}{left} {text}".rstrip(), flush=True)


def run_part(
    part: str, first_case: int, sizes: Sizes, inputs: Path, scratch: Path, deadline: float, results: Connection
) -> None:
    """The cases of a part that still fit into the time. What one of them raises is kept, and the next one begins."""
    threading.Thread(target=end_with_parent, daemon=True).start()
    keep_freed_memory()
    if sizes.is_rehearsal:
        torch.set_num_threads(1)
    device = torch.device(default_device())
    results.send(describe_machine(device, sizes))
    (scratch / part).mkdir(exist_ok=True)
    opened = open_inputs(inputs, scratch / "inputs", sizes.num_classes, sizes.per_class)
    if opened.fallback:
        results.send(Note(part, "drawings", opened.fallback))
    context = Context(device, sizes, opened, scratch / part)
    module = importlib.import_module(f"benchmarks.gpu.{part}")
    for number, case in enumerate(module.cases(context)):
        if number < first_case:
            continue
        results.send(Begun(number))
        left = deadline - time.monotonic() - RESERVED_SECONDS
        if left < (1.0 if sizes.is_rehearsal else case.seconds):
            results.send(Note(part, case.name, f"not begun: {left:.0f} s were left, it may take {case.seconds:.0f}"))
            continue
        start = time.monotonic()
        try:
            for item in case.run():
                results.send(item)
        except Exception:
            results.send(Note(part, case.name, describe_error(), is_error=True))
        print(f"{part}, {case.name}: {time.monotonic() - start:.1f} s", flush=True)
        if device.type == "cuda":
            torch.cuda.empty_cache()


def describe_error() -> str:
    """The traceback of the error being handled, without the folders of this machine."""
    return re.sub(
        r'File "[^"]*?/((?:benchmarks|tests|tune_sketch|site-packages)/)', r'File "\1', traceback.format_exc()
    )


def describe_machine(device: torch.device, sizes: Sizes) -> Machine:
    """The card, its driver, versions, commit and date."""
    versions = f"python {platform.python_version()}, torch {torch.__version__}, torchvision {torchvision.__version__}"
    versions += f", numpy {np.__version__}"
    num_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    cores = f"{num_cores} cores of {cpu_name()}"
    commit = (find_git_commit() or "no commit")[:10]
    card = "cpu" if device.type == "cpu" else device.type
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        card = properties.name
        gib = properties.total_memory / 2**30
        versions = f"{gib:.0f} GiB, CUDA {torch.version.cuda}, driver {driver_version()}, {versions}"
    if sizes.is_rehearsal:
        card += " rehearsal"
    return Machine(card, f"{card}, {cores}; {versions}; {commit}; {datetime.date.today()}")


def driver_version() -> str:
    """As nvidia-smi says."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return answer.stdout.split("\n")[0].strip()

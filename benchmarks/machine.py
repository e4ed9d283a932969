"""Says on which machine, with which versions and when a result was measured, and writes it."""

import datetime
import os
import platform
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tune_sketch.storage.files import read_csv
from tune_sketch.storage.provenance import find_git_commit, find_version

RESULTS = Path(__file__).parent / "results"


def cpu_name() -> str:
    """The processor's name, where the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def gpu_name() -> str | None:
    """The GPU's name, if there is one that torch can use."""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def result_path(name: str, suffix: str) -> Path:
    """results/NAME-cpu.SUFFIX, or NAME-gpu.SUFFIX where there is a GPU."""
    return RESULTS / f"{name}-{'gpu' if gpu_name() else 'cpu'}{suffix}"


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Rows that earlier runs have put into a result's CSV, as text; none where there is no file."""
    return list(read_csv(path)) if path.exists() else []


def describe() -> str:
    """Machine, versions, commit and date in one line."""
    found = {name: find_version(name) for name in ("ray", "optuna", "torch")}
    versions = ", ".join(f"{name} {number}" for name, number in found.items() if number)
    cores = f"{os.cpu_count()} cores of {cpu_name()}, {gpu_name() or 'no GPU'}"
    commit = (find_git_commit() or "no commit")[:10]
    return f"{cores}; python {platform.python_version()}, {versions}; {commit}; {datetime.date.today()}"


def busy_seconds() -> float:
    """CPU time that all programs of this machine have used."""
    import psutil

    times = psutil.cpu_times()
    return times.user + times.nice + times.system


def cpu_seconds(pid: int) -> dict[int, float]:
    """CPU time of each process of a tree; what one used between the last look and its end is missing."""
    import psutil  # which a bare machine with a GPU lacks

    seconds = {}
    for process in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True)):
        try:
            times = process.cpu_times()
            seconds[process.pid] = times.user + times.system
        except psutil.NoSuchProcess:
            continue
    return seconds


def spread(values: Sequence[float]) -> str:
    """Median (least to most), in three figures or whole numbers."""
    if not values:
        return ""
    three = (statistics.median(values), min(values), max(values))
    return "{} ({} to {})".format(*(f"{value:,.0f}" if value >= 100 else f"{value:.3g}" for value in three))


def write_result(name: str, title: str, lines: list[str], command: str | None = None) -> Path:
    """Write results/NAME-cpu.md, or -gpu.md: what was measured, where, and the table. command: if not NAME."""
    path = result_path(name, ".md")
    path.write_text(
        "\n".join([f"# {title}", "", f"`python -m benchmarks.{command or name}`; {describe()}", "", *lines, ""])
    )
    return path

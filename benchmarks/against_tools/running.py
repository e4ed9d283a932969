"""Runs one tool in a process of its own, and measures its wall-clock time and its process tree's CPU time."""

import json
import os
import resource
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.against_tools.cases import Tool
from benchmarks.machine import busy_seconds, cpu_seconds

TOOLS_FOLDER = Path(__file__).parent / "tools"
MOST_TIMES = 3.0  # a tool that takes longer than this many budgets, and the minutes below, is ended
MORE_SECONDS = 900.0


class Budget(NamedTuple):
    """How long a tool may work. kind: "wall" or "cpu" seconds; wall_seconds: for tools that know no CPU time."""

    kind: str
    seconds: float
    wall_seconds: float


class Measured(NamedTuple):
    """The cost and the answer of one run. others: share of the processors that other programs took."""

    wall_seconds: float
    cpu_seconds: float
    others: float
    answer: dict[str, Any]


def run_tool(tool: Tool, python: Path, task: dict[str, Any], budget: Budget, work: Path) -> Measured:
    """One run. task: folder, weights, image_px and seed. Raises ValueError with the end of its log where it fails."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    job, out, log = work / "job.json", work / "answer.json", work / "log.txt"
    num_cores = len(os.sched_getaffinity(0))
    task = task | {"out": str(out), "work": str(work / "files"), "num_cores": num_cores, "options": tool.options}
    (work / "files").mkdir()
    before, busy, start = ended_children_seconds(), busy_seconds(), time.time()
    job.write_text(json.dumps(task | budget._asdict() | {"started": start}))
    seen: dict[int, float] = {}
    with log.open("w") as file:
        process = subprocess.Popen(
            [str(python), str(TOOLS_FOLDER / f"{tool.script}.py"), str(job)],
            stdout=file,
            stderr=subprocess.STDOUT,
            cwd=work,
            start_new_session=True,
        )
        try:
            while process.poll() is None:
                seen |= look(process.pid)
                if time.time() - start > MOST_TIMES * budget.wall_seconds + MORE_SECONDS:
                    raise ValueError(f"did not end in {time.time() - start:.0f} s")
                time.sleep(0.5)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, 9)
                process.wait()
    wall = time.time() - start
    # Of two counts, each of which misses something: what was seen of processes, and what ended ones told their parents.
    cpu = max(sum(seen.values()), ended_children_seconds() - before)
    others = max(0.0, (busy_seconds() - busy - cpu) / wall / num_cores)
    if process.returncode or not out.exists():
        last = " | ".join(log.read_text(errors="replace").strip().splitlines()[-3:])
        raise ValueError(f"exit code {process.returncode}: {last[-300:]} ({log})")
    return Measured(wall, cpu, others, json.loads(out.read_text()))


def look(pid: int) -> dict[int, float]:
    """CPU seconds of the processes of a tree; nothing where it has just ended."""
    import psutil

    try:
        return cpu_seconds(pid)
    except psutil.NoSuchProcess:
        return {}


def ended_children_seconds() -> float:
    """CPU time of all descendants that have ended and were waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime

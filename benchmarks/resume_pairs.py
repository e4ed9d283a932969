"""Whether resuming is as fast as in another checkout.

    python -m benchmarks.resume_pairs NAME FOLDER PYTHON [--rounds N]

Runs `benchmarks.resume --quick` of FOLDER, by its own PYTHON, and of this checkout in turns, so that what the machine
does besides meets both. NAME is what the table calls the other one.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
from pathlib import Path

from benchmarks.machine import result_path, write_result
from tune_sketch.statistics import t_interval
from tune_sketch.storage.files import write_csv

ROOT = Path(__file__).parent.parent
STARTS = {"resume": "resumed with", "new": "a new search"}


def measure(folder: Path, python: str) -> dict[str, float]:
    """Median seconds to the first new epoch, of a resume and of a new search."""
    answer = subprocess.run(
        [python, "-m", "benchmarks.resume", "--quick"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    found = {}
    for name, begin in STARTS.items():
        row = re.search(rf"^\| {begin}[^|]*\| ([\d.]+) / ([\d.]+) / ([\d.]+) \| (\d+) \|$", answer.stdout, re.MULTILINE)
        if row is None:
            raise ValueError(f"benchmarks.resume in {folder} printed no row for {begin!r}: {answer.stderr[-500:]}")
        found[name] = statistics.mean((float(row[1]), float(row[3])))  # of two
    return found


def main() -> int:
    """Measure in turns and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("folder", type=Path)
    parser.add_argument("python")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    rows = []
    for number in range(1, arguments.rounds + 1):
        sides = {arguments.name: (arguments.folder, arguments.python), "this": (ROOT, sys.executable)}
        order = list(sides) if number % 2 else list(sides)[::-1]
        measured = {side: measure(*sides[side]) for side in order}
        for what in STARTS:
            rows.append(
                {"round": number, "what": what, "other": measured[arguments.name][what], "this": measured["this"][what]}
            )
            print(rows[-1], flush=True)
        write(rows, arguments.name)
    return 0


def write(rows: list[dict[str, float | int | str]], name: str) -> None:
    """The CSV file and the page of what is there so far."""
    lines = [
        "Seconds to the first new epoch, mean of two; the record is read when something was written, on both sides.",
        "Difference: this minus the other, mean over rounds with Student's t interval.",
        "",
        f"| what | rounds | {name} | this | difference [95 %] |",
        "|---|---|---|---|---|",
    ]
    for what in STARTS:
        own = [row for row in rows if row["what"] == what]
        sides = [[float(row[side]) for row in own] for side in ("other", "this")]
        differences = [now - before for before, now in zip(*sides, strict=True)]
        between = t_interval(differences)
        interval = f" [{between[0]:+.2f}, {between[1]:+.2f}]" if between else ""
        means = " | ".join(f"{statistics.mean(values):.2f}" for values in sides)
        lines.append(f"| {what} | {len(own)} | {means} | {statistics.mean(differences):+.2f}{interval} |")
    write_csv(result_path("resume_pairs", ".csv"), ("round", "what", "other", "this"), rows)
    write_result("resume_pairs", "Resuming, beside an earlier version", lines)


if __name__ == "__main__":
    sys.exit(main())

"""Whether searches resume, and trials start, as fast as in another checkout.

    python -m benchmarks.resume_pairs NAME FOLDER PYTHON [--rounds N] [--what resume trial_start]

Runs `benchmarks.resume --quick` or `benchmarks.trial_start --quick` of FOLDER, by its own PYTHON, and of this checkout
in turns, so that what the machine does besides meets both. NAME is what the table calls the other one.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
from pathlib import Path

from benchmarks.machine import read_rows, result_path, write_result
from tune_sketch.statistics import t_interval
from tune_sketch.storage.files import write_csv

ROOT = Path(__file__).parent.parent
NUMBER = r"([\d.]+)"
# By benchmark: {what of its rows is compared: a pattern of the row, whose numbers are averaged}.
BENCHMARKS = {
    "resume": {
        "resume": rf"\| resumed with[^|]*\| {NUMBER} / [\d.]+ / {NUMBER} \|",
        "a new search": rf"\| a new search[^|]*\| {NUMBER} / [\d.]+ / {NUMBER} \|",
    },
    "trial_start": {
        "a later trial": rf"\| ours \| {NUMBER} \|",
        "a first trial": rf"\| ours \|[^|]*\|[^|]*\| {NUMBER} \|",
    },
}


def measure(benchmark: str, folder: Path, python: str) -> dict[str, float]:
    """Seconds of each of its rows."""
    answer = subprocess.run(
        [python, "-m", f"benchmarks.{benchmark}", "--quick"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    found = {}
    for what, pattern in BENCHMARKS[benchmark].items():
        row = re.search(pattern, answer.stdout)
        if row is None:
            raise ValueError(f"benchmarks.{benchmark} in {folder} printed no row of {what}: {answer.stderr[-500:]}")
        found[what] = statistics.mean(map(float, row.groups()))
    return found


def main() -> int:
    """Measure in turns and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("folder", type=Path)
    parser.add_argument("python")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--what", nargs="+", choices=BENCHMARKS, default=list(BENCHMARKS))
    arguments = parser.parse_args()
    replaced = {what for benchmark in arguments.what for what in BENCHMARKS[benchmark]}
    kept = read_rows(result_path("resume_pairs", ".csv"))
    rows: list[dict[str, float | int | str]] = [row for row in kept if row["what"] not in replaced]
    for number in range(1, arguments.rounds + 1):
        sides = {arguments.name: (arguments.folder, arguments.python), "this": (ROOT, sys.executable)}
        order = list(sides) if number % 2 else list(sides)[::-1]
        for benchmark in arguments.what:
            measured = {side: measure(benchmark, *sides[side]) for side in order}
            for what, seconds in measured["this"].items():
                rows.append({"round": number, "what": what, "other": measured[arguments.name][what], "this": seconds})
                print(rows[-1], flush=True)
        write(rows, arguments.name)
    return 0


def write(rows: list[dict[str, float | int | str]], name: str) -> None:
    """The CSV file and the page of what is there so far."""
    lines = [
        "Seconds from the command to the first new epoch, mean of two, where the record is read when something was",
        "written, on both sides; and from a proposal to its first step, of trials that wait for a process to begin and",
        "of later ones, medians. Difference: this minus the other, mean over rounds with Student's t interval.",
        "",
        f"| what | rounds | {name} | this | difference [95 %] |",
        "|---|---|---|---|---|",
    ]
    for what in dict.fromkeys(row["what"] for row in rows):
        own = [row for row in rows if row["what"] == what]
        sides = [[float(row[side]) for row in own] for side in ("other", "this")]
        differences = [now - before for before, now in zip(*sides, strict=True)]
        between = t_interval(differences)
        interval = f" [{between[0]:+.3f}, {between[1]:+.3f}]" if between else ""
        means = " | ".join(f"{statistics.mean(values):.3f}" for values in sides)
        lines.append(f"| {what} | {len(own)} | {means} | {statistics.mean(differences):+.3f}{interval} |")
    write_csv(result_path("resume_pairs", ".csv"), ("round", "what", "other", "this"), rows)
    write_result("resume_pairs", "Resuming, beside an earlier version", lines)


if __name__ == "__main__":
    sys.exit(main())

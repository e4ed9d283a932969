"""Attacks tried against a search, and those that failed: counted by tests, kept in a CSV file, shown as a table."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.kill_rows import read_rows

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "attacks-machine.csv"
KILLS = ROOT / "benchmarks" / "results" / "kills-cpu.csv"
PAGE = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- tries: written by python -m pytest --write-tries -->", "<!-- end of tries -->"


def put_between(page: Path, begin: str, end: str, lines: Sequence[str]) -> None:
    """Put lines between two marks of a page, in the place of what is there."""
    before, _, rest = page.read_text().partition(begin)
    assert rest, f"{page} has no {begin}"
    page.write_text(before + begin + "\n" + "\n".join(lines) + "\n" + end + rest.partition(end)[2])


def write_tries(counts: Mapping[str, tuple[int, int]]) -> None:
    """Write the CSV file, and into the page its table, with the kills that are on record. counts: (tried, held)."""
    with RESULTS.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([("what", "tried", "held"), *((what, *both) for what, both in counts.items())])
    kills = read_rows(KILLS)[0]
    num_harmless = sum(not (kill.lost_epochs or kill.changed_epochs or kill.redone_epochs) for kill in kills)
    killed = "processes of a search killed ([table](../benchmarks/results/kills-cpu.md))"
    all_counts = {**counts, killed: (len(kills), num_harmless)}
    lines = ["| what | tried | refused or survived |", "|---|---|---|"]
    lines += [f"| {what} | {tried:,} | {held:,} |" for what, (tried, held) in all_counts.items()]
    put_between(PAGE, BEGIN, END, lines)

"""Kills, and what each cost: kept in a CSV file, shown as a table."""

import csv
import dataclasses
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Kill:
    """One kill and what it cost."""

    place: str
    at_seconds: float  # since the search was started or resumed
    lost_epochs: int = 0  # recorded before and missing later: must be 0
    changed_epochs: int = 0  # recorded before and written a second time: must be 0
    redone_epochs: int = 0  # recorded, but without a checkpoint: to be trained again, must be 0
    begun_epochs: int | None = 0  # at work when the kill came, at most: begun anew. None: not measured
    redone_seconds: float | None = 0.0  # of training in these, at most


FIELDS = dataclasses.fields(Kill)


def table(kills: Sequence[Kill], resume_seconds: Sequence[float], num_searches: int) -> str:
    """The cost of kills, one row per place, as Markdown."""
    must_be_0 = ("lost_epochs", "changed_epochs", "redone_epochs")
    lines = [
        "| killed | kills | epochs lost | recorded twice | trained again though recorded "
        "| epochs in progress begun anew | seconds of training to do again |",
        "|---|---|---|---|---|---|---|",
    ]
    for place in [*sorted({kill.place for kill in kills}), "all"]:
        rows = [kill for kill in kills if place in (kill.place, "all")]
        sums = [sum(getattr(kill, name) for kill in rows) for name in must_be_0]
        begun = spread([kill.begun_epochs for kill in rows if kill.begun_epochs is not None], "d")
        seconds = spread([kill.redone_seconds for kill in rows if kill.redone_seconds is not None], ".2f")
        lines.append(f"| {place} | {len(rows)} | {sums[0]} | {sums[1]} | {sums[2]} | {begun} | {seconds} |")
    lines.append("")
    lines.append(
        f"Spreads are least / median / most per kill, over {num_searches} searches. From the command to the first new "
        f"epoch: {spread(resume_seconds, '.1f')} s (n = {len(resume_seconds)})."
    )
    return "\n".join(lines)


def spread(values: Sequence[float], form: str) -> str:
    """Least / median / most."""
    if not values:
        return "-"
    return " / ".join(format(value, form) for value in (min(values), statistics.median_high(values), max(values)))


def append_rows(path: Path, seed: int, kills: Sequence[Kill], resume_seconds: Sequence[float]) -> None:
    """Add to the CSV file: kills of a search, and how long resumes took (`place` is then "resume")."""
    new = not path.exists()
    with open(path, "a", newline="") as file:
        writer = csv.DictWriter(file, ["seed", *(field.name for field in FIELDS)], lineterminator="\n")
        if new:
            writer.writeheader()
        for kill in kills:
            writer.writerow({"seed": seed} | dataclasses.asdict(kill))
        for seconds in resume_seconds:
            writer.writerow({"seed": seed, "place": "resume", "at_seconds": seconds})


def read_rows(path: Path) -> tuple[list[Kill], list[float], int]:
    """(kills, seconds from command to first new epoch, number of searches) of a CSV file."""
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    kinds: dict[str, type] = {field.name: float if "seconds" in field.name else int for field in FIELDS[1:]}
    kills = [
        Kill(row["place"], **{name: kind(row[name]) if row[name] else None for name, kind in kinds.items()})
        for row in rows
        if row["place"] != "resume"
    ]
    resumes = [float(row["at_seconds"]) for row in rows if row["place"] == "resume"]
    return kills, resumes, len({row["seed"] for row in rows})

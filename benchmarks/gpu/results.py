"""Keeps what was measured: one row per quantity, written after every row, with the targets' ratios to print last."""

import math
import re
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from benchmarks.machine import read_rows
from tune_sketch.storage.files import write_csv, write_text

Key = tuple[str, str, str]


@dataclass(frozen=True)
class Row:
    """One quantity of one case: its median or only value with the spread of n measurements, and its target."""

    part: str
    case: str
    quantity: str
    value: float | None  # None: not measured, and the note says why
    unit: str = ""
    lowest: float | None = None
    highest: float | None = None
    n: int = 1
    at_least: float | None = None
    at_most: float | None = None
    note: str = ""
    where: str = ""  # machine, versions, commit, date

    @property
    def key(self) -> Key:
        return self.part, self.case, self.quantity

    @property
    def misses(self) -> bool:
        """Whether the value is on the wrong side of its target; NaN is on no right side."""
        if self.value is None:
            return False
        meets_least = self.at_least is None or self.value >= self.at_least
        return not (meets_least and (self.at_most is None or self.value <= self.at_most))

    @property
    def has_target(self) -> bool:
        return self.at_least is not None or self.at_most is not None


@dataclass(frozen=True)
class Note:
    """Text of a part that is no row: a table, or what went wrong."""

    part: str
    case: str
    text: str
    is_error: bool = False


def spread_of(values: Sequence[float]) -> dict[str, float | int]:
    """Median, lowest, highest and n, as a Row has them."""
    return {"value": statistics.median(values), "lowest": min(values), "highest": max(values), "n": len(values)}


class ResultFile:
    """gpu-CARD.csv and gpu-CARD.md in a folder. Rows of an earlier run stay until they are measured anew; its
    notes do not.
    """

    def __init__(self, folder: Path, card: str, where: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        name = re.sub(r"[^a-z0-9]+", "-", card.lower()).strip("-")
        self.csv, self.md = folder / f"gpu-{name}.csv", folder / f"gpu-{name}.md"
        self.card, self.where = card, where
        self.rows: dict[Key, Row] = {row.key: row for row in map(parse_row, read_rows(self.csv))}
        self.notes: dict[tuple[str, str], Note] = {}
        self.new: list[Key] = []

    def add(self, item: Row | Note) -> None:
        """Keep a row or note, and write both files."""
        if isinstance(item, Note):
            self.notes[item.part, item.case] = item
        else:
            row = Row(**(asdict(item) | {"where": self.where}))
            if row.value is not None or row.key not in self.rows:  # what was not measured replaces no number
                self.rows[row.key] = row
                self.new.append(row.key)
        names = [field.name for field in fields(Row)]
        write_csv(self.csv, names, ({n: cell(v) for n, v in asdict(row).items()} for row in self.rows.values()))
        write_text(self.md, "\n".join([*self.lines(), ""]))

    def lines(self) -> list[str]:
        """The Markdown: a table for each part, then its notes."""
        lines = [f"# {self.card}", "", f"`python -m benchmarks.gpu`; latest run: {self.where}"]
        for part in dict.fromkeys(
            [row.part for row in self.rows.values()] + [note.part for note in self.notes.values()]
        ):
            lines += ["", f"## {part}"]
            table = [table_line(row) for row in self.rows.values() if row.part == part]
            if table:
                lines += ["", "| case | what | value | lowest .. highest | n | target | note |"]
                lines += ["|---|---|---|---|---|---|---|", *table]
            for note in (note for note in self.notes.values() if note.part == part):
                text = note.text.rstrip()
                lines += ["", f"{note.case}:", "", "```", text, "```"] if "\n" in text else ["", f"{note.case}: {text}"]
        return lines

    def verdict(self, counted: Sequence[str]) -> tuple[list[str], bool]:
        """(a line for each target of this run, whether nothing failed and no target is missed of the parts counted)."""
        lines, good = [], not any(note.is_error for note in self.notes.values())
        for row in (self.rows[key] for key in dict.fromkeys(self.new)):
            if not row.has_target:
                continue
            said = "not measured" if row.value is None else "missed" if row.misses else "met"
            good = good and not (row.misses and row.part in counted)
            lines.append(f"{row.part}, {row.case}, {row.quantity}: {value_text(row)} ({target_text(row)}): {said}")
        for note in self.notes.values():
            if note.is_error:
                lines.append(f"{note.part}, {note.case}: FAILED: {note.text.strip().splitlines()[-1]}")
        return lines, good


def table_line(row: Row) -> str:
    between = "" if row.lowest is None else f"{number_text(row.lowest)} .. {number_text(row.highest)}"
    value = "" if row.value is None else f"{number_text(row.value)} {row.unit}".strip()
    return f"| {row.case} | {row.quantity} | {value} | {between} | {row.n} | {target_text(row)} | {row.note} |"


def value_text(row: Row) -> str:
    if row.value is None:
        return row.note
    between = "" if row.lowest is None else f" [{number_text(row.lowest)}, {number_text(row.highest)}]"
    return f"{number_text(row.value)} {row.unit}".strip() + f"{between}, n = {row.n}"


def target_text(row: Row) -> str:
    bounds = (("at least", row.at_least), ("at most", row.at_most))
    return ", ".join(f"{words} {bound:g}" for words, bound in bounds if bound is not None)


def number_text(value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def cell(value: object) -> object:
    return "" if value is None else f"{value:.7g}" if isinstance(value, float) else value


def parse_row(cells: dict[str, str]) -> Row:
    """A row out of the CSV's text."""
    numbers = ("value", "lowest", "highest", "at_least", "at_most")
    parsed = {name: float(cells[name]) if cells[name] else None for name in numbers}
    return Row(**(cells | parsed | {"n": int(cells["n"])}))

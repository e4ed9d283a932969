"""Describes a table, and writes it as a CSV file and onto the page."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from tune_sketch.analysis.rows import Rows, write_rows
from tune_sketch.analysis.run_data import RunData

Subject = TypeVar("Subject", RunData, Sequence[RunData])  # one run, or several side by side


@dataclass(frozen=True)
class Table(Generic[Subject]):
    """One table: rows for its CSV file (fractions, seconds; none: nothing to show yet), and their text on the page."""

    name: str  # of its file figures/NAME.csv
    section: str  # one of the report's SECTIONS
    title: str
    caption: str
    rows: Callable[[Subject], Rows]
    show: Callable[[Rows], Rows]
    is_long: bool = False  # scrolls in its own box, and can be sorted
    needs_data: bool = False  # cannot be made where the decoded drawings are gone
    is_of_all: bool = False  # of the section "search", but about every network of a search over several


@dataclass(frozen=True)
class ShownTable:
    """A table as the page shows it."""

    name: str
    section: str
    title: str
    caption: str
    csv: str  # path relative to the report
    columns: list[str]
    cells: list[list[str]]
    is_long: bool


def write_table(table: Table[Subject], rows: Rows, folder: Path, relative_to: Path) -> ShownTable:
    """Write a table's rows as CSV, and make the text of its cells."""
    path = folder / f"{table.name}.csv"
    write_rows(path, rows)
    shown = table.show(rows)
    columns = list(dict.fromkeys(name for row in shown for name in row))
    return ShownTable(
        name=table.name,
        section=table.section,
        title=table.title,
        caption=table.caption,
        csv=path.relative_to(relative_to).as_posix(),
        columns=columns,
        cells=[["" if row.get(name) is None else str(row[name]) for name in columns] for row in shown],
        is_long=table.is_long,
    )


def write_tables(
    tables: Sequence[Table[Subject]], subject: Subject, folder: Path, relative_to: Path
) -> list[ShownTable]:
    """Write each table that has any row."""
    found = [(table, table.rows(subject)) for table in tables]
    return [write_table(table, rows, folder, relative_to) for table, rows in found if rows]

"""The numbers behind a figure or a table: rows by column name, as they are written to its CSV file."""

from pathlib import Path
from typing import Any

from tune_sketch.storage.files import write_csv

# Each figure and table has its own columns, of numbers and words, so a row is a dictionary: what csv.DictWriter takes.
Row = dict[str, Any]
Rows = list[Row]


def write_rows(path: Path, rows: Rows) -> None:
    """Write rows as a CSV file with every column that any of them has, and make its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_csv(path, dict.fromkeys(name for row in rows for name in row), rows)

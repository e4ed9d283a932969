"""Writes files whole or not at all, and reads them back: text, JSON and CSV."""

import contextlib
import csv
import io
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from tune_sketch.data.bounds import MAX_TABLE_BYTES, parsing, read_regular
from tune_sketch.data.names import from_cell, to_cell

Row = dict[str, Any]  # of a CSV file: values by column


@contextlib.contextmanager
def replace_whole(path: Path) -> Iterator[TextIO]:
    """A file to write that takes the place of `path` when it is whole and on the disk, or else leaves the old one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "w", encoding="utf-8", newline="") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)  # on a full disk it would keep others from writing


@contextlib.contextmanager
def replace_folder(path: Path) -> Iterator[Path]:
    """A new folder to fill that takes the place of `path` when all is well, or else leaves the old one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        if path.exists():
            shutil.rmtree(path)
        os.replace(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write a whole file or leave the old one."""
    with replace_whole(path) as file:
        file.write(text)


def to_json_text(value: Any) -> str:
    """JSON as it is written in a run directory: readable, and the same for the same value."""
    return json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n"


def write_json(path: Path, value: Any) -> None:
    """Write a whole JSON file or leave the old one."""
    write_text(path, to_json_text(value))


def write_csv(path: Path, columns: Iterable[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a whole CSV file or leave the old one. A value that a row lacks is an empty cell.

    Text that a spreadsheet would run begins with an apostrophe, see `to_cell`.
    """
    with replace_whole(path) as file:
        writer = csv.DictWriter(file, list(columns), lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: to_cell(value) for name, value in row.items()} for row in rows)


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file as text. Raises ValueError where it is damaged, as by a row without all cells."""
    with parsing(path):
        rows = csv.DictReader(io.StringIO(read_regular(path, MAX_TABLE_BYTES).decode(), newline=""))
        return [{name: from_cell(cell) for name, cell in row.items()} for row in rows]

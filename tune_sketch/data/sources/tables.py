"""Reads tables that name drawings with their class, split and group, and finds the drawings that they name."""

import csv
import hashlib
import io
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tune_sketch.data.bounds import MAX_TABLE_BYTES, open_regular, read_regular
from tune_sketch.data.names import from_cell, written_name

# What people call the columns, the likeliest first.
_COLUMNS = {
    "image": (
        *("image", "file", "filename", "file_name", "path", "filepath", "file_path", "image_path", "image_name"),
        *("img", "picture", "drawing", "name", "image_id", "id"),
    ),
    "class": ("class", "label", "class_name", "category", "labels", "target"),
    "split": ("split", "subset", "partition", "set"),
    "group": ("group", "photo"),
}
SPLIT_WORDS = {
    **{word: "train" for word in ("train", "training")},
    **{word: "validation" for word in ("val", "valid", "validation", "dev")},
    **{word: "test" for word in ("test", "testing")},
}
TABLE_SUFFIXES = (".csv", ".tsv")
_NUM_SHOWN = 5


@dataclass(frozen=True)
class Row:
    """A table's entry for a drawing; empty where it says nothing."""

    class_name: str = ""
    split: str = ""
    group: str = ""

    def __str__(self) -> str:
        known = {"class": self.class_name, "split": self.split, "group": self.group}
        return ", ".join(f"{name} {value}" for name, value in known.items() if value)


@dataclass(frozen=True)
class Table:
    """A table that names drawings.

    rows: name of a drawing as it is written there -> what is said about it. group_column: where its groups come from.
    """

    path: Path
    sha256: str
    rows: dict[str, Row]
    has_classes: bool
    has_splits: bool
    group_column: str | None = None
    num_repeated: int = 0  # rows that say again what another one said

    @property
    def text(self) -> str:
        return f"{self.path.name} (sha256 {self.sha256[:12]})"


def read_header(path: Path) -> dict[str, int]:
    """{"image", "class", "split" or "group": position} of the columns that a table has; none for another file."""
    try:
        with open_regular(path) as file:
            head = _read_text(file.read(1 << 16))
        return _find_columns(_first_row(head))
    except (OSError, ValueError, csv.Error):
        return {}


def read_table(path: Path, group_by: str | None = None) -> Table:
    """Read a table with a line of column names. group_by: the column of groups, if the table has one of that name.

    Raises ValueError that says what is wrong where.
    """
    try:
        content = read_regular(path, MAX_TABLE_BYTES)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}") from error
    try:
        text = _read_text(content)
        names = _first_row(text)
        lines = list(csv.reader(io.StringIO(text, newline=None), delimiter=_delimiter(text), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is no table of text: {error}") from error
    columns = _find_columns(names)
    if "image" not in columns or not {"class", "split"} & columns.keys():
        raise ValueError(
            f"{path} must begin with column names, image and one or both of split and class, "
            f"has {', '.join(map(repr, names)) or 'nothing'}"
        )
    lowered = [name.strip().lower() for name in names]
    if group_by is not None and group_by.strip().lower() in lowered:
        columns["group"] = lowered.index(group_by.strip().lower())
    rows: dict[str, Row] = {}
    num_repeated = 0
    is_header = True
    for number, cells in enumerate(lines, start=1):
        if not any(cell.strip() for cell in cells):
            continue
        if is_header:
            is_header = False
            continue
        image, row = _read_row(path, number, cells, columns)
        if rows.setdefault(image, row) != row:
            raise ValueError(f"{path}, row {number}: {image} is named twice and differently: {rows[image]}; {row}")
        num_repeated += rows[image] is not row
    if not rows:
        raise ValueError(f"{path} has column names and no row")
    return Table(
        path,
        hashlib.sha256(content).hexdigest(),
        rows,
        has_classes="class" in columns,
        has_splits="split" in columns,
        group_column=names[columns["group"]].strip() if "group" in columns else None,
        num_repeated=num_repeated,
    )


def _read_text(content: bytes) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):  # as spreadsheets write "Unicode text"
        return content.decode("utf-16")
    return content.decode("utf-8-sig", errors="surrogateescape")


def _delimiter(text: str) -> str:
    header = next((line for line in text.splitlines() if line.strip()), "")
    return max(",;\t", key=header.count)


def _first_row(text: str) -> list[str]:
    rows = csv.reader(io.StringIO(text, newline=None), delimiter=_delimiter(text))
    return next((row for row in rows if any(cell.strip() for cell in row)), [])


def _find_columns(names: list[str]) -> dict[str, int]:
    lowered = [name.strip().lower() for name in names]
    found = {}
    for column, words in _COLUMNS.items():
        position = next((lowered.index(word) for word in words if word in lowered), None)
        if position is not None:
            found[column] = position
    return found


def _read_row(path: Path, number: int, cells: list[str], columns: Mapping[str, int]) -> tuple[str, Row]:
    values = {name: from_cell(cells[at].strip()) if at < len(cells) else "" for name, at in columns.items()}
    for name in ("image", "class", "split"):
        if name in columns and not values[name]:
            raise ValueError(f"{path}, row {number}: the column {name} is empty: {', '.join(cells)}")
    split = values.get("split", "")
    if split and split.lower() not in SPLIT_WORDS:
        raise ValueError(f"{path}, row {number}: split must be one of {', '.join(SPLIT_WORDS)}, got {split!r}")
    row = Row(written_name(values.get("class", "")), SPLIT_WORDS.get(split.lower(), ""), values.get("group", ""))
    return values["image"], row


def match_rows(table: Table, names: Iterable[str], root: Path | None) -> dict[str, Row]:
    """The row of each drawing that the table names. names: all drawings, relative to root.

    A row may write / or \\, begin with ./ or with the folders above the data, be absolute, or leave out folders or the
    suffix where that names one drawing only. Raises ValueError for rows that name none or several, and for two rows
    that say different things about one drawing.
    """
    index = _Index(names, root, table.path.stem)
    found: dict[str, Row] = {}
    unknown: list[str] = []
    unclear: list[str] = []
    for written, row in table.rows.items():
        matches = index.find(written)
        if len(matches) != 1:
            (unclear if matches else unknown).append(written)
        elif found.setdefault(matches[0], row) != row:
            raise ValueError(f"{table.path} names {matches[0]} twice and differently: {found[matches[0]]}; {row}")
    for problem, some in (("no drawing", unknown), ("several drawings", unclear)):
        if some:
            shown = ", ".join(some[:_NUM_SHOWN]) + (", ..." if len(some) > _NUM_SHOWN else "")
            raise ValueError(
                f"{table.path}: {len(some):,} of its {len(table.rows):,} rows name {problem} of {root or 'the data'}: "
                f"{shown}"
            )
    return found


def count_matches(table: Table, names: Iterable[str], root: Path) -> int:
    """The number of rows that name a drawing."""
    index = _Index(names, root, table.path.stem)
    return sum(len(index.find(written)) > 0 for written in table.rows)


class _Index:
    """Finds drawings by what a table may call them."""

    def __init__(self, names: Iterable[str], root: Path | None, table_name: str) -> None:
        self.exact = {name: name for name in names}
        self.plain = {_plain(name): name for name in self.exact}
        self.table_name = table_name
        self.above = PurePosixPath(root.as_posix()).parts if root is not None else ()
        self.by_file: dict[str, list[str]] = defaultdict(list)  # the last part of a name, with and without its suffix
        for plain in self.plain:
            last = plain.rpartition("/")[2]
            for file in {last, last.rpartition(".")[0] or last}:
                self.by_file[file].append(plain)

    def find(self, written: str) -> list[str]:
        """The drawings that may be meant, best one only where it is clear."""
        if written in self.exact:
            return [written]
        wanted = _plain(written)
        parts = PurePosixPath(wanted).parts
        is_absolute = wanted.startswith("/") or (bool(parts) and parts[0].endswith(":"))
        for start in range(len(parts)):
            is_above = start == 0 or is_absolute or parts[:start] == self.above[-start:]
            if is_above and (name := self.plain.get("/".join(parts[start:]))) is not None:
                return [name]
        candidates = self.by_file.get(wanted.rpartition("/")[2], [])
        endings = [name for name in candidates if f"/{name}".endswith(f"/{wanted}")] or [
            name for name in candidates if f"/{name.rpartition('.')[0]}".endswith(f"/{wanted}")
        ]
        beside = [name for name in endings if name.startswith(f"{self.table_name}/")]  # train.csv names files of train
        return [self.plain[name] for name in (beside if len(endings) > 1 and beside else endings)]


def _plain(name: str) -> str:
    """The name as it is recorded, with slashes and without ./."""
    return PurePosixPath(written_name(name).replace("\\", "/")).as_posix()

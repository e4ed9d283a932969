"""Finds the tables and lists that lie in a data folder: labels.csv, train.csv, DomainNet's sketch_train.txt."""

import hashlib
import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from tune_sketch.data.bounds import MAX_TABLE_BYTES, read_regular
from tune_sketch.data.names import written_name
from tune_sketch.data.pictures import is_clutter
from tune_sketch.data.sources.tables import SPLIT_WORDS, TABLE_SUFFIXES, Row, Table, read_header

_SPLIT_IN_NAME = re.compile(
    rf"(?:^|.*[^a-z])({'|'.join(sorted(SPLIT_WORDS, key=len, reverse=True))})(?:[^a-z].*|list|files)?", re.IGNORECASE
)
_MAX_LINE = 10_000  # characters that are looked at
_NUM_TRIED = 20  # lines of a list that are looked at to know it for one


def find_tables(root: Path) -> list[Path]:
    """The files directly in a folder that give the class of each drawing, sorted."""
    return [path for path in sorted(root.iterdir()) if not is_clutter(Path(path.name)) and _is_table(path)]


def split_of_table(path: Path) -> str:
    """The split in the name of a table or list ("sketch_train.txt"), or nothing."""
    match = _SPLIT_IN_NAME.fullmatch(path.stem)
    return SPLIT_WORDS[match[1].lower()] if match else ""


def _is_table(path: Path) -> bool:
    suffix = path.suffix.lower()
    if not path.is_file() or "submission" in path.stem.lower():  # Kaggle's example of an answer has invented labels
        return False
    if suffix in TABLE_SUFFIXES:
        return {"image", "class"} <= read_header(path).keys()
    return suffix == ".txt" and split_of_table(path) != "" and _is_list(path)


def _is_list(path: Path) -> bool:
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape") as file:
            lines = [file.readline(_MAX_LINE) for _ in range(_NUM_TRIED)]
    except OSError:
        return False
    names = [_read_line(line)[0].replace("\\", "/") for line in lines if line.strip()]
    return any((above / name).is_file() for name in names if "/" in name for above in (path.parent, path.parent.parent))


def read_list(path: Path) -> Table:
    """A list of one drawing in each line, with or without its label, of the split in the list's name.

    Raises ValueError for a drawing of two labels.
    """
    content = read_regular(path, MAX_TABLE_BYTES)
    rows: dict[str, Row] = {}
    for line in content.decode("utf-8-sig", errors="surrogateescape").splitlines():
        if line.strip():
            name, label = _read_line(line)
            row = Row(written_name(label), split_of_table(path))
            if rows.setdefault(name, row) != row:
                raise ValueError(f"{path} names {name} with two labels: {rows[name].class_name} and {label}")
    return Table(path, hashlib.sha256(content).hexdigest(), rows, has_classes=True, has_splits=True)


def _read_line(line: str) -> tuple[str, str]:
    """(name, label) of "sketch/cat/1.jpg 17"; the label is empty where the line is only a name."""
    name, _, label = line.strip().rpartition(" ")
    return (name.strip(), label) if name and "/" not in label and "." not in label else (line.strip(), "")


def name_labels(rows: Mapping[str, Row]) -> dict[str, Row]:
    """The rows of a list with the drawings' folder for a class, where a label is a number or missing."""
    folders: dict[str, set[str]] = defaultdict(set)
    for name, row in rows.items():
        folders[row.class_name].add(name.split("/")[-2] if "/" in name else "")
    is_clear = all(len(names) == 1 for names in folders.values())
    is_clear &= len(set().union(*folders.values())) == len(folders)
    named = {}
    for name, row in rows.items():
        use_folder = "/" in name and (not row.class_name or (row.class_name.isdigit() and is_clear))
        named[name] = Row(written_name(name.split("/")[-2]) if use_folder else row.class_name, row.split, row.group)
    return named

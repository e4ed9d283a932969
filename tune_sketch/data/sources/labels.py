"""The layouts whose classes a table, a list or the files' names give, instead of folders."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tune_sketch.data.names import written_name
from tune_sketch.data.pictures import list_pictures
from tune_sketch.data.request import DataRequest
from tune_sketch.data.sources.base import Source, list_some, split_of_folder
from tune_sketch.data.sources.lists import find_tables, name_labels, read_list, split_of_table
from tune_sketch.data.sources.patterns import read_pattern, search_name
from tune_sketch.data.sources.tables import Row, Table, count_matches, match_rows, read_table


def find_by_name(request: DataRequest, root: Path) -> Source | None:
    """Pictures anywhere below a folder, of the class that --class-from finds in their names. Raises ValueError."""
    if request.class_from is None:
        return None
    pattern = read_pattern("--class-from", request.class_from)
    names, left_out = _list_names(root)
    if not names:
        raise ValueError(f"--class-from is for pictures, and {root} holds none")
    classes = {name: search_name(pattern, name) for name in names}
    unnamed = [name for name in names if not classes[name]]
    if len(unnamed) == len(names):
        raise ValueError(
            f"--class-from {request.class_from!r} matches none of the {len(names):,} pictures of {root}, "
            f"such as {names[0]}"
        )
    notes = (f"left out: {len(unnamed):,} pictures that --class-from does not match: {list_some(unnamed)}",)
    return _make_source(
        root,
        {name: Row(written_name(found)) for name, found in classes.items() if found},
        left_out,
        notes if unnamed else (),
    )


def find_labels(request: DataRequest, root: Path) -> Source | None:
    """Pictures anywhere below a folder, of the classes that tables or lists in it say. Raises ValueError."""
    paths = find_tables(root)
    if not paths:
        return None
    splits = [split_of_table(path) for path in paths]
    if len(paths) > 1 and (not all(splits) or len(set(splits)) < len(splits)):
        raise ValueError(
            f"{root} holds several tables or lists of drawings ({list_some(path.name for path in paths)}), of which it "
            "is not clear which one counts: choose one by --splits FILE, or move the others elsewhere"
        )
    names, left_out = _list_names(root)
    try:
        tables, rows = _read_found(paths, names, root, request.group_by)
    except ValueError as error:
        raise ValueError(f"{error}; mend it, or move it elsewhere if it is not to be used") from error
    if not rows:
        return None  # a table about something else, and there are folders
    if any(path.suffix.lower() == ".txt" for path in paths):
        rows = name_labels(rows)
    if _say_no_more_than_folders(rows, names):
        return None
    return _use_tables(root, tables, rows, names, left_out)


def _read_found(
    paths: list[Path], names: list[str], root: Path, group_by: str | None
) -> tuple[list[Table], dict[str, Row]]:
    """The tables, and what they say about each drawing; nothing where none of them names a drawing."""
    tables = [read_list(path) if path.suffix.lower() == ".txt" else read_table(path, group_by) for path in paths]
    rows: dict[str, Row] = {}
    if any("/" in name for name in names) and not any(count_matches(table, names, root) for table in tables):
        return tables, rows
    for table in tables:
        for name, row in match_rows(table, names, root).items():
            if not row.split and len(tables) > 1:
                row = Row(row.class_name, split_of_table(table.path), row.group)
            if rows.setdefault(name, row) != row:
                raise ValueError(f"{root}: its tables say different things about {name}: {rows[name]}; {row}")
    return tables, rows


def find_by_table(root: Path, table: Table) -> Source:
    """Pictures anywhere below a folder, of the classes that the table of --splits says. Raises ValueError."""
    names, left_out = _list_names(root)
    return _use_tables(root, [table], match_rows(table, names, root), names, left_out)


def _use_tables(
    root: Path, tables: list[Table], rows: dict[str, Row], names: list[str], left_out: Counter[str]
) -> Source:
    files = ", ".join(table.text for table in tables)
    left_out -= Counter(table.path.suffix.lower() for table in tables if table.path.is_relative_to(root))
    notes = [f"classes come from {files}"]
    notes += repeated_notes(tables)
    unnamed = [name for name in names if name not in rows]
    if unnamed:
        notes.append(f"left out: {len(unnamed):,} pictures that it does not name: {list_some(unnamed)}")
    columns = [table.group_column for table in tables if table.group_column is not None]
    return _make_source(
        root,
        rows,
        left_out,
        tuple(notes),
        split_origin=f"splits file {files}",
        group_column=columns[0] if columns else "",
        tables=tuple(table.path for table in tables),
    )


def repeated_notes(tables: Iterable[Table]) -> list[str]:
    """The number of rows that were said before."""
    return [
        f"{table.path.name} says {table.num_repeated:,} rows again, which count once"
        for table in tables
        if table.num_repeated
    ]


def _list_names(root: Path) -> tuple[list[str], Counter[str]]:
    pictures, left_out = list_pictures(root)
    return [path.relative_to(root).as_posix() for path in pictures], left_out


def _say_no_more_than_folders(rows: dict[str, Row], names: list[str]) -> bool:
    """Whether class folders alone say all that the tables do."""
    return len(rows) == len(names) and all(
        not row.split and not row.group and name.count("/") and name.split("/")[0] == row.class_name
        for name, row in rows.items()
    )


def _make_source(
    root: Path,
    rows: dict[str, Row],
    left_out: Counter[str],
    notes: tuple[str, ...],
    *,
    split_origin: str = "",
    group_column: str = "",
    tables: tuple[Path, ...] = (),
) -> Source:
    files: dict[str, list[str]] = {name: [] for name in sorted({row.class_name for row in rows.values()})}
    for name in sorted(rows):
        files[rows[name].class_name].append(name)
    splits = {name: row.split for name, row in rows.items() if row.split}
    if not splits:
        splits, split_origin = splits_of_folders(rows)
    return Source(
        "images",
        root,
        files,
        left_out=dict(left_out),
        notes=notes,
        splits=splits,
        groups={name: row.group for name, row in rows.items() if row.group},
        split_origin=split_origin if splits else "",
        group_origin=f"the column {group_column}" if group_column else "",
        group_column=group_column,
        tables=tables,
    )


def splits_of_folders(names: Iterable[str]) -> tuple[dict[str, str], str]:
    """({name: split}, what says so) where all lie in folders such as train and test; ({}, "") elsewhere."""
    splits = {name: split_of_folder(name.split("/")[0]) for name in names if "/" in name}
    found = {name: split for name, split in splits.items() if split is not None}
    is_split = len(found) == len(list(names)) and "train" in found.values() and len(set(found.values())) > 1
    folders = sorted({name.split("/")[0] for name in found})
    return (found, f"folders {', '.join(folders)}") if is_split else ({}, "")

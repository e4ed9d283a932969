"""Finds the drawings behind --data: its classes, their files, and the drawings that a request wants."""

import os
import shlex
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from tune_sketch.data.archives import is_archive, unpack_archive
from tune_sketch.data.formats.base import MAX_PER_FILE, Drawing
from tune_sketch.data.formats.registry import DRAWING_FORMATS
from tune_sketch.data.names import written_names
from tune_sketch.data.pictures import SUFFIXES
from tune_sketch.data.request import DataRequest, Problem
from tune_sketch.data.sources.base import Source, did_you_mean, list_some, select_classes
from tune_sketch.data.sources.class_files import find_class_files
from tune_sketch.data.sources.class_folders import find_class_folders
from tune_sketch.data.sources.doodles import find_doodles
from tune_sketch.data.sources.labels import find_by_name, find_by_table, find_labels, repeated_notes
from tune_sketch.data.sources.patterns import read_pattern, search_name
from tune_sketch.data.sources.quickdraw import find_quickdraw
from tune_sketch.data.sources.split_folders import find_split_folders
from tune_sketch.data.sources.tables import TABLE_SUFFIXES, Table, match_rows, read_header, read_table
from tune_sketch.data.sources.walk import descend, has_pictures, list_files

DATASETS: dict[str, Callable[[DataRequest, Path, bool], Source]] = {
    "doodles": find_doodles,
    "quickdraw": find_quickdraw,
}
# The layouts of a folder, in the order in which they are tried: each finds its source or returns None.
LAYOUTS: tuple[Callable[[DataRequest, Path], Source | None], ...] = (
    find_by_name,
    find_class_files,
    find_labels,
    find_split_folders,
    find_class_folders,
)


def find_source(request: DataRequest, cache_dir: Path, progress: bool) -> Source:
    """The source of a request, with only the classes that it asks for. Raises ValueError."""
    try:
        table = None
        if request.splits is not None:
            table = read_table(Path(request.splits).expanduser().resolve(), request.group_by)
        if request.data in DATASETS:
            if request.class_from is not None:
                raise ValueError(f"--class-from is for pictures, not for {request.data}, whose classes are known")
            source = DATASETS[request.data](request, cache_dir, progress)
        else:
            source = find_path(request, cache_dir, progress, table)
        if table is not None and table.path not in source.tables:
            source = use_table(source, request, table)
    except OSError as error:
        raise ValueError(f"{request.data} cannot be read: {error}") from error
    except RecursionError as error:
        raise ValueError(f"{request.data} cannot be read: its folders lie too deep in each other") from error
    if request.group_by is not None and request.group_by.strip().lower() != source.group_column.lower():
        read_pattern("--group-by", request.group_by)
        source = replace(source, group_origin=f"--group-by {request.group_by}", group_column="")
    files = written_names(source.files)
    return replace(source, files={name: files[name] for name in select_classes(files, request.classes)})


def find_path(request: DataRequest, cache_dir: Path, progress: bool, table: Table | None) -> Source:
    """A folder of any layout, or an archive of one. Raises ValueError."""
    root = Path(request.data).expanduser()
    if not root.exists():
        known = ", ".join(DATASETS)
        raise ValueError(
            f"data must be an existing path or one of {known}, got {request.data!r}"
            + did_you_mean(request.data, DATASETS)
        )
    if root.is_file():
        if not is_archive(root):
            raise ValueError(f"data must be a folder or a .zip or .tar archive, got the file {root}")
        root = unpack_archive(root, cache_dir / "unpacked", progress)
    root, passed = descend(root.resolve())
    is_labelled = table is not None and table.has_classes and request.class_from is None
    if table is not None and is_labelled and find_class_files(request, root) is None:
        source: Source | None = find_by_table(root, table)
    else:
        source = next((found for find_layout in LAYOUTS if (found := find_layout(request, root)) is not None), None)
    if source is None:
        raise ValueError(describe_nothing(request.data, root))
    notes = [*source.notes, *unused_table_notes(root, [*source.tables, *([table.path] if table else [])])]
    return replace(source, left_out=dict(passed + Counter(source.left_out)), notes=tuple(notes))


def unused_table_notes(root: Path, used: Sequence[Path]) -> list[str]:
    """Tables that lie in the data and name drawings, but are not used."""
    paths = [path for path in list_files(root) if path.suffix.lower() in TABLE_SUFFIXES and path not in used]
    headers = {path: read_header(path) for path in paths}
    return [
        f"{path.name} is not used: to go by its columns give --splits {shlex.quote(str(path))}"
        for path, columns in headers.items()
        if "image" in columns and columns.keys() & {"class", "split"}
    ]


def describe_nothing(data: str, root: Path) -> str:
    """The message about a folder of no known layout."""
    if has_pictures(root):
        return (
            f"{data} holds pictures without class folders: make one folder per class, or give the classes by a file "
            "labels.csv with the columns image and class, by --splits FILE with these columns, or by --class-from REGEX"
        )
    return (
        f"{data} must hold one folder of pictures ({', '.join(SUFFIXES)}) per class, or one .ndjson, "
        ".npy, .npz, .csv or .bin file of Quick, Draw! per class; it has neither"
    )


def use_table(source: Source, request: DataRequest, table: Table) -> Source:
    """The source with only the drawings that the table names, in the splits and groups that it says."""
    class_of = {drawing.name: drawing.class_name for drawing in _list_all(source, request, [])}
    rows = match_rows(table, class_of, source.root)
    differing = [name for name, row in rows.items() if row.class_name and row.class_name != class_of[name]]
    if differing:
        name = differing[0]
        raise ValueError(
            f"{table.path} says other classes than the data of {len(differing):,} drawings: {name} is "
            f"{class_of[name]!r}, not {rows[name].class_name!r}"
        )
    named = {class_of[name] for name in rows}
    notes = [*source.notes, *repeated_notes([table])]
    wanted = set(request.classes) if isinstance(request.classes, tuple) else source.files.keys()
    num_unnamed = sum(name not in rows for name, class_name in class_of.items() if class_name in wanted)
    if num_unnamed:
        notes.append(f"left out: {num_unnamed:,} drawings that {table.path.name} does not name")
    unnamed = sorted(wanted - named)
    if unnamed:
        notes.append(f"left out: classes of which it names no drawing: {list_some(unnamed)}")
    left_out = Counter(source.left_out)
    if source.root is not None and table.path.is_relative_to(source.root):
        left_out -= Counter([table.path.suffix.lower()])
    return replace(
        source,
        left_out=dict(left_out),
        files={name: files for name, files in source.files.items() if name in named},
        notes=tuple(notes),
        rows=rows,
        split_origin=f"splits file {table.text}" if table.has_splits else source.split_origin,
        group_origin=f"the column {table.group_column}" if table.group_column else source.group_origin,
        group_column=table.group_column or source.group_column,
        tables=(*source.tables, table.path),
    )


def list_drawings(source: Source, request: DataRequest) -> tuple[list[Drawing], list[Problem]]:
    """Every wanted drawing, by class and name, and the problems of classes and files."""
    problems: list[Problem] = []
    by_class: dict[str, list[Drawing]] = {name: [] for name in source.files}
    for drawing in _list_all(source, request, problems):
        if source.rows is None:
            by_class[drawing.class_name].append(drawing)
        elif (row := source.rows.get(drawing.name)) is not None:
            known = replace(drawing, split=row.split or drawing.split, group=row.group or drawing.group)
            by_class[drawing.class_name].append(known)
    for class_name, files in source.files.items():
        if not by_class[class_name] and not any(problem.name in files for problem in problems):
            problems.append(Problem(class_name, "empty class: no drawings"))
        if request.per_class is not None and source.first is None:
            by_class[class_name] = _choose(by_class[class_name], request.per_class, request.seed)
    drawings = [drawing for found in by_class.values() for drawing in found]
    if request.group_by is not None and not source.group_column:
        drawings = group_drawings(drawings, request.group_by)
    return drawings, problems


def group_drawings(drawings: list[Drawing], expression: str) -> list[Drawing]:
    """The drawings with the groups that an expression finds in their names. Raises ValueError when it finds none."""
    pattern = read_pattern("--group-by", expression)
    grouped = [replace(drawing, group=search_name(pattern, drawing.name)) for drawing in drawings]
    if grouped and not any(drawing.group for drawing in grouped):
        raise ValueError(
            f"--group-by {expression!r} is no column and finds nothing in the names of the drawings, such as "
            f"{drawings[0].name}"
        )
    return grouped


def _list_all(source: Source, request: DataRequest, problems: list[Problem]) -> Iterator[Drawing]:
    most = None if source.first is None else request.per_class or source.first
    for class_name, files in source.files.items():
        for file in files:
            path = "" if source.root is None else str(source.root / file)
            try:
                for number, drawing in enumerate(DRAWING_FORMATS[source.format].list(file, path, class_name, most)):
                    if number == MAX_PER_FILE:
                        raise ValueError(f"more than {MAX_PER_FILE:,} drawings in one file")
                    if file in source.splits or file in source.groups:
                        split, group = source.splits.get(file), source.groups.get(file)
                        yield replace(drawing, split=split or drawing.split, group=group or drawing.group)
                    else:
                        yield drawing
            except (OSError, ValueError) as error:  # what comes before a damaged place is read all the same
                problems.append(Problem(file, f"unreadable: {error}"))


def _choose(drawings: list[Drawing], num_wanted: int, seed: int) -> list[Drawing]:
    """Up to num_wanted drawings of a class, at random; of each part of a given split its share, and one at least."""
    if len(drawings) <= num_wanted:
        return drawings
    rng = np.random.default_rng([seed, zlib.crc32(os.fsencode(drawings[0].class_name))])
    parts: dict[str, list[int]] = {split: [] for split in ("train", "test", "validation", "")}
    if not any(drawing.split for drawing in drawings):
        return [drawings[index] for index in sorted(rng.choice(len(drawings), num_wanted, replace=False))]
    for index in rng.permutation(len(drawings)):
        parts[drawings[index].split].append(int(index))
    ranked = [(rank / len(part), index) for part in parts.values() for rank, index in enumerate(part)]
    chosen = sorted(ranked, key=lambda item: item[0])[:num_wanted]
    return [drawings[index] for index in sorted(index for _, index in chosen)]

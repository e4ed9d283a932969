"""Finds the drawings behind --data: its classes, their files, and the drawings that a request wants."""

import difflib
import io
import os
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np

from tune_sketch.data.archives import is_archive, unpack_archive
from tune_sketch.data.doodles import CATEGORIES
from tune_sketch.data.download import DEFAULT_PER_CLASS, find_quickdraw_files
from tune_sketch.data.names import written_names
from tune_sketch.data.pictures import SUFFIXES, is_clutter, is_picture, list_pictures
from tune_sketch.data.request import DataRequest, Problem

SPLIT_NAMES = ("train", "training", "val", "valid", "validation", "dev", "test", "testing")
DEFAULT_DOODLES_PER_CLASS = 60
# Quick, Draw! files keep these in front of the class when they are downloaded by hand.
_QUICKDRAW_PREFIX = re.compile(r"^full_(simplified|raw|numpy_bitmap)_")


# images: a file each. strokes: lines of .ndjson. bitmaps: rows of .npy.
Kind = Literal["images", "strokes", "bitmaps", "doodles"]


@dataclass(frozen=True)
class Source:
    """The origin of drawings, before any of them is read.

    root: folder that the files are relative to; None for doodles.
    files: class -> files; a class may be empty. Sorted.
    first_only: per_class takes the first drawings of a file, not random ones.
    left_out: suffix -> number of files that are no drawings.
    """

    kind: Kind
    root: Path | None
    files: dict[str, list[str]]
    synthetic: bool = False
    first_only: bool = False
    left_out: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Drawing:
    """One drawing, not yet read.

    position: 0 for an image file; the byte at which the line begins; the row of a bitmap; the doodle's number.
    """

    name: str
    class_name: str
    kind: Kind
    path: str
    position: int


def find_doodles(request: DataRequest, cache_dir: Path, progress: bool) -> Source:
    """Synthetic drawings, which need no file."""
    return Source("doodles", None, {name: [] for name in sorted(CATEGORIES)}, synthetic=True)


def find_quickdraw(request: DataRequest, cache_dir: Path, progress: bool) -> Source:
    """The downloaded part of Quick, Draw!; with --download the missing part is fetched first."""
    root, files = find_quickdraw_files(request, cache_dir, progress, select_classes)
    return Source("strokes", root, files, first_only=True)


def find_path(request: DataRequest, cache_dir: Path, progress: bool) -> Source:
    """A folder of class folders, of .ndjson or of .npy files, or an archive of one. Raises ValueError."""
    root = Path(request.data).expanduser()
    if not root.exists():
        known = ", ".join(DATASETS)
        raise ValueError(
            f"data must be an existing path or one of {known}, got {request.data!r}"
            + _did_you_mean(request.data, DATASETS)
        )
    if root.is_file():
        if not is_archive(root):
            raise ValueError(f"data must be a folder or a .zip or .tar archive, got the file {root}")
        root = unpack_archive(root, cache_dir / "unpacked", progress)
    root = _descend(root.resolve())
    kinds: dict[Kind, str] = {"strokes": ".ndjson", "bitmaps": ".npy"}
    for kind, suffix in kinds.items():
        paths = sorted(path for path in root.iterdir() if path.suffix.lower() == suffix and path.is_file())
        paths = [path for path in paths if not is_clutter(Path(path.name))]
        if paths:
            return Source(kind, root, {_QUICKDRAW_PREFIX.sub("", path.stem): [path.name] for path in paths})
    return find_class_folders(request, root)


def find_class_folders(request: DataRequest, root: Path) -> Source:
    """A folder with one folder of pictures per class, at any depth below it. Raises ValueError for another layout."""
    pictures: dict[str, list[Path]] = {}
    left_out = Counter[str]()
    for folder in sorted(_class_folders(root)):
        pictures[folder.name], others = list_pictures(folder)
        left_out += others
    if not pictures:
        raise ValueError(
            f"{request.data} must hold one folder of pictures ({', '.join(SUFFIXES)}) per class, or one .ndjson "
            "or .npy file per class; it has neither"
        )
    if not isinstance(request.classes, tuple):  # classes that are named are what they are named
        refuse_splits(request.data, list(pictures))
        refuse_levels(root, pictures)
    beside = [path for path in root.iterdir() if path.is_file() and not is_clutter(Path(path.name))]
    left_out.update("picture beside the class folders" if is_picture(p) else p.suffix.lower() for p in beside)
    files = {name: [str(path.relative_to(root)) for path in paths] for name, paths in pictures.items()}
    return Source("images", root, files, left_out=dict(left_out))


def refuse_splits(data: str, names: Sequence[str]) -> None:
    """Raises ValueError for folders that are the parts of a split and not classes."""
    splits = [name for name in names if name.lower() in SPLIT_NAMES]
    if len(splits) == len(names) and len(splits) > 1:
        raise ValueError(
            f"{data} holds {' and '.join(splits)}: a split of its own cannot be used yet. Give one folder of classes, "
            f"such as --data {Path(data) / splits[0]}, and it is divided into train, validation and test"
        )
    if splits and len(names) > 1:
        raise ValueError(
            f"{data} holds the folder {splits[0]} beside the class folders, which looks like part of a split and not "
            "like a class: move it elsewhere, or name the classes with --classes"
        )


def refuse_levels(root: Path, pictures: dict[str, list[Path]]) -> None:
    """Raises ValueError where folders such as photo and sketch lie above the class folders."""
    inside = {
        name: {path.relative_to(root).parts[1] for path in paths if len(path.relative_to(root).parts) > 2}
        for name, paths in pictures.items()
        if paths
    }
    has_own = any(len(path.relative_to(root).parts) == 2 for paths in pictures.values() for path in paths)
    common = set.intersection(*inside.values()) if len(inside) > 1 else set()
    if not has_own and len(common) > 1 and len(common) >= len(inside):
        above, below = sorted(inside), sorted(common)
        raise ValueError(
            f"{root} has a level above the classes: {', '.join(above[:5])} each hold folders of the same names "
            f"({', '.join(below[:5])}{', ...' if len(below) > 5 else ''}). Give one of them, such as "
            f"--data {root / above[0]}; if {above[0]} is a class, name the classes with --classes"
        )


DATASETS: dict[str, Callable[[DataRequest, Path, bool], Source]] = {
    "doodles": find_doodles,
    "quickdraw": find_quickdraw,
}


def find_source(request: DataRequest, cache_dir: Path, progress: bool) -> Source:
    """The source of a request, with only the classes that it asks for. Raises ValueError."""
    try:
        source = DATASETS.get(request.data, find_path)(request, cache_dir, progress)
    except OSError as error:
        raise ValueError(f"{request.data} cannot be read: {error}") from error
    files = written_names(source.files)
    return replace(source, files={name: files[name] for name in select_classes(files, request.classes)})


def select_classes(known: Iterable[str], wanted: tuple[str, ...] | int | None) -> list[str]:
    """The wanted classes, sorted. Raises ValueError that lists the known ones for an unknown name."""
    names = sorted(known)
    if wanted is None:
        return names
    if isinstance(wanted, int):
        if wanted > len(names):
            raise ValueError(f"classes must be at most {len(names)}, the number there is, got {wanted}")
        return names[:wanted]
    for name in wanted:
        if name not in names:
            raise ValueError(
                f"classes has an unknown name {name!r}{_did_you_mean(name, names)}; known: {', '.join(names)}"
            )
    return sorted(set(wanted))


def list_drawings(source: Source, request: DataRequest) -> tuple[list[Drawing], list[Problem]]:
    """Every wanted drawing, by class and name, and the problems of classes and files."""
    drawings: list[Drawing] = []
    problems: list[Problem] = []
    for class_name, files in source.files.items():
        found = _list_class(source, class_name, files, request, problems)
        if not found and not any(problem.name in files for problem in problems):
            problems.append(Problem(class_name, "empty class: no drawings"))
        if request.per_class is not None and len(found) > request.per_class and not source.first_only:
            rng = np.random.default_rng([request.seed, zlib.crc32(os.fsencode(class_name))])
            chosen = rng.choice(len(found), request.per_class, replace=False)
            found = [found[index] for index in sorted(chosen)]
        drawings += found
    return drawings, problems


def _list_class(
    source: Source, class_name: str, files: list[str], request: DataRequest, problems: list[Problem]
) -> list[Drawing]:
    if source.kind == "doodles":
        count = request.per_class or DEFAULT_DOODLES_PER_CLASS
        return [Drawing(f"doodles/{class_name}/{i}", class_name, "doodles", "", i) for i in range(count)]
    assert source.root is not None
    paths = [str(source.root / file) for file in files]
    if source.kind == "images":
        return [Drawing(file, class_name, "images", path, 0) for file, path in zip(files, paths, strict=True)]
    most = (request.per_class or DEFAULT_PER_CLASS) if source.first_only else None
    found: list[Drawing] = []
    for file, path in zip(files, paths, strict=True):
        try:
            positions = _find_lines(path, most) if source.kind == "strokes" else range(open_bitmaps(path).shape[0])
        except (OSError, ValueError) as error:
            problems.append(Problem(file, f"unreadable: {error}"))
            continue
        for number, position in enumerate(positions, start=1):
            found.append(Drawing(f"{file}:{number}", class_name, source.kind, path, position))
    return found


def _find_lines(path: str, most: int | None) -> list[int]:
    """The first byte of each line that is not empty; at most `most` of them."""
    starts: list[int] = []
    position = 0
    with open(path, "rb", buffering=io.DEFAULT_BUFFER_SIZE * 16) as file:
        for line in file:
            if most is not None and len(starts) >= most:
                break
            if not line.isspace():
                starts.append(position)
            position += len(line)
    return starts


def open_bitmaps(path: str) -> np.ndarray:
    """Rows of Quick, Draw! bitmaps, uint8 [N, side * side], memory-mapped. Raises ValueError."""
    rows: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    side = int(rows.shape[-1] ** 0.5) if rows.ndim == 2 else 0
    if rows.ndim != 2 or rows.dtype != np.uint8 or side * side != rows.shape[1]:
        raise ValueError(f"must be uint8 [N, 784] (or another square), is {rows.dtype} {list(rows.shape)}")
    return rows


def _descend(root: Path) -> Path:
    """Skip folders that hold one folder of folders and no data ('png' of TU-Berlin, the top of an archive)."""
    while True:
        folders = _class_folders(root)
        has_data = any(path.suffix.lower() in (".ndjson", ".npy") for path in root.iterdir())
        if has_data or len(folders) != 1:
            return root
        inside = list(folders[0].iterdir())
        if any(path.is_file() and is_picture(path) for path in inside if not is_clutter(Path(path.name))):
            return root
        if not any(path.is_dir() or path.suffix.lower() in (".ndjson", ".npy") for path in inside):
            return root
        root = folders[0]


def _class_folders(root: Path) -> list[Path]:
    return [path for path in root.iterdir() if path.is_dir() and not is_clutter(Path(path.name))]


def _did_you_mean(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""

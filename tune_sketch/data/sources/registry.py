"""Finds the drawings behind --data: its classes, their files, and the drawings that a request wants."""

import os
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from tune_sketch.data.archives import is_archive, unpack_archive
from tune_sketch.data.formats.base import Drawing
from tune_sketch.data.formats.registry import DRAWING_FORMATS
from tune_sketch.data.pictures import SUFFIXES, is_clutter, is_picture
from tune_sketch.data.request import DataRequest, Problem
from tune_sketch.data.sources.base import Source, did_you_mean, select_classes
from tune_sketch.data.sources.class_files import find_class_files, has_class_files
from tune_sketch.data.sources.class_folders import find_class_folders, list_folders
from tune_sketch.data.sources.doodles import find_doodles
from tune_sketch.data.sources.quickdraw import find_quickdraw

DATASETS: dict[str, Callable[[DataRequest, Path, bool], Source]] = {
    "doodles": find_doodles,
    "quickdraw": find_quickdraw,
}
# The layouts of a folder, in the order in which they are tried: each finds its source or returns None.
LAYOUTS: tuple[Callable[[DataRequest, Path], Source | None], ...] = (find_class_files, find_class_folders)


def find_source(request: DataRequest, cache_dir: Path, progress: bool) -> Source:
    """The source of a request, with only the classes that it asks for. Raises ValueError."""
    try:
        source = DATASETS.get(request.data, find_path)(request, cache_dir, progress)
    except OSError as error:
        raise ValueError(f"{request.data} cannot be read: {error}") from error
    names = select_classes(source.files, request.classes)
    return replace(source, files={name: source.files[name] for name in names})


def find_path(request: DataRequest, cache_dir: Path, progress: bool) -> Source:
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
    root = _descend(root.resolve())
    for find_layout in LAYOUTS:
        source = find_layout(request, root)
        if source is not None:
            return source
    raise ValueError(
        f"{request.data} must hold one folder of pictures ({', '.join(SUFFIXES)}) per class, or one .ndjson, "
        ".npy, .npz, .csv or .bin file of Quick, Draw! per class; it has neither"
    )


def _descend(root: Path) -> Path:
    """Skip folders that hold one folder of folders and no data ('png' of TU-Berlin, the top of an archive)."""
    while True:
        folders = list_folders(root)
        if has_class_files(root) or len(folders) != 1:
            return root
        inside = list(folders[0].iterdir())
        if any(path.is_file() and is_picture(path) for path in inside if not is_clutter(Path(path.name))):
            return root
        if not any(path.is_dir() for path in inside) and not has_class_files(folders[0]):
            return root
        root = folders[0]


def list_drawings(source: Source, request: DataRequest) -> tuple[list[Drawing], list[Problem]]:
    """Every wanted drawing, by class and name, and the problems of classes and files."""
    drawings: list[Drawing] = []
    problems: list[Problem] = []
    most = None if source.first is None else request.per_class or source.first
    for class_name, files in source.files.items():
        found: list[Drawing] = []
        for file in files:
            path = "" if source.root is None else str(source.root / file)
            try:
                for drawing in DRAWING_FORMATS[source.format].list(file, path, class_name, most):
                    found.append(drawing)  # one by one: what comes before a damaged place is read
            except (OSError, ValueError) as error:
                problems.append(Problem(file, f"unreadable: {error}"))
        if not found and not any(problem.name in files for problem in problems):
            problems.append(Problem(class_name, "empty class: no drawings"))
        if request.per_class is not None and len(found) > request.per_class and source.first is None:
            rng = np.random.default_rng([request.seed, zlib.crc32(os.fsencode(class_name))])
            chosen = rng.choice(len(found), request.per_class, replace=False)
            found = [found[index] for index in sorted(chosen)]
        drawings += found
    return drawings, problems

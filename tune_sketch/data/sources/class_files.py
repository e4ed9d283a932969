"""The layout of one file per class, as Quick, Draw! is published."""

import re
from pathlib import Path

from tune_sketch.data.formats.registry import DRAWING_FORMATS
from tune_sketch.data.pictures import is_clutter
from tune_sketch.data.request import DataRequest
from tune_sketch.data.sources.base import Source

# Quick, Draw! files keep these in front of the class when they are downloaded by hand.
_QUICKDRAW_PREFIX = re.compile(r"^full_(simplified|raw|numpy_bitmap)_")


def find_class_files(request: DataRequest, root: Path) -> Source | None:
    """A folder with one file per class, of the first format that it has files of."""
    for name, known in DRAWING_FORMATS.items():
        paths = [path for path in sorted(root.iterdir()) if known.is_class_file(path) and path.is_file()]
        paths = [path for path in paths if not is_clutter(Path(path.name))]
        if paths:
            return Source(name, root, {_QUICKDRAW_PREFIX.sub("", path.stem): [path.name] for path in paths})
    return None


def has_class_files(root: Path) -> bool:
    """Whether a folder directly holds files of a format that has one file per class."""
    return any(known.is_class_file(path) for path in root.iterdir() for known in DRAWING_FORMATS.values())

"""Quick, Draw! as a data set by name: what was downloaded of it, or is to be."""

from pathlib import Path

from tune_sketch.data.download import DEFAULT_PER_CLASS, find_quickdraw_files
from tune_sketch.data.request import DataRequest
from tune_sketch.data.sources.base import Source, select_classes


def find_quickdraw(request: DataRequest, cache_dir: Path, progress: bool) -> Source:
    """The downloaded part of Quick, Draw!; with --download the missing part is fetched first."""
    root, files = find_quickdraw_files(request, cache_dir, progress, select_classes)
    return Source("strokes", root, files, first=DEFAULT_PER_CLASS)

"""The doodles as a data set: every category that the program draws."""

from pathlib import Path

from tune_sketch.data.doodles import CATEGORIES
from tune_sketch.data.formats.doodles import DEFAULT_PER_CLASS
from tune_sketch.data.request import DataRequest
from tune_sketch.data.sources.base import Source


def find_doodles(request: DataRequest, cache_dir: Path, progress: bool) -> Source:
    """Synthetic drawings, which need no file."""
    files = {name: [f"doodles/{name}"] for name in sorted(CATEGORIES)}
    return Source("doodles", None, files, synthetic=True, first=DEFAULT_PER_CLASS)

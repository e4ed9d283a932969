"""The files of the product: the four packages, without the links between them."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
LINKED = ("search_spaces", "trainables", "analysis")  # top-level folders, imported as tune_sketch.NAME
FILES = sorted(
    path
    for package in ("tune_sketch", *LINKED)
    for path in (ROOT / package).rglob("*.py")
    if not any(folder.is_symlink() for folder in path.parents)
)

"""Looks around in folders: which hold drawings, and which only lie above those that do."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tune_sketch.data.pictures import is_clutter, is_picture
from tune_sketch.data.sources.class_files import has_class_files
from tune_sketch.data.sources.lists import find_tables


def list_folders(root: Path) -> list[Path]:
    """The folders in a folder that are not a system's, sorted."""
    return sorted(path for path in root.iterdir() if path.is_dir() and not is_clutter(Path(path.name)))


def list_files(root: Path) -> list[Path]:
    """The files directly in a folder that are not a system's, sorted."""
    return sorted(path for path in root.iterdir() if path.is_file() and not is_clutter(Path(path.name)))


def list_beside(root: Path) -> list[Path]:
    """All that lies directly in a folder and is no folder, be it a pipe or a link that leads nowhere."""
    return sorted(path for path in root.iterdir() if not path.is_dir() and not is_clutter(Path(path.name)))


def has_pictures(root: Path) -> bool:
    """Whether a folder directly holds a picture."""
    return any(path.is_file() and is_picture(path) for path in root.iterdir() if not is_clutter(Path(path.name)))


def holds_drawings(root: Path) -> bool:
    """Whether there are drawings in a folder, at any depth."""
    return has_pictures(root) or has_class_files(root) or any(map(holds_drawings, list_folders(root)))


def descend(root: Path) -> tuple[Path, Counter[str]]:
    """The folder below all that hold one folder of drawings and nothing else ('png' of TU-Berlin, the top of an
    archive, 'images' beside 'annotations'), and the files that are passed by on the way, by suffix."""
    passed = Counter[str]()
    while not has_class_files(root) and not find_tables(root):
        folders = list_folders(root)
        inner = [folder for folder in folders if holds_drawings(folder)]
        if len(inner) != 1 or not _may_hold_classes(inner[0]):
            break
        for folder in folders:
            if folder != inner[0]:
                passed += count_files(path for path in folder.rglob("*") if path.is_file())
        passed += count_files(list_beside(root))
        root = inner[0]
    return root, passed


def _may_hold_classes(folder: Path) -> bool:
    """Whether there is more in a folder than pictures, which would be those of one class."""
    return has_class_files(folder) or bool(find_tables(folder)) or any(map(holds_drawings, list_folders(folder)))


def count_files(paths: Iterable[Path]) -> Counter[str]:
    """Files that are no drawings of a class, by suffix."""
    return Counter(
        "picture beside the class folders" if is_picture(path) else path.suffix.lower() or "without suffix"
        for path in paths
        if not is_clutter(Path(path.name))
    )

"""The layout of one folder of pictures per class."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tune_sketch.data.pictures import is_clutter, is_picture, list_pictures
from tune_sketch.data.request import DataRequest
from tune_sketch.data.sources.base import Source

SPLIT_NAMES = ("train", "training", "val", "valid", "validation", "dev", "test", "testing")


def find_class_folders(request: DataRequest, root: Path) -> Source | None:
    """A folder with one folder of pictures per class, at any depth below it.

    Raises ValueError for the parts of a split and for a level above the classes.
    """
    pictures: dict[str, list[Path]] = {}
    left_out = Counter[str]()
    for folder in sorted(list_folders(root)):
        pictures[folder.name], others = list_pictures(folder)
        left_out += others
    if not pictures:
        return None
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


def list_folders(root: Path) -> list[Path]:
    """The folders in a folder that are not a system's."""
    return [path for path in root.iterdir() if path.is_dir() and not is_clutter(Path(path.name))]

"""The layout of one folder of pictures per class."""

import re
from collections import Counter
from pathlib import Path

from tune_sketch.data.names import written_name, written_names
from tune_sketch.data.pictures import list_pictures
from tune_sketch.data.request import DataRequest
from tune_sketch.data.sources.base import Source, list_some, split_of_folder
from tune_sketch.data.sources.walk import count_files, list_beside, list_folders

# Kinds of pictures as data sets call them; where folders have such names the classes lie below.
_DOMAINS = (
    *("photo", "photos", "sketch", "sketches", "image", "images", "drawing", "drawings", "painting", "paintings"),
    *("cartoon", "clipart", "infograph", "quickdraw", "real", "art", "art_painting", "product", "edges", "masks"),
)
_CHARACTER = re.compile(r"character\d+", re.IGNORECASE)  # of Omniglot, below its alphabets
_TEXT_SUFFIXES = {
    *(".xml", ".json", ".txt", ".csv", ".tsv", ".mat", ".md", ".yaml", ".yml", ".html", ".pdf", ".py", ".m", ".lst")
}


def find_class_folders(request: DataRequest, root: Path) -> Source | None:
    """A folder with one folder of pictures per class, at any depth below it.

    Raises ValueError for a level above the classes.
    """
    named = request.classes if isinstance(request.classes, tuple) else ()
    pictures: dict[str, list[Path]] = {}
    left_out, notes = Counter[str](), []
    for folder in list_folders(root):
        found, others = list_pictures(folder)
        left_out += others
        if not found and others and others.keys() <= _TEXT_SUFFIXES and written_name(folder.name) not in named:
            notes.append(f"the folder {folder.name} holds no drawings and is left out")
        else:
            pictures[folder.name] = found
    if not pictures:
        return None
    pictures = written_names(pictures)
    inner = {
        name: {path.relative_to(root).parts[1] for path in paths if len(path.relative_to(root).parts) > 2}
        for name, paths in pictures.items()
    }
    files = {name: [str(path.relative_to(root)) for path in paths] for name, paths in pictures.items()}
    splits = _splits_within(files)
    if not named and not splits:  # classes that are named are what they are named
        refuse_levels(root, inner, files)
    below = sorted(set().union(*inner.values()))
    if below and not splits:
        notes.append(f"folders within the classes are not told apart: {list_some(below)}")
    left_out += count_files(list_beside(root))
    origin = f"folders {list_some(below)} within the classes" if splits else ""
    return Source(
        "images", root, files, left_out=dict(left_out), notes=tuple(notes), splits=splits, split_origin=origin
    )


def _splits_within(files: dict[str, list[str]]) -> dict[str, str]:
    """The split of each file where all lie in folders such as cat/train and cat/test."""
    splits = {}
    for paths in files.values():
        for path in paths:
            parts = path.split("/")
            split = split_of_folder(parts[1]) if len(parts) == 3 else None
            if split is None:
                return {}
            splits[path] = split
    return splits if len(set(splits.values())) > 1 else {}


def refuse_levels(root: Path, inner: dict[str, set[str]], files: dict[str, list[str]]) -> None:
    """Raises ValueError where folders such as photo and sketch, or alphabets, lie above the class folders."""
    above = sorted(name for name in inner if files[name])
    has_own = any(path.count("/") == 1 for paths in files.values() for path in paths)
    if has_own or len(above) < 2:
        return
    common = set.intersection(*(inner[name] for name in above))
    is_repeated = len(common) > 1 and len(common) >= len(above)
    are_domains = all(name.lower() in _DOMAINS for name in above)
    are_characters = all(_CHARACTER.fullmatch(name) for names in inner.values() for name in names)
    if not (is_repeated or are_domains or are_characters):
        return
    below = sorted(common or set().union(*inner.values()))
    inside = "folders of the same names" if is_repeated else "folders of classes"
    pattern = "'(.+)/'" if are_characters else "'.+/(.+)/'"
    raise ValueError(
        f"{root} has a level above the classes: {list_some(above)} each hold {inside} "
        f"({list_some(below)}). Give one of them, such as --data {root / above[0]}, or all by "
        f"--class-from {pattern}; if {above[0]} is a class, name the classes with --classes"
    )

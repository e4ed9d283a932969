"""The layout of one file per class, as Quick, Draw! is published."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from tune_sketch.data.formats.base import Format
from tune_sketch.data.formats.registry import DRAWING_FORMATS
from tune_sketch.data.formats.strokes import is_same_word
from tune_sketch.data.names import written_name
from tune_sketch.data.pictures import is_clutter, list_pictures
from tune_sketch.data.request import DataRequest
from tune_sketch.data.sources.base import Source

# Quick, Draw! files keep these in front of the class when they are downloaded by hand.
_PREFIX = re.compile(r"^(full_(simplified|raw|numpy_bitmap|binary)_|sketchrnn_)")
_SUFFIX = re.compile(r"\.full$")  # of sketch-rnn's larger files


def find_class_files(request: DataRequest, root: Path) -> Source | None:
    """A folder with one file per class, all of the format that it has most files of; None for stray files."""
    found = {name: class_files(root, known) for name, known in DRAWING_FORMATS.items()}
    name = most_frequent(found)
    folders = picture_folders(root) if found[name] else {}
    if are_stray(DRAWING_FORMATS[name], found[name], folders):
        return None
    files: dict[str, list[str]] = {}
    for path in found[name]:
        files.setdefault(class_of(path, DRAWING_FORMATS[name]), []).append(path.name)
    others = [path for path in root.iterdir() if path.is_file() and is_shown(path) and path not in found[name]]
    left_out = Counter(path.suffix.lower() or "without suffix" for path in others)
    left_out["pictures in folders beside the class files"] += sum(map(len, folders.values()))
    return Source(name, root, dict(sorted(files.items())), left_out=dict(+left_out))


def has_class_files(root: Path) -> bool:
    """Whether a folder directly holds files of classes that can be read, and not a stray one among pictures."""
    found = {name: class_files(root, known) for name, known in DRAWING_FORMATS.items()}
    name = most_frequent(found)
    known = DRAWING_FORMATS[name]
    if not any(can_list(known, path) for path in found[name]):
        return False
    return not are_stray(known, found[name], picture_folders(root))


def most_frequent(found: Mapping[str, list[Path]]) -> str:
    """The format of most files."""
    return max(found, key=lambda name: len(found[name]))


def picture_folders(root: Path) -> dict[Path, list[Path]]:
    """The pictures in each folder of a folder, at any depth."""
    return {folder: list_pictures(folder)[0] for folder in root.iterdir() if folder.is_dir() and is_shown(folder)}


def are_stray(known: Format, paths: Sequence[Path], folders: Mapping[Path, list[Path]]) -> bool:
    """Whether there are no files, or as many folders of pictures as files that can be read, which then do not count."""
    num_folders = sum(bool(pictures) for pictures in folders.values())
    return not paths or (num_folders > 0 and sum(can_list(known, path) for path in paths) <= num_folders)


def class_files(root: Path, known: Format) -> list[Path]:
    """The files of a format that has one file per class, sorted; not what systems leave behind."""
    return sorted(path for path in root.iterdir() if is_shown(path) and path.is_file() and known.is_class_file(path))


def is_shown(path: Path) -> bool:
    return not is_clutter(Path(path.name))


def can_list(known: Format, path: Path) -> bool:
    """Whether a file holds at least one drawing of the format that its name says."""
    try:
        return next(known.list(path.name, str(path), "", 1), None) is not None
    except (OSError, ValueError):
        return False


def class_of(path: Path, known: Format) -> str:
    """The class of a file: its name, in the spelling of the word inside where that is the same word."""
    name = written_name(_SUFFIX.sub("", _PREFIX.sub("", path.stem)))
    try:
        word = known.word_of(path)
    except (OSError, ValueError):  # listing its drawings says what is wrong with it
        return name
    return written_name(word) if is_same_word(word, name) else name

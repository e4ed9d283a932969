"""The layout of a split that the data bring along: train, val and test above the classes."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from tune_sketch.data.names import written_name
from tune_sketch.data.pictures import list_pictures
from tune_sketch.data.request import DataRequest
from tune_sketch.data.sources.base import Source, list_some, split_of_folder
from tune_sketch.data.sources.class_files import find_class_files, has_class_files
from tune_sketch.data.sources.class_folders import find_class_folders
from tune_sketch.data.sources.tables import SPLIT_WORDS
from tune_sketch.data.sources.walk import count_files, descend, has_pictures, holds_drawings, list_beside, list_folders

_WAYS_ON = (
    "give the classes by a file labels.csv with the columns image and class, by --splits FILE with these columns, or "
    "by --class-from REGEX"
)


def find_split_folders(request: DataRequest, root: Path) -> Source | None:
    """Folders called train, val or test, with class folders or files of classes in them. Raises ValueError."""
    named = request.classes if isinstance(request.classes, tuple) else ()
    folders = {folder: holds_drawings(folder) for folder in list_folders(root)}
    parts = {
        folder.name: split
        for folder in folders
        if (split := split_of_folder(folder.name)) is not None and written_name(folder.name) not in named
    }
    labelled = {name: split for name, split in parts.items() if _has_classes(root / name)}
    flat = [name for name in parts if name not in labelled and folders[root / name]]
    others = [folder.name for folder, has_drawings in folders.items() if has_drawings and folder.name not in parts]
    if named and "train" not in labelled.values():
        return None  # they are the folders of these names
    _refuse_unclear(root, labelled, flat, others, parts)
    if "train" not in labelled.values():
        return None
    order = list(dict.fromkeys(SPLIT_WORDS.values()))
    labelled = dict(sorted(labelled.items(), key=lambda item: order.index(item[1])))
    empty = [name for name in parts if name not in labelled and name not in flat]
    others += [folder.name for folder, has_drawings in folders.items() if not has_drawings and folder.name not in parts]
    return _join_parts(request, root, labelled, unused=[*flat, *others], empty=empty)


def _has_classes(folder: Path) -> bool:
    inner, _ = descend(folder)
    return has_class_files(inner) or any(map(holds_drawings, list_folders(inner)))


def _refuse_unclear(
    root: Path, labelled: Mapping[str, str], flat: list[str], others: list[str], parts: Mapping[str, str]
) -> None:
    """Raises ValueError where it cannot be known which folders are classes and which are parts of a split."""
    has_train = "train" in labelled.values()
    # A class may be called train, as in TU-Berlin: pictures to train with would lie in class folders.
    unclear = [*labelled, *(name for name in flat if parts[name] != "train")]
    is_alone = has_train and len(labelled) == 1 and len([name for name in others if has_pictures(root / name)]) > 1
    if others and unclear and (not has_train or is_alone):
        raise ValueError(
            f"{root} holds the folder {unclear[0]} beside the class folders, which looks like part of a split and not "
            "like a class: move it elsewhere, move the class folders into a folder train, or name the classes with "
            "--classes"
        )
    if flat and not others and not has_train:
        raise ValueError(f"{root}: {list_some(flat)} hold pictures without class folders: {_WAYS_ON}")
    if labelled and not has_train:
        raise ValueError(f"{root} holds {list_some(labelled)} and no folder train: there is nothing to learn from")
    for split in set(labelled.values()):
        same = [name for name, its in labelled.items() if its == split]
        if len(same) > 1:
            raise ValueError(f"{root}: {' and '.join(same)} both mean {split}: keep one of them, or join them")


def _join_parts(
    request: DataRequest, root: Path, labelled: Mapping[str, str], unused: list[str], empty: list[str]
) -> Source:
    """One source of all parts that have class folders."""
    left_out, notes = Counter[str](count_files(list_beside(root))), []
    for name in unused:
        pictures, rest = list_pictures(root / name)
        left_out += rest
        if pictures:
            notes.append(
                f"left out: the folder {name} beside the split, with {len(pictures):,} pictures without classes"
            )
    if empty:
        notes.append(f"no drawings in {list_some(empty)}")
    files: dict[str, list[str]] = {}
    splits: dict[str, str] = {}
    formats = set()
    for name, split in labelled.items():
        inner, passed = descend(root / name)
        part = find_class_files(request, inner) or find_class_folders(request, inner)
        assert part is not None  # it has classes
        assert part.root is not None
        if split != "train" and len(part.files) == 1 and not part.files.keys() & files.keys():
            num_drawings = sum(map(len, part.files.values()))
            notes.append(f"left out: the folder {name} without class folders, with {num_drawings:,} pictures")
            continue
        formats.add(part.format)
        left_out += passed + Counter(part.left_out)
        notes += [f"{name}: {note}" for note in part.notes]
        above = part.root.relative_to(root).as_posix()
        for class_name, paths in part.files.items():
            files.setdefault(class_name, []).extend(f"{above}/{path}" for path in paths)
            splits |= {f"{above}/{path}": split for path in paths}
    if len(formats) > 1:
        raise ValueError(f"{root}: its parts hold drawings in different forms: {', '.join(sorted(formats))}")
    files = {name: sorted(paths) for name, paths in sorted(files.items())}
    used = [name for name, split in labelled.items() if split in splits.values()]
    if len(used) < 2:
        splits = {}
    origin = f"folders {', '.join(used)}" if splits else ""
    return Source(
        formats.pop(), root, files, left_out=dict(left_out), notes=tuple(notes), splits=splits, split_origin=origin
    )

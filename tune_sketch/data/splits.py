"""Divides drawings into train, validation and test, stratified and without sharing a photo, and keeps the division."""

import csv
import hashlib
import io
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TextIO

import numpy as np

from tune_sketch.data.bounds import MAX_TABLE_BYTES, parsing, read_regular
from tune_sketch.data.names import from_cell, to_cells
from tune_sketch.data.sketch_data import SketchData, photo_of

SPLIT_NAMES = ("train", "validation", "test")


def _count_standard(num_images: int) -> tuple[float, float]:
    return 0.05 * num_images, 0.05 * num_images


def _count_paper(num_images: int) -> tuple[float, float]:
    """The paper's arithmetic: 5 % for testing, then int(5.26 %) of the rest; 20,000 give 999 and 1,000."""
    num_test = round(0.05 * num_images)
    return int(0.0526 * (num_images - num_test)), num_test


def _count_small(num_images: int) -> tuple[float, float]:
    return 0.2 * num_images, 0.2 * num_images


# name -> (number of images -> wanted number of validation and of test images); the rest is for training
PROTOCOLS: dict[str, Callable[[int], tuple[float, float]]] = {
    "standard": _count_standard,  # 0.9 / 0.05 / 0.05
    "paper": _count_paper,
    "small": _count_small,  # 0.6 / 0.2 / 0.2, for sets of which 5 % is a handful
}
SPLIT_BY = ("photo", "file")
OWN_SPLIT = "own"  # the division that the data bring along, or a file gives


@dataclass(frozen=True)
class Splits:
    """Indices of the drawings, int64 and sorted; every drawing is in exactly one of the three.

    origin: where the division comes from, in words.
    """

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    origin: str = field(default="", kw_only=True)

    def of_each(self, num_drawings: int) -> list[str]:
        """The name of the split that each drawing is in."""
        names = [""] * num_drawings
        for name in SPLIT_NAMES:
            for index in getattr(self, name):
                names[index] = name
        return names


def split_data(data: SketchData, *, protocol: str, split_by: str | None, seed: int) -> Splits:
    """The division of a data set: its own, or by photo or file. split_by: None is its own where it has one, else photo.

    Raises ValueError as `make_splits` does, where its own is asked for and there is none, and for a class that cannot
    be learned.
    """
    if split_by is None:
        split_by = "photo" if data.given_split is None else OWN_SPLIT
    if split_by == OWN_SPLIT:
        return complete_split(data, protocol=protocol, seed=seed)
    splits = make_splits(
        data.labels,
        data.groups_for(split_by),
        protocol=protocol,
        split_by=split_by,
        seed=seed,
        class_names=data.class_names,
    )
    return replace(splits, origin=f"{protocol}, {origin_text(data, split_by)}, seed {seed}")


def origin_text(data: SketchData, split_by: str) -> str:
    """The groups that stay together in a division that is made here."""
    if split_by == "photo" and data.group_names is not None:
        return f"by group ({data.group_origin})"
    return f"by {split_by}" if data.has_groups else "no photos known"


def complete_split(data: SketchData, *, protocol: str, seed: int) -> Splits:
    """The data's own division; a validation or test part that it lacks is taken out of train. Raises ValueError."""
    if data.given_split is None:
        raise ValueError(
            f"--split-by {OWN_SPLIT} needs data that are divided already: by folders train, val and test, or by a "
            "column split of --splits FILE"
        )
    parts = [np.flatnonzero(data.given_split == which).astype(np.int64) for which in range(3)]
    missing = tuple(which for which in (2, 1) if not len(parts[which]))
    num_train = np.bincount(data.labels[parts[0]], minlength=len(data.class_names))
    unlearned = [name for name, count in zip(data.class_names, num_train, strict=True) if not count]
    if unlearned:
        learned = {name.casefold().strip(): name for name in data.class_names if name not in unlearned}
        unlearned = [
            name + (f" (train has {learned[name.casefold().strip()]!r})" if name.casefold().strip() in learned else "")
            for name in unlearned
        ]
        raise ValueError(
            f"{len(unlearned)} of {len(num_train)} classes have no drawings in train ({data.split_origin}), so that "
            f"they cannot be learned: {', '.join(unlearned[:20])}{', ...' if len(unlearned) > 20 else ''}. Name the "
            f"others with --classes, or divide all drawings anew with --split-by photo"
        )
    origin = data.split_origin
    if missing:
        train = parts[0]
        made = make_splits(
            data.labels[train],
            data.groups[train],
            protocol=protocol,
            split_by="photo",
            seed=seed,
            class_names=data.class_names,
            parts=missing,
        )
        for which in (0, *missing):
            parts[which] = train[getattr(made, SPLIT_NAMES[which])]
        taken = " and ".join(SPLIT_NAMES[which] for which in sorted(missing))
        origin += f"; {taken} taken out of train ({protocol}, {origin_text(data, 'photo')}, seed {seed})"
    return Splits(*parts, origin=origin)


def make_splits(
    labels: np.ndarray,
    groups: np.ndarray,
    *,
    protocol: str,
    split_by: str,
    seed: int,
    class_names: Sequence[str] | None = None,
    parts: Sequence[int] = (2, 1),
) -> Splits:
    """Divide drawings; stratified, the same for the same seed.

    labels, groups: int64 [N]; drawings of one group stay together. split_by says what the groups are, for messages:
    photos, or files as in the paper, which puts drawings of one photo on both sides (`SketchData.groups_for`).
    parts: those of `SPLIT_NAMES` that are taken out of the first, in this order; any other stays empty.
    Every class gets at least one group in each split. Beyond that, each class gets its share of the wanted number,
    and what rounding leaves over is carried to the next class, so that the totals come out.
    Raises ValueError that names the classes with fewer groups than there are splits.
    """
    for name, value, known in (("protocol", protocol, PROTOCOLS), ("split_by", split_by, SPLIT_BY)):
        if value not in known:
            raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}")
    group_of = np.unique(groups, return_inverse=True)[1]  # int64 [N], 0 .. number of groups - 1
    num_classes = int(labels.max()) + 1 if len(labels) else 0
    members = [np.flatnonzero(labels == label) for label in range(num_classes)]
    has_photos = len(set(groups)) < len(groups)
    _check_enough_groups(members, group_of, class_names, split_by, has_photos=has_photos, parts=parts)
    wanted = PROTOCOLS[protocol](len(labels))
    rng = np.random.default_rng(seed)
    split_of = np.full(int(group_of.max()) + 1, -1)  # per group: index into SPLIT_NAMES, -1 for not yet
    carry = [0.0, 0.0]
    for label in rng.permutation(num_classes):
        ids, sizes = np.unique(group_of[members[label]], return_counts=True)
        order = rng.permutation(len(ids))
        ids, sizes = ids[order], sizes[order]
        for num_done, which in enumerate(parts):  # test first, then validation
            target = wanted[which - 1] * len(members[label]) / len(labels) + carry[which - 1]
            free = split_of[ids] == -1
            # A photo that stands behind two classes was already given away with the first of them.
            num_taken = sizes[split_of[ids] == which].sum()
            most = int(free.sum()) - (len(parts) - num_done)  # leaves a group for each split still to come
            chosen = _choose_groups(sizes[free], target - num_taken, most, least=int(num_taken == 0 and most > 0))
            split_of[ids[free][chosen]] = which
            missed = target - num_taken - sizes[free][chosen].sum()
            # Only rounding is carried: a class too small for its share must not take from the others.
            half_group = sizes.mean() / 2
            carry[which - 1] = float(np.clip(missed, -half_group, half_group))
        split_of[ids[split_of[ids] == -1]] = 0
    splits = split_of[group_of]
    return Splits(*(np.flatnonzero(splits == which).astype(np.int64) for which in range(3)))


def _check_enough_groups(
    members: list[np.ndarray],
    group_of: np.ndarray,
    class_names: Sequence[str] | None,
    split_by: str,
    has_photos: bool,
    parts: Sequence[int],
) -> None:
    unit = "photos" if split_by == "photo" and has_photos else "drawings"
    too_few = []
    for label, indices in enumerate(members):
        num_groups = len(np.unique(group_of[indices]))
        if num_groups <= len(parts):
            too_few.append(f"{class_names[label] if class_names else f'class {label}'} ({num_groups})")
    if too_few or not members:
        listed = ", ".join(too_few[:50]) + (f" and {len(too_few) - 50} more" if len(too_few) > 50 else "")
        advice = "; --split-by file does not keep photos together" if unit == "photos" else ""
        advice += "; exact copies count as one" if unit == "drawings" and has_photos else ""
        advice += "; or name the other classes with --classes, to leave these out"
        *others, last = [name for which, name in enumerate(SPLIT_NAMES) if which in (0, *parts)]
        raise ValueError(
            f"{', '.join(others)} and {last} need at least {('two', 'three')[len(parts) - 1]} {unit} of each class, "
            f"too few in: {listed or 'all'}{advice}"
        )


def _choose_groups(sizes: np.ndarray, target: float, most: int, least: int) -> list[int]:
    """Positions of groups, from the front, whose sizes add up close to the target; from `least` to `most` of them."""
    chosen: list[int] = []
    total = 0
    for position, size in enumerate(sizes):
        if len(chosen) < most and total + size / 2 <= target:
            chosen.append(position)
            total += size
    if len(chosen) < least and len(sizes):
        chosen = [int(np.argmin(sizes))]  # the share is less than half a group: the smallest overshoots least
    return chosen


def write_splits(path: str | Path, data: SketchData, splits: Splits) -> None:
    """Write one row per drawing: image, class, split, and photo where photos are known. Atomic."""
    split_of = splits.of_each(len(data.names))
    temporary = Path(f"{path}.{os.getpid()}.tmp")
    with temporary.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["image", "class", "split"] + ([data.group_noun[:-1]] if data.has_groups else []))
        for index, (image, label) in enumerate(zip(data.names, data.labels, strict=True)):
            group = data.group_names[index] if data.group_names is not None else photo_of(image) or ""
            cells = [image, data.class_names[label], split_of[index], *([group] if data.has_groups else [])]
            writer.writerow(to_cells(cells))
        _flush_to_disk(file)
    temporary.replace(path)


def _flush_to_disk(file: TextIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def hash_splits(data: SketchData, splits: Splits) -> str:
    """SHA-256 of which split each drawing is in."""
    pairs = list(zip(data.names, splits.of_each(len(data.names)), strict=True))
    return hashlib.sha256(json.dumps(pairs).encode()).hexdigest()


def read_splits(path: str | Path, data: SketchData) -> Splits:
    """Read what `write_splits` wrote. Raises OSError, and ValueError when it does not match the data.

    It is compared drawing by drawing.
    """
    content = read_regular(path, MAX_TABLE_BYTES)
    with parsing(path):
        lines = csv.reader(io.StringIO(content.decode("utf-8", "surrogateescape"), newline=""), strict=True)
        header, *cells = [[from_cell(cell) for cell in line] for line in lines if line] or [[]]
    if not {"image", "class", "split"} <= set(header):
        raise ValueError(f"{path} must have the columns image, class and split, has {', '.join(header) or 'nothing'}")
    if any(len(line) != len(header) for line in cells):
        raise ValueError(f"{path} is damaged: a row has not as many cells as there are columns")
    rows = [dict(zip(header, line, strict=True)) for line in cells]
    found = {row["image"]: row for row in rows}
    if len(found) != len(rows):
        raise ValueError(f"{path} does not match the data: it names an image twice")
    differing = set(found).symmetric_difference(data.names)
    if differing:
        raise ValueError(
            f"{path} does not match the data: it has {len(rows)} images, the data {len(data.names)}; "
            f"{len(differing)} are in one only, for example {min(differing)}"
        )
    split_of = np.zeros(len(data.names), np.int64)
    for index, (image, label) in enumerate(zip(data.names, data.labels, strict=True)):
        row = found[image]
        if row["class"] != data.class_names[label]:
            raise ValueError(
                f"{path} does not match the data: {image} is {data.class_names[label]}, not {row['class']}"
            )
        if row["split"] not in SPLIT_NAMES:
            raise ValueError(f"{path}: split must be one of {', '.join(SPLIT_NAMES)}, got {row['split']!r}")
        split_of[index] = SPLIT_NAMES.index(row["split"])
    return Splits(*(np.flatnonzero(split_of == which) for which in range(3)))

"""A decoded data set: one memory-mapped array of drawings with labels, names and photo groups."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

# Sketchy database (Sangkloy et al. 2016): <WordNet id>_<photo>-<number of the drawing>.png
SKETCHY_NAME = re.compile(r"(n\d{8}_\d+)-\d+\.\w+")


@dataclass(frozen=True)
class SketchData:
    """N drawings, all decoded to the same size.

    images: uint8 [N, image_px, image_px], memory-mapped, read-only; ink 255 on 0, or 0 on 255 when not inverted.
    labels: int64 [N], index into class_names.
    class_names: sorted.
    names: source of each drawing, relative to the data ("cat/n02123045_12-1.png", "doodles/cat/17").
    groups: int64 [N]; drawings of one photo share a group, any other drawing has its own.
    fingerprint: SHA-256 over content and settings.
    stand_in: the drawings come from a program, not from people.
    has_photos: names follow the Sketchy database, so that the photo behind each drawing is known.
    skipped: {"name", "reason"} of what skip_bad_images left out.
    original_px: smallest and largest original side, where there is one.
    details: settings and findings kept for the record (see `meta.json` in the cache folder).
    """

    images: np.ndarray
    labels: np.ndarray
    class_names: list[str]
    names: list[str]
    groups: np.ndarray
    fingerprint: str
    stand_in: bool
    has_photos: bool
    skipped: list[dict[str, str]]
    original_px: tuple[int, int] | None
    details: dict[str, Any]


def photo_of(name: str) -> str | None:
    """The photo behind a drawing of the Sketchy database ("n02123045_12"), None for any other name."""
    match = SKETCHY_NAME.fullmatch(name.rsplit("/", 1)[-1])
    return match[1] if match else None


def is_whole(folder: Path) -> bool:
    """Whether `open_data` would open the folder."""
    try:
        open_data(folder)
    except ValueError:
        return False
    return True


def open_data(cache_folder: str | Path) -> SketchData:
    """Open what `prepare_data` made, in milliseconds. Raises ValueError when it is not whole."""
    folder = Path(cache_folder)
    try:
        meta = json.loads((folder / "meta.json").read_text())
        images = np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False)
        labels = np.load(folder / "labels.npy", allow_pickle=False)
        groups = np.load(folder / "groups.npy", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"{folder} is not a whole decoded data set: {error}") from error
    names = meta.pop("names")
    if not len(images) == len(labels) == len(groups) == len(names):
        raise ValueError(f"{folder} is not a whole decoded data set: its arrays differ in length")
    original_px = meta.pop("original_px")
    return SketchData(
        images=images,
        labels=labels,
        class_names=meta.pop("class_names"),
        names=names,
        groups=groups,
        fingerprint=meta.pop("fingerprint"),
        stand_in=meta.pop("stand_in"),
        has_photos=meta.pop("has_photos"),
        skipped=meta.pop("skipped"),
        original_px=tuple(original_px) if original_px else None,
        details=meta,
    )

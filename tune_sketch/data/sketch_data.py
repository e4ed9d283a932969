"""Opens a decoded data set: one memory-mapped array of drawings with labels, names and photo groups."""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tune_sketch.data.bounds import reason_text

FORMAT_VERSION = 2  # of decoded drawings; raise it when the same files would give other pixels
# Sketchy database (Sangkloy et al. 2016): <WordNet id>_<photo>-<number of the drawing>.png
SKETCHY_NAME = re.compile(r"(n\d{8}_\d+)-\d+\.\w+")


@dataclass(frozen=True)
class SketchData:
    """N drawings, all decoded to the same size.

    images: uint8 [N, image_px, image_px], memory-mapped, read-only; ink 255 on 0, or 0 on 255 when not inverted.
    labels: int64 [N], index into class_names.
    class_names: sorted.
    names: source of each drawing, relative to the data ("cat/n02123045_12-1.png", "doodles/cat/17").
    groups: int64 [N]; drawings of one photo share a group, and so do exact copies; any other drawing has its own.
    fingerprint: SHA-256 over content and settings.
    synthetic: the drawings come from a program, not from people.
    has_photos: names follow the Sketchy database, so that the photo behind each drawing is known.
    skipped: {"name", "reason"} of each drawing that skip_bad_images left out.
    original_px: smallest and largest original side, where there is one.
    num_light_on_dark: drawings whose files show light ink on dark paper.
    paper_by_class: mean grey value of the files' paper by class, if it could tell the classes apart by itself.
    copies: {index: index of the first drawing with the same content} of drawings that are exact copies.
    num_first_of_many: pictures whose files hold other frames or pages too, which are not used.
    near_copies: (index, index of an earlier drawing that looks alike, bits of 256 that their hashes are apart); None
        where they were not looked for, as among tiny pictures.
    given_split: int8 [N], index into `SPLIT_NAMES`, where the data are divided already. split_origin: what says so.
    group_names, group_origin: what keeps each drawing together with others, and what says so, where the user does.
    """

    images: np.ndarray
    labels: np.ndarray
    class_names: list[str]
    names: list[str]
    groups: np.ndarray
    fingerprint: str
    synthetic: bool
    has_photos: bool
    skipped: list[dict[str, str]]
    original_px: tuple[int, int] | None
    num_light_on_dark: int = 0
    paper_by_class: dict[str, float] | None = None
    copies: dict[int, int] = field(default_factory=dict)
    num_first_of_many: int = 0
    near_copies: tuple[tuple[int, int, int], ...] | None = ()
    given_split: np.ndarray | None = None
    split_origin: str = ""
    group_names: list[str] | None = None
    group_origin: str = ""

    @property
    def has_groups(self) -> bool:
        """Whether drawings belong together: by their photo, or as the user says."""
        return self.has_photos or self.group_names is not None

    @property
    def group_noun(self) -> str:
        """The name of what keeps drawings together."""
        return "photos" if self.group_names is None else "groups"

    def groups_for(self, split_by: str) -> np.ndarray:
        """int64 [N]: drawings that may not be on two sides of a split. By file only exact copies stay together."""
        if split_by == "photo":
            return self.groups
        return np.array([self.copies.get(index, index) for index in range(len(self.labels))], np.int64)


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
    """Open a folder of `prepare_data`, in milliseconds. Raises ValueError when it is incomplete or outdated."""
    folder = Path(cache_folder)
    try:
        return _open(folder)
    except KeyError as error:
        raise ValueError(f"{folder} is not a whole decoded data set: meta.json lacks {error}") from error
    except Exception as error:  # NumPy reads an array's heading as Python, which raises almost anything
        raise ValueError(f"{folder} is not a whole decoded data set: {reason_text(error)}") from error


def _open(folder: Path) -> SketchData:
    meta = json.loads((folder / "meta.json").read_text())
    if meta["format_version"] != FORMAT_VERSION:
        raise ValueError(f"its format is {meta['format_version']}, this version reads {FORMAT_VERSION}")
    for name, kind in (("fingerprint", str), ("class_names", list), ("names", list)):
        if not isinstance(meta[name], kind):
            raise ValueError(f"its {name} are of type {type(meta[name]).__name__}")
    images = np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False)
    labels = np.load(folder / "labels.npy", allow_pickle=False)
    groups = np.load(folder / "groups.npy", allow_pickle=False)
    if not len(images) == len(labels) == len(groups) == len(meta["names"]):
        raise ValueError("its arrays differ in length")
    return SketchData(
        images=images,
        labels=labels,
        class_names=meta["class_names"],
        names=meta["names"],
        groups=groups,
        fingerprint=meta["fingerprint"],
        synthetic=meta["synthetic"],
        has_photos=meta["has_photos"],
        skipped=meta["skipped"],
        original_px=tuple(meta["original_px"]) if meta["original_px"] else None,
        num_light_on_dark=meta["num_light_on_dark"],
        paper_by_class=meta["paper_by_class"],
        copies=dict(meta["copies"]),
        num_first_of_many=meta["num_first_of_many"],
        near_copies=None if meta["near_copies"] is None else tuple(map(tuple, meta["near_copies"])),
        given_split=None if meta.get("given_split") is None else np.array(meta["given_split"], np.int8),
        split_origin=meta.get("split_origin", ""),
        group_names=meta.get("group_names"),
        group_origin=meta.get("group_origin", ""),
    )

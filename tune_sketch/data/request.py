"""Defines a request for drawings and how to decode them, and the error that lists all problems with them."""

import dataclasses
import math
import os
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tune_sketch.data.names import written_lines, written_name

SMALLEST_IMAGE_PX, LARGEST_IMAGE_PX = 8, 4096
MAX_PRINTED_PROBLEMS = 50
_NUMBERED = re.compile(r"(?<=.)(:[a-z]+)?:\d+$", re.DOTALL)  # a drawing's position in its file


@dataclass(frozen=True)
class DataRequest:
    """The choices that identify one decoded data set.

    data: "doodles", "quickdraw", or a path: a folder of class folders, of .ndjson or .npy files (one per class), of
        folders train, val and test that hold these, or of pictures and a table; or a .zip or .tar(.gz, .bz2, .xz).
    image_px: side of the square that every drawing is resampled to.
    classes: names, or the first N classes in sorted order; None is all.
    per_class: N drawings per class, chosen by `seed` ("quickdraw": the first N of each file); a class that has fewer
        gives all it has. None: all of a path, 60 per class of the doodles and 160 of "quickdraw".
    invert: True makes ink 255 on 0 (the paper, Fig. 15); False makes ink 0 on 255.
    skip_bad_images: leave bad images out and record them; without it they are one error.
    download: fetch missing classes; only for "quickdraw".
    splits: a table of the drawings that count, with their split, class or group.
    group_by: regular expression that finds in a drawing's name what keeps it together with others, or a column.
    class_from: regular expression that finds the class in a picture's name, instead of class folders.
    pen_width_px: pen of drawings that are strokes; None depends on `image_px`.
    seed: chooses the drawings of `per_class` and draws the doodles.

    Raises ValueError (name, rule and value) when a choice is impossible.
    """

    data: str
    image_px: int
    classes: tuple[str, ...] | int | None = None
    per_class: int | None = None
    invert: bool = True
    skip_bad_images: bool = False
    download: bool = False
    splits: str | None = None
    group_by: str | None = None
    class_from: str | None = None
    pen_width_px: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.classes, tuple):
            object.__setattr__(self, "classes", tuple(map(written_name, self.classes)))
        if not SMALLEST_IMAGE_PX <= self.image_px <= LARGEST_IMAGE_PX:
            raise ValueError(f"image_px must be from {SMALLEST_IMAGE_PX} to {LARGEST_IMAGE_PX}, got {self.image_px}")
        num_classes = self.classes if isinstance(self.classes, int) else len(set(self.classes or ("a", "b")))
        if num_classes < 2:
            raise ValueError(f"classes must be at least two classes to tell apart, got {self.classes}")
        if self.per_class is not None and self.per_class < 1:
            raise ValueError(f"per_class must be at least 1, got {self.per_class}")
        if self.download and self.data != "quickdraw":
            raise ValueError(f"download is only for the data set quickdraw, got {self.data!r}")
        if self.pen_width_px is not None and not 0 < self.pen_width_px < math.inf:
            raise ValueError(f"pen_width_px must be a positive number, got {self.pen_width_px}")
        if self.seed < 0:
            raise ValueError(f"seed must be 0 or more, got {self.seed}")

    def to_json(self) -> dict[str, object]:
        """All fields as JSON values."""
        values = dataclasses.asdict(self)
        return values | {"classes": list(self.classes)} if isinstance(self.classes, tuple) else values


@dataclass(frozen=True)
class Problem:
    """One problem with a data set."""

    name: str  # the drawing, file or class, relative to the data
    reason: str
    fatal: bool = False  # cannot be left out by skip_bad_images

    def to_json(self) -> dict[str, str]:
        """As it is recorded in `SketchData.skipped`."""
        return {"name": written_name(self.name), "reason": written_lines(self.reason)}


class DataError(ValueError):
    """All problems with a data set in one message, which shows at most 50 of them."""

    def __init__(self, data: str, problems: Sequence[Problem]) -> None:
        self.data = data
        self.problems = list(problems)
        is_path = Path(data).exists()
        lines = [f"{data}: {len(self.problems)} problem{'s' * (len(self.problems) != 1)} with the drawings"]
        lines += [f"  {Path(data) / line if is_path else line}" for line in problem_lines(self.problems)]
        if not any(problem.fatal for problem in self.problems):
            lines.append("Repair or remove them, or go on without them by --skip-bad-images.")
        super().__init__(written_lines("\n".join(lines)))

    def __reduce__(self) -> tuple[type, tuple[str, list[Problem]]]:
        return type(self), (self.data, self.problems)  # the default would rebuild it from the message alone


def problem_lines(problems: Sequence[Problem]) -> list[str]:
    """One line for each file that has problems, at most MAX_PRINTED_PROBLEMS: the first of its problems, and how many.

    Drawings of one file are called FILE:NUMBER.
    """
    by_file: dict[str, list[Problem]] = {}
    for problem in problems:
        by_file.setdefault(_NUMBERED.sub("", problem.name), []).append(problem)
    lines = []
    for first, *others in list(by_file.values())[:MAX_PRINTED_PROBLEMS]:
        num_alike = sum(problem.reason == first.reason for problem in others)
        alike = f"the same of {num_alike:,} more" if num_alike else ""
        unlike = f"{len(others) - num_alike:,} others in this file" if len(others) > num_alike else ""
        more = " and ".join(filter(None, (alike, unlike)))
        lines.append(f"{first.name}: {first.reason}" + (f" ({more})" if more else ""))
    if len(by_file) > MAX_PRINTED_PROBLEMS:
        num_more = sum(map(len, list(by_file.values())[MAX_PRINTED_PROBLEMS:]))
        lines.append(f"... and {num_more:,} more")
    return lines


def default_cache_dir() -> Path:
    """$TUNE_SKETCH_CACHE, the cache of all machines, or this machine's own if that is unset or a URL."""
    kept = os.environ.get("TUNE_SKETCH_CACHE", "")
    return _expand(kept) if kept and "://" not in kept else node_cache_dir()


def node_cache_dir() -> Path:
    """$TUNE_SKETCH_NODE_CACHE, on this machine's own disk, or ~/.cache/tune_sketch."""
    return _expand(os.environ.get("TUNE_SKETCH_NODE_CACHE") or "~/.cache/tune_sketch")


def make_cache_dir(folder: Path) -> None:
    """Make a folder of the cache. Raises ValueError, which says how to choose another one."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(
            f"the cache {folder} cannot be written ({error.strerror}): set TUNE_SKETCH_CACHE to a folder that can"
        ) from error


def _expand(path: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise ValueError(
            f"the cache {path} cannot be found ({error}): set TUNE_SKETCH_CACHE to a folder that can be written"
        ) from None

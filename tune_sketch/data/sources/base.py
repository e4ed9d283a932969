"""The origin of drawings before any of them is read, and the choice of its classes."""

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tune_sketch.data.sources.tables import SPLIT_WORDS, Row

# As folders are called: Train, training_set, test-images, val2017.
_SPLIT_FOLDER = re.compile(
    rf"({'|'.join(sorted(SPLIT_WORDS, key=len, reverse=True))})"
    r"([ _.-]?(set|data|dataset|split|images?|imgs|pictures|sketches|drawings))?\d*",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Source:
    """The origin of drawings, before any of them is read.

    format: name in `DRAWING_FORMATS` of all files. root: folder that the files are relative to; None for doodles.
    files: class -> files; a class may be empty. Sorted.
    first: drawings of a class that are taken, the first ones, where per_class is not given; None: all are, and
        per_class chooses at random.
    left_out: suffix -> number of files that are no drawings. notes: sentences about what else was not used, or how
        it was understood.
    splits, groups: file -> "train", "validation" or "test", and what keeps it together with others, where the data
        say so. rows: the same by drawing, of the drawings that a table names; None: all are taken.
    split_origin, group_origin: what says so. group_column: the table's column of groups.
    tables: the files that classes, splits and groups were read from.
    """

    format: str
    root: Path | None
    files: dict[str, list[str]]
    synthetic: bool = False
    first: int | None = None
    left_out: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    splits: dict[str, str] = field(default_factory=dict)
    groups: dict[str, str] = field(default_factory=dict)
    rows: dict[str, Row] | None = None
    split_origin: str = ""
    group_origin: str = ""
    group_column: str = ""
    tables: tuple[Path, ...] = ()


def split_of_folder(name: str) -> str | None:
    """The split that a folder of this name holds, None for any other name."""
    match = _SPLIT_FOLDER.fullmatch(name.strip())
    return SPLIT_WORDS[match[1].lower()] if match else None


def select_classes(known: Iterable[str], wanted: tuple[str, ...] | int | None) -> list[str]:
    """The wanted classes, sorted. Raises ValueError that lists the known ones for an unknown name."""
    names = sorted(known)
    if wanted is None:
        return names
    if isinstance(wanted, int):
        if wanted > len(names):
            raise ValueError(f"classes must be at most {len(names)}, the number there is, got {wanted}")
        return names[:wanted]
    for name in wanted:
        if name not in names:
            raise ValueError(
                f"classes has an unknown name {name!r}{did_you_mean(name, names)}; known: {', '.join(names)}"
            )
    return sorted(set(wanted))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A suggestion to append to an error message, or nothing."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def list_some(names: Iterable[str], most: int = 5) -> str:
    """The first names, and how many more there are."""
    known = list(names)
    return ", ".join(known[:most]) + (f" and {len(known) - most:,} more" if len(known) > most else "")

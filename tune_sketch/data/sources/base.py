"""The origin of drawings before any of them is read, and the choice of its classes."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Source:
    """The origin of drawings, before any of them is read.

    format: name in `DRAWING_FORMATS` of all files. root: folder that the files are relative to; None for doodles.
    files: class -> files; a class may be empty. Sorted.
    first: drawings of a class that are taken, the first ones, where per_class is not given; None: all are, and
        per_class chooses at random.
    left_out: suffix -> number of files that are no drawings.
    """

    format: str
    root: Path | None
    files: dict[str, list[str]]
    synthetic: bool = False
    first: int | None = None
    left_out: dict[str, int] = field(default_factory=dict)


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

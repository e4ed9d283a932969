"""Reads the paths that users give, all by one rule."""

import os
import re
from argparse import ArgumentTypeError
from pathlib import Path

from tune_sketch.data.names import written_lines

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")  # one letter would be a drive


def read_path(text: str | Path) -> Path:
    """The path that a user wrote, its ~ expanded, also after an equals sign. Raises ValueError for what is none."""
    path = str(text)
    scheme = _URL.match(path)
    if scheme and not os.path.lexists(path):
        raise ValueError(f"must be a path on this machine and not a URL ({scheme[1]}:), got {path!r}")
    if not path or written_lines(path) != path or re.search(r"[\t\n]", path):
        raise ValueError(
            f"must be a path in UTF-8 without control characters, got {path!a}: rename it, or make a link to it"
        )
    try:
        return Path(path).expanduser()
    except RuntimeError as error:  # no such user, or no home
        raise ValueError(f"must be a path, got {path!r}: {error}") from None


def path_argument(text: str) -> Path:
    """The same for argparse, which names the flag before the message."""
    try:
        return read_path(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None

"""The bounds of what is read from others: regular files of a bounded size, and no parser's own exceptions."""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

MAX_FILE_BYTES = 2**28  # of a file that is read whole: a picture, a record of a run
MAX_TABLE_BYTES = 2**31  # of a table of drawings: 50 million rows


def open_regular(path: str | Path) -> BinaryIO:
    """A regular file, to read. Raises OSError for a pipe, which could be waited for for ever, and for a device."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "no regular file", str(path))
    return os.fdopen(descriptor, "rb")


def read_regular(path: str | Path, most: int = MAX_FILE_BYTES) -> bytes:
    """The content of a regular file that is not longer than the limit in bytes. Raises OSError."""
    with open_regular(path) as file:
        num_bytes = os.fstat(file.fileno()).st_size
        content = b"" if num_bytes > most else file.read(most + 1)
    if max(num_bytes, len(content)) > most:
        raise OSError(errno.EFBIG, f"{max(num_bytes, len(content)):,} bytes, more than {most:,}", str(path))
    return content


def reason_text(error: BaseException) -> str:
    """A parser's exception in one short line, with its kind where that is no ValueError."""
    said = " ".join(str(error).split())[:200]
    return said if isinstance(error, ValueError) and said else f"{type(error).__name__}: {said}".removesuffix(": ")


@contextlib.contextmanager
def parsing(what: object) -> Iterator[None]:
    """Within it whatever a parser raises on damaged content becomes a ValueError that names the input.

    Parsers raise almost anything: RecursionError of nested brackets, OverflowError of 1e999, KeyError, struct.error.
    """
    try:
        yield
    except OSError:
        raise  # the file itself cannot be read, which names it
    except Exception as error:
        raise ValueError(f"{what} is damaged: {reason_text(error)}") from error

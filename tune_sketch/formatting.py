"""Prints what a reading command has to tell of a run, and a clear message where there is no such run."""

import os
import sys
from collections.abc import Callable

from tune_sketch.storage.journal import JournalError


def tell(compose: Callable[[], list[str]]) -> int:
    """Print the lines; the command's exit code: 2 for what the user can mend."""
    try:
        print("\n".join(compose()))
    except BrokenPipeError:  # `status RUN | head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (ValueError, JournalError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0

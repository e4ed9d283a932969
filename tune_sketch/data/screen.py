"""Prints what a command has to say, on any terminal: no name in it fails, and none steers the terminal."""

import io
import sys

from tune_sketch.data.names import written_lines


def prepare_screen() -> None:
    """Let standard output escape what the terminal's encoding lacks, as standard error does."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def print_error(error: BaseException) -> int:
    """Say what the user can mend. The command's exit code."""
    print(f"error: {written_lines(str(error))}", file=sys.stderr)
    return 2

"""Writes commands for the user to copy into a shell: every path and word quoted."""

import shlex
from pathlib import Path


def command_text(module: str, *arguments: str | Path, more: str = "") -> str:
    """A command of this program. more: what the user puts in its place, as IMAGE..."""
    command = ["python", "-m", f"tune_sketch.{module}", *map(word_of, arguments)]
    return shlex.join(command) + (f" {more}" if more else "")


def quoted(path: Path) -> str:
    """A path as a word of a command."""
    return shlex.quote(word_of(path))


def tensorboard_text(folder: Path) -> str:
    """The command that shows a folder in TensorBoard."""
    return shlex.join(["tensorboard", "--logdir", word_of(folder)])


def word_of(argument: str | Path) -> str:
    """An argument as it may stand in a command: no path looks like a flag."""
    return f"./{argument}" if isinstance(argument, Path) and str(argument).startswith("-") else str(argument)

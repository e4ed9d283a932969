"""Turns numbers, durations and trials into the words of the screen and the reports, and prints a command's answer."""

import os
import sys
from collections.abc import Callable

from tune_sketch.data.names import written_lines
from tune_sketch.data.screen import prepare_screen, print_error
from tune_sketch.events import Trial
from tune_sketch.storage.history import JournalError

PHRASES = {
    "completed": "completed",
    "stopped": "stopped by ASHA",
    "diverged": "diverged",
    "out_of_memory": "out of memory",
    "failed": "FAILED",
}


def name_of(trial: Trial) -> str:
    """A training's name on the screen, in a search over several networks with its own."""
    network = "" if trial.network is None else f" ({trial.network})"
    if trial.is_last_step:
        return f"last step: trial {trial.number} on training and validation drawings"
    if trial.is_retraining:
        return f"retraining of trial {trial.number}{network}, seed {trial.seed_index}"
    return f"trial {trial.number}{network}"


def percent(fraction: float | None) -> str:
    """A fraction in [0, 1] as printed text."""
    return "-" if fraction is None else f"{100 * fraction:.1f} %"


def duration_text(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.1f} days"


def count_text(number: int, noun: str) -> str:
    """A number of things: "1 epoch", "2 epochs"."""
    return f"{number} {noun}{'s' * (number != 1)}"


def short_text(value: object) -> str:
    """A configuration's value on the screen."""
    if value is None:
        return ""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def print_lines(compose: Callable[[], list[str]]) -> int:
    """Print what a reading command composes; its exit code: 2 for what the user can mend."""
    prepare_screen()
    try:
        print(written_lines("\n".join(compose())))
    except BrokenPipeError:  # `status RUN | head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (ValueError, JournalError, OSError) as error:
        return print_error(error)
    return 0

"""Checks of what a user gave: each raises ValueError with the name, the rule and the value."""

import difflib
import re
from collections.abc import Iterable

from tune_sketch.search_spaces import SPACES, is_timm

SHARES = (0.01, 4096)
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def check_known(what: str, name: object, known: Iterable[object]) -> None:
    """Raises ValueError that lists the known names when `name` is not one of them."""
    names = [str(k) for k in known]
    if name not in names:
        raise ValueError(f"{what} must be one of {', '.join(names)}, got {name!r}" + did_you_mean(str(name), names))


def check_model(name: str) -> None:
    """Raises ValueError for what cannot be a network's name. Which ones timm has is asked where it is imported."""
    if not is_timm(name):
        check_known("--model", name, [*SPACES, "timm:NAME"])


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A suggestion to append to an error message, or nothing."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def check_between(name: str, value: float, least: float, most: float) -> None:
    """Raises ValueError when a number is under its least value or over its most."""
    text = str(value)
    text = text[:20] + "..." if len(text) > 20 else text
    if not value >= least:
        raise ValueError(f"{name} must be at least {least}, got {text}")
    if not value <= most:
        raise ValueError(f"{name} must be at most {most:,}, got {text}")


def check_share(name: str, value: float | None, *, may_be_none: bool) -> None:
    """Raises ValueError for cores or GPUs of a trial that no machine has, or of which thousands would start at once."""
    least, most = SHARES
    if value is not None and not least <= value <= most and not (may_be_none and value == 0):
        raise ValueError(f"{name} must be {'0, or ' * may_be_none}from {least} to {most}, got {value:g}")


def parse_duration(text: str) -> float:
    """Seconds from "90", "45s", "30m", "2h", "1.5h" or "3d". Raises ValueError otherwise."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd]?)", text.strip())
    if not match:
        raise ValueError(f'a duration must look like "45s", "30m", "2h" or "3d", got {text!r}')
    return float(match[1]) * SECONDS.get(match[2], 1)


def check_run_name(name: str) -> str:
    """The name unchanged. Raises ValueError unless it is one plain folder name."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise ValueError(
            "--name must be one folder name of letters, digits, '.', '_' or '-' that begins with a letter or digit, "
            f"got {name!r}"
        )
    return name

"""Turns fractions, intervals and p values into the text of the page's cells and sentences."""

import math

from tune_sketch.formatting import duration_text


def percent_text(fraction: float | None, digits: int = 1) -> str:
    """A fraction in [0, 1] in percent, with its sign; nothing for a missing one."""
    return "" if fraction is None or math.isnan(fraction) else f"{100 * fraction:.{digits}f} %"


def interval_text(low: float | None, high: float | None) -> str:
    """A 95 % interval in percent, kept inside 0 to 100, or nothing."""
    if low is None or high is None:
        return ""
    return f"{100 * max(0.0, low):.1f} to {percent_text(min(1.0, high))}"


def points_text(fraction: float) -> str:
    """A difference of fractions in percentage points, with its sign."""
    return f"{100 * fraction:+.1f}"


def points_interval_text(low: float | None, high: float | None) -> str:
    """A 95 % interval of a difference of fractions, in percentage points, or nothing."""
    return "" if low is None or high is None else f"{points_text(low)} to {points_text(high)}"


def p_text(p: float) -> str:
    """A p value for a reader."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def seconds_text(seconds: float | None) -> str:
    """A duration, or nothing for a missing one."""
    return "" if seconds is None else duration_text(seconds)

"""Puts the values of a hyperparameter on a scale: numbers or words, linear or logarithmic."""

from collections.abc import Sequence
from typing import Any

import numpy as np

CONFIG_ORDER = (
    *("optimizer", "learning_rate", "momentum", "decay", "batch_size", "epochs"),
    *("weight_decay", "dropout", "label_smoothing", "freeze", "balanced_sampling"),
)


def config_order(name: str) -> tuple[int, str]:
    """Sort key: what matters most in training first, then the rest by name."""
    return (CONFIG_ORDER.index(name) if name in CONFIG_ORDER else len(CONFIG_ORDER), name)


def is_numeric(values: Sequence[Any]) -> bool:
    """Whether values are better drawn on a scale than as words: floats, or more than a few whole numbers."""
    if any(isinstance(v, bool | str) for v in values):
        return False
    return any(isinstance(v, float) and v % 1 for v in values) or len(set(values)) > 5


def is_logarithmic(values: Sequence[Any]) -> bool:
    """Whether numbers that a search space gave look drawn on a logarithmic scale: wide, and most of them small."""
    positive = sorted(v for v in values if isinstance(v, int | float) and not isinstance(v, bool) and v > 0)
    if len(positive) < 2:
        return False
    return bool(positive[-1] / positive[0] > 20 and positive[-1] / positive[len(positive) // 2] > 4)


def axis_scale(values: Sequence[Any]) -> tuple[list[float], list[tuple[float, str]]]:
    """(positions in [0, 1] of the values, ticks) on an axis: logarithmic, linear, or one position per word.

    A missing value, and 0 on a logarithmic axis, lie at the bottom, apart from the others.
    """
    present = [v for v in values if v is not None]
    if not is_numeric(present):
        words = sorted(set(present), key=lambda v: (isinstance(v, str), v))
        position_of = {str(word): i / max(1, len(words) - 1) for i, word in enumerate(words)}
        return [position_of.get(str(v), -0.12) for v in values], [(position_of[str(w)], str(w)) for w in words]
    logarithmic = is_logarithmic(present)
    usable = [v for v in present if v > 0] if logarithmic else present
    scale = np.log10 if logarithmic else np.asarray
    low, high = float(scale(min(usable))), float(scale(max(usable)))
    span = high - low or 1.0
    positions = [-0.12 if v is None or (logarithmic and v <= 0) else (float(scale(v)) - low) / span for v in values]
    middle = (low + high) / 2
    ticks = [((at - low) / span, f"{10**at if logarithmic else at:.2g}") for at in (low, middle, high)]
    if any(v == 0 for v in present) and logarithmic:
        ticks.append((-0.12, "0"))
    return positions, ticks

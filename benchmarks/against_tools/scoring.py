"""Scores every tool's answer in one way, and keeps per drawing whether it was right, so that differences are paired."""

import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tune_sketch.statistics import paired_interval, t_interval

TOP = 5


class Score(NamedTuple):
    """right: of each test drawing, in the order of their names, whether the best class is its own."""

    top1: float
    top5: float
    right: np.ndarray  # bool [N]


def score_answer(answer: Mapping[str, Any], folder: Path) -> Score:
    """The score of an answer on the prepared folder's test drawings.

    Raises ValueError where it lacks a drawing or class, has one too many, or a value that is no number. Equal values
    count against the tool: a constant answer knows nothing.
    """
    files = sorted(f"{file.parent.name}/{file.name}" for file in (folder / "test").glob("*/*.png"))
    classes = [path.name for path in sorted((folder / "train").iterdir())]
    if sorted(answer["classes"]) != sorted(classes):
        raise ValueError(f"the answer's classes are not those of the folder: {sorted(answer['classes'])[:5]} ...")
    if set(answer["probabilities"]) != set(files):
        raise ValueError(
            f"the answer is of {len(answer['probabilities'])} drawings, the folder has {len(files)} for testing"
        )
    values = np.array([answer["probabilities"][file] for file in files], np.float64)
    if values.shape != (len(files), len(classes)) or not np.isfinite(values).all():
        raise ValueError(f"the answer must be finite numbers [{len(files)}, {len(classes)}], got {values.shape}")
    column_of = {name: column for column, name in enumerate(answer["classes"])}
    own = values[np.arange(len(files)), [column_of[file.split("/")[0]] for file in files]]
    rank = (values >= own[:, None]).sum(axis=1)  # 1 for the best
    return Score(float((rank == 1).mean()), float((rank <= TOP).mean()), rank == 1)


def to_hex(right: np.ndarray) -> str:
    """Whether each drawing was right, as text of a quarter of the length."""
    return np.packbits(right).tobytes().hex()


def from_hex(text: str, num_drawings: int) -> np.ndarray:
    """bool [num_drawings] of `to_hex`."""
    return np.unpackbits(np.frombuffer(bytes.fromhex(text), np.uint8))[:num_drawings].astype(bool)


class Difference(NamedTuple):
    """One tool minus another, in fractions, over the repetitions that both have."""

    mean: float
    of_drawings: tuple[float, float]  # chance of the drawings: all repetitions' together, paired
    of_repetitions: tuple[float, float] | None  # Student's t, None for fewer than two
    num_repetitions: int


def compare(ours: Mapping[int, np.ndarray], theirs: Mapping[int, np.ndarray]) -> Difference | None:
    """The difference of two tools from the drawings that each had right, by repetition. None without a common one."""
    common = sorted(set(ours) & set(theirs))
    if not common:
        return None
    for repetition in common:
        assert ours[repetition].shape == theirs[repetition].shape, "not the same test drawings"
    gained = sum(int((ours[r] & ~theirs[r]).sum()) for r in common)
    lost = sum(int((theirs[r] & ~ours[r]).sum()) for r in common)
    differences = [float(ours[r].mean() - theirs[r].mean()) for r in common]
    number = sum(len(ours[r]) for r in common)
    return Difference(
        statistics.fmean(differences), paired_interval(gained, lost, number), t_interval(differences), len(common)
    )


def mean_text(values: Sequence[float]) -> str:
    """A mean in percent with the lowest and highest."""
    if not values:
        return ""
    numbers = [100 * value for value in values]
    return f"{math.fsum(numbers) / len(numbers):.1f} ({min(numbers):.1f} to {max(numbers):.1f})"

"""Reads back what a network said of a split."""

import io
from pathlib import Path

import numpy as np

from tune_sketch.data.bounds import MAX_TABLE_BYTES, parsing, read_regular


def read_probabilities(path: Path) -> np.ndarray:
    """float32 [N, num_classes] of a file in retrained/. Raises ValueError where it is damaged."""
    content = read_regular(path, MAX_TABLE_BYTES)
    with parsing(path), np.load(io.BytesIO(content), allow_pickle=False) as file:
        found: np.ndarray = file["probabilities"]
        if found.ndim != 2 or found.dtype != np.float32 or not np.isfinite(found).all():
            raise ValueError(f"it holds {found.dtype} {list(found.shape)}, not a probability of each class")
    return found

"""Bitmaps of Quick, Draw!: one .npy file per class, a drawing in each row."""

import math
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice

import numpy as np
from PIL import Image

from tune_sketch.data.formats.base import Decoded, DecodeSettings, Drawing, Format
from tune_sketch.data.pixels import prepare_ink


class Bitmaps(Format):
    """Rows of a memory-mapped array."""

    suffix = ".npy"

    def list(self, file: str, path: str, class_name: str, most: int | None) -> Iterator[Drawing]:
        for row in islice(range(open_bitmaps(path).shape[0]), most):
            yield Drawing(f"{file}:{row + 1}", class_name, "bitmaps", path, row)

    def read(self, drawing: Drawing) -> bytes:
        row: np.ndarray = _open_bitmaps_once(drawing.path)[drawing.position]
        return row.tobytes()

    def decode(self, drawing: Drawing, content: bytes, settings: DecodeSettings) -> Decoded:
        side = math.isqrt(len(content))
        picture = Image.fromarray(np.frombuffer(content, np.uint8).reshape(side, side))
        prepared = prepare_ink(picture, settings.image_px, may_be_photo=False)
        return Decoded(prepared.ink, side, prepared.paper)


@lru_cache(maxsize=16)
def _open_bitmaps_once(path: str) -> np.ndarray:
    return open_bitmaps(path)


def open_bitmaps(path: str) -> np.ndarray:
    """Rows of Quick, Draw! bitmaps, uint8 [N, side * side], memory-mapped. Raises OSError, ValueError."""
    try:
        rows: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError:
        raise
    except Exception as error:  # of an empty file, and of a damaged heading, which NumPy reads as Python
        raise ValueError(f"no array of NumPy: {error or type(error).__name__}") from error
    side = int(rows.shape[-1] ** 0.5) if rows.ndim == 2 else 0
    if rows.ndim != 2 or rows.dtype != np.uint8 or side * side != rows.shape[1]:
        raise ValueError(f"must be uint8 [N, 784] (or another square), is {rows.dtype} {list(rows.shape)}")
    return rows

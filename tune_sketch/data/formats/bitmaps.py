"""Bitmaps of Quick, Draw!: one .npy file per class, a drawing in each row."""

import math
import os
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from typing import NamedTuple

import numpy as np
from PIL import Image

from tune_sketch.data.bounds import open_regular, reason_text
from tune_sketch.data.formats.base import MAX_PER_FILE, Decoded, DecodeSettings, Drawing, Format
from tune_sketch.data.pixels import prepare_ink


class Bitmaps(Format):
    """Rows of an array."""

    suffix = ".npy"

    def list(self, file: str, path: str, class_name: str, most: int | None) -> Iterator[Drawing]:
        for row in islice(range(find_bitmaps(path).num_rows), most):
            yield Drawing(f"{file}:{row + 1}", class_name, "bitmaps", path, row)

    def read(self, drawing: Drawing) -> bytes:
        try:
            bitmaps = _find_bitmaps_once(drawing.path)
        except ValueError as error:
            raise OSError("the file has changed meanwhile") from error
        with open_regular(drawing.path) as file:
            if bitmaps.is_fortran:
                offsets = range(drawing.position, bitmaps.num_rows * bitmaps.row_bytes, bitmaps.num_rows)
                row = b"".join(os.pread(file.fileno(), 1, bitmaps.start + offset) for offset in offsets)
            else:
                row = os.pread(file.fileno(), bitmaps.row_bytes, bitmaps.start + drawing.position * bitmaps.row_bytes)
        if len(row) < bitmaps.row_bytes:
            raise OSError("the file has changed meanwhile")
        return row

    def decode(self, drawing: Drawing, content: bytes, settings: DecodeSettings) -> Decoded:
        side = math.isqrt(len(content))
        picture = Image.fromarray(np.frombuffer(content, np.uint8).reshape(side, side))
        prepared = prepare_ink(picture, settings.image_px, may_be_photo=False)
        return Decoded(prepared.ink, side, prepared.paper)


class Rows(NamedTuple):
    """Where the rows of an array lie in its file."""

    num_rows: int
    row_bytes: int
    start: int  # of the first row
    is_fortran: bool  # column after column


@lru_cache(maxsize=16)
def _find_bitmaps_once(path: str) -> Rows:
    return find_bitmaps(path)


def find_bitmaps(path: str) -> Rows:
    """The rows of Quick, Draw! bitmaps, uint8 [N, side * side]. Raises OSError, ValueError.

    They are read and not mapped: a file that shrinks meanwhile must not end the process.
    """
    with open_regular(path) as file:
        num_bytes = os.fstat(file.fileno()).st_size
        try:
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, is_fortran, dtype = read(file)
            side = math.isqrt(max(0, shape[-1])) if len(shape) == 2 else 0
        except Exception as error:  # of an empty file, and of a damaged heading, which NumPy reads as Python
            raise ValueError(f"no array of NumPy: {reason_text(error)}") from error
        if not side or dtype != np.uint8 or side * side != shape[1] or shape[0] < 0:
            raise ValueError(f"must be uint8 [N, 784] (or another square), is {dtype} {list(shape)}")
        found = Rows(shape[0], shape[1], file.tell(), is_fortran)
    if found.num_rows > MAX_PER_FILE:
        raise ValueError(f"{found.num_rows:,} drawings, more than {MAX_PER_FILE:,} in one file")
    if found.start + found.num_rows * found.row_bytes > num_bytes:
        raise ValueError(f"no array of NumPy: {num_bytes:,} bytes are too few for {list(shape)}")
    return found

"""The binary format of Quick, Draw!: one .bin file per class, one record after the other."""

import mmap
import os
import struct
from collections.abc import Iterator

import numpy as np

from tune_sketch.data.formats.base import Decoded, DecodeSettings, Drawing, Format
from tune_sketch.data.formats.strokes import check_points
from tune_sketch.data.pixels import BadDrawingError
from tune_sketch.data.strokes import render_strokes

HEAD = struct.Struct("<Q2sbIH")  # key, country, recognized, seconds since 1970, number of strokes
COUNT = struct.Struct("<H")  # points of a stroke; x of each, one byte, and y of each follow


class Binary(Format):
    """Records without a length of their own: where one begins is known from the one before."""

    suffix = ".bin"

    def list(self, file: str, path: str, class_name: str, most: int | None) -> Iterator[Drawing]:
        if not os.path.getsize(path):
            raise ValueError("zero bytes")
        with open(path, "rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
            number, position = 0, 0
            while position < len(content) and number != most:
                end = find_end(content, position)
                number += 1
                yield Drawing(f"{file}:{number}", class_name, "binary", path, position)
                position = end

    def read(self, drawing: Drawing) -> bytes:
        with open(drawing.path, "rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
            try:
                return content[drawing.position : find_end(content, drawing.position)]
            except ValueError as error:
                raise OSError("the file has changed meanwhile") from error

    def decode(self, drawing: Drawing, content: bytes, settings: DecodeSettings) -> Decoded:
        return Decoded(render_strokes(parse_record(content), settings.image_px, settings.pen_width_px))


def find_end(content: mmap.mmap | bytes, position: int) -> int:
    """The first byte behind the record that begins at a position. Raises ValueError for what is no whole record."""
    try:
        _, country, recognized, _, num_strokes = HEAD.unpack_from(content, position)
        if not country.isalpha() or recognized not in (0, 1):
            raise ValueError(f"what begins at byte {position:,} is no drawing of the binary format")
        end = position + HEAD.size
        for _ in range(num_strokes):
            end += COUNT.size + 2 * COUNT.unpack_from(content, end)[0]
    except struct.error:
        end = len(content) + 1
    if end > len(content):
        raise ValueError(f"the drawing that begins at byte {position:,} is cut off")
    return end


def parse_record(content: bytes) -> list[np.ndarray]:
    """Strokes, each float [num_points, 2], of a whole record. Raises BadDrawingError."""
    if find_end(content, 0) != len(content):
        raise BadDrawingError("not one drawing of the binary format")
    points, position = [], HEAD.size
    while position < len(content):
        (num_points,) = COUNT.unpack_from(content, position)
        numbers = np.frombuffer(content, np.uint8, 2 * num_points, position + COUNT.size)
        points.append(numbers.reshape(2, num_points).T.astype(np.float64))
        position += COUNT.size + 2 * num_points
    return check_points(points)

"""The binary format of Quick, Draw!: one .bin file per class, one record after the other."""

import io
import os
import struct
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from tune_sketch.data.bounds import open_regular
from tune_sketch.data.formats.base import Decoded, DecodeSettings, Drawing, Format
from tune_sketch.data.formats.strokes import MAX_LINE_BYTES, check_points
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
        with open_regular(path) as content:
            num_bytes = os.path.getsize(path)
            number, position = 0, 0
            while position < num_bytes and number != most:
                end = find_end(content, position, num_bytes)
                number += 1
                yield Drawing(f"{file}:{number}", class_name, "binary", path, position)
                position = end

    def read(self, drawing: Drawing) -> bytes:
        with open_regular(drawing.path) as content:
            try:
                end = find_end(content, drawing.position, os.path.getsize(drawing.path))
            except ValueError as error:
                raise OSError("the file has changed meanwhile") from error
            content.seek(drawing.position)
            return content.read(end - drawing.position)

    def decode(self, drawing: Drawing, content: bytes, settings: DecodeSettings) -> Decoded:
        return Decoded(render_strokes(parse_record(content), settings.image_px, settings.pen_width_px))


def find_end(content: BinaryIO, position: int, num_bytes: int) -> int:
    """The first byte behind the record that begins at a position. Raises ValueError for what is no whole record.

    content: that many bytes, read and not mapped: a file that shrinks meanwhile must not end the process.
    """
    try:
        content.seek(position)
        _, country, recognized, _, num_strokes = HEAD.unpack(content.read(HEAD.size))
        if not country.isalpha() or recognized not in (0, 1):
            raise ValueError(f"what begins at byte {position:,} is no drawing of the binary format")
        end = position + HEAD.size
        for _ in range(num_strokes):
            content.seek(end)
            end += COUNT.size + 2 * COUNT.unpack(content.read(COUNT.size))[0]
    except struct.error:
        end = num_bytes + 1
    if end > num_bytes:
        raise ValueError(f"the drawing that begins at byte {position:,} is cut off")
    if end - position > MAX_LINE_BYTES:
        raise ValueError(f"the drawing that begins at byte {position:,} is longer than {MAX_LINE_BYTES:,} bytes")
    return end


def parse_record(content: bytes) -> list[np.ndarray]:
    """Strokes, each float [num_points, 2], of a whole record. Raises BadDrawingError."""
    try:
        is_whole = find_end(io.BytesIO(content), 0, len(content)) == len(content)
    except ValueError:
        is_whole = False
    if not is_whole:
        raise BadDrawingError("not one drawing of the binary format")
    points, position = [], HEAD.size
    while position < len(content):
        (num_points,) = COUNT.unpack_from(content, position)
        numbers = np.frombuffer(content, np.uint8, 2 * num_points, position + COUNT.size)
        points.append(numbers.reshape(2, num_points).T.astype(np.float64))
        position += COUNT.size + 2 * num_points
    return check_points(points)

"""Strokes of Quick, Draw!: one .ndjson file per class, a drawing in each line."""

import io
import json
from collections.abc import Iterator

import numpy as np

from tune_sketch.data.formats.base import Decoded, DecodeSettings, Drawing, Format
from tune_sketch.data.pixels import BadDrawingError
from tune_sketch.data.strokes import render_strokes


class Strokes(Format):
    """Lines of JSON, simplified or raw."""

    suffix = ".ndjson"

    def list(self, file: str, path: str, class_name: str, most: int | None) -> Iterator[Drawing]:
        number, position = 0, 0
        with open(path, "rb", buffering=io.DEFAULT_BUFFER_SIZE * 16) as lines:
            for line in lines:
                if number == most:
                    return
                if not line.isspace():
                    number += 1
                    yield Drawing(f"{file}:{number}", class_name, "strokes", path, position)
                position += len(line)

    def read(self, drawing: Drawing) -> bytes:
        with open(drawing.path, "rb") as file:
            file.seek(drawing.position)
            return file.readline().rstrip(b"\r\n")

    def decode(self, drawing: Drawing, content: bytes, settings: DecodeSettings) -> Decoded:
        points = parse_strokes(content, drawing.class_name)
        return Decoded(render_strokes(points, settings.image_px, settings.pen_width_px))


def parse_strokes(content: bytes, class_name: str) -> list[np.ndarray]:
    """Strokes, each float [num_points, 2], of one line of Quick, Draw! (simplified, or raw with times).

    Format: {"word": ..., "drawing": [[[x, ...], [y, ...], [milliseconds, ...]], ...]}. Raises BadDrawingError.
    """
    try:
        values = json.loads(content)
        drawing = values["drawing"]
        points = [np.array(stroke[:2], np.float64).reshape(2, -1).T for stroke in drawing]
    except (ValueError, KeyError, TypeError, IndexError, OverflowError, RecursionError) as error:
        raise BadDrawingError(f"not a Quick, Draw! drawing: {error!r}") from error
    if values.get("word", class_name) != class_name:
        raise BadDrawingError(f"its word is {values['word']!r}, its file is of {class_name!r}")
    if not all(np.isfinite(stroke).all() for stroke in points):
        raise BadDrawingError("not a Quick, Draw! drawing: a coordinate is not finite")
    if not sum(len(stroke) for stroke in points):
        raise BadDrawingError("blank: no point in it")
    return points

"""Strokes of Quick, Draw!: one .ndjson file per class, a drawing in each line."""

import io
import json
import re
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tune_sketch.data.formats.base import Decoded, DecodeSettings, Drawing, Format
from tune_sketch.data.pixels import BadDrawingError
from tune_sketch.data.strokes import render_strokes

LARGEST_COORDINATE = 1e9  # raw drawings stay in the thousands; beyond this, floats lose the drawing
MAX_LINE_BYTES = 2**24  # of one drawing
MAX_POINTS = 100_000  # of one drawing: the longest of Quick, Draw! have some thousands


class Strokes(Format):
    """Lines of JSON, simplified or raw."""

    suffix = ".ndjson"

    def word_of(self, path: Path) -> str:
        with path.open("rb") as file:
            try:
                word = json.loads(file.readline(MAX_LINE_BYTES))["word"]
            except (ValueError, LookupError, TypeError, RecursionError):  # decoding says what is wrong with the line
                return ""
        return word if isinstance(word, str) else ""

    def list(self, file: str, path: str, class_name: str, most: int | None) -> Iterator[Drawing]:
        number, position = 0, 0
        with open(path, "rb", buffering=io.DEFAULT_BUFFER_SIZE * 16) as lines:
            while line := lines.readline(MAX_LINE_BYTES):
                if number == most:
                    return
                if len(line) == MAX_LINE_BYTES:
                    raise ValueError(f"the line that begins at byte {position:,} is longer than {MAX_LINE_BYTES:,}")
                if not line.isspace():
                    number += 1
                    yield Drawing(f"{file}:{number}", class_name, "strokes", path, position)
                position += len(line)

    def read(self, drawing: Drawing) -> bytes:
        with open(drawing.path, "rb") as file:
            file.seek(drawing.position)
            return file.readline(MAX_LINE_BYTES).rstrip(b"\r\n")

    def decode(self, drawing: Drawing, content: bytes, settings: DecodeSettings) -> Decoded:
        points = parse_strokes(content, drawing.class_name)
        return Decoded(render_strokes(points, settings.image_px, settings.pen_width_px))


def parse_strokes(content: bytes, class_name: str) -> list[np.ndarray]:
    """Strokes, each float [num_points, 2], of one line of Quick, Draw! (simplified, or raw with times).

    Format: {"word": ..., "drawing": [[[x, ...], [y, ...], [milliseconds, ...]], ...]}. Raises BadDrawingError.
    """
    try:
        values = json.loads(content)
        word, drawing = values.get("word", class_name), values["drawing"]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise BadDrawingError(f"not a Quick, Draw! drawing: {error!r:.200}") from error
    check_word(word, class_name)
    return parse_points(drawing)


def parse_points(drawing: Any) -> list[np.ndarray]:
    """Strokes, each float [num_points, 2], of the JSON value of a drawing. Raises BadDrawingError."""
    try:
        points = [np.array(stroke[:2], np.float64).reshape(2, -1).T for stroke in drawing]
    except (ValueError, LookupError, TypeError, OverflowError) as error:
        raise BadDrawingError(f"not a Quick, Draw! drawing: {error!r:.200}") from error
    return check_points(points)


def check_points(points: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The strokes, if they can be drawn. Raises BadDrawingError."""
    if not all(np.isfinite(stroke).all() for stroke in points):
        raise BadDrawingError("not a Quick, Draw! drawing: a coordinate is not finite")
    if any(len(stroke) and np.abs(stroke).max() > LARGEST_COORDINATE for stroke in points):
        raise BadDrawingError(f"not a Quick, Draw! drawing: a coordinate is beyond {LARGEST_COORDINATE:.0e}")
    num_points = sum(len(stroke) for stroke in points)
    if not num_points:
        raise BadDrawingError("blank: no point in it")
    if num_points > MAX_POINTS:
        raise BadDrawingError(f"too large: {num_points:,} points, more than {MAX_POINTS:,}")
    return list(points)


def check_word(word: object, class_name: str) -> None:
    """Raises BadDrawingError for a drawing of another class than its file's."""
    if not isinstance(word, str) or not is_same_word(word, class_name):
        raise BadDrawingError(f"its word is {word!r:.80}, its file is of {class_name!r}")


def is_same_word(word: str, other: str) -> bool:
    """Whether two words are one, however files write them: "ice cream", "ice_cream" and "Ice-Cream"."""
    return plain_word(word) == plain_word(other)


def plain_word(word: str) -> str:
    return re.sub(r"[\s_-]+", " ", unicodedata.normalize("NFC", word)).strip().casefold()

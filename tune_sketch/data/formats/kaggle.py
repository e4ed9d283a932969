"""Quick, Draw! as Kaggle published it: one .csv file per class, a drawing in the cells of each row."""

import csv
import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from tune_sketch.data.formats.base import Decoded, DecodeSettings, Drawing, Format
from tune_sketch.data.formats.strokes import MAX_LINE_BYTES, check_word, parse_points
from tune_sketch.data.pixels import BadDrawingError
from tune_sketch.data.strokes import render_strokes

COLUMNS = ("drawing", "word")  # of countrycode, drawing, key_id, recognized, timestamp, word, in any order


class Kaggle(Format):
    """Rows whose cell `drawing` is JSON. Other CSV files are none of this format."""

    suffix = ".csv"

    def is_class_file(self, path: Path) -> bool:
        if path.suffix.lower() != self.suffix or not path.is_file():
            return False
        try:
            read_columns(str(path))
        except (OSError, ValueError):
            return False
        return True

    def word_of(self, path: Path) -> str:
        first = next(self.list(path.name, str(path), "", 1), None)
        return "" if first is None else self.read(first).decode("utf-8").partition("\n")[0]

    def list(self, file: str, path: str, class_name: str, most: int | None) -> Iterator[Drawing]:
        with open(path, "rb") as opened:
            for number, (position, _) in enumerate(read_rows(opened)):
                if number - 1 == most:
                    return
                if number:  # the first row is the heading
                    yield Drawing(f"{file}:{number}", class_name, "kaggle", path, position)

    def read(self, drawing: Drawing) -> bytes:
        """The word, and in the next line the drawing."""
        columns = read_columns(drawing.path)
        with open(drawing.path, "rb") as opened:
            opened.seek(drawing.position)
            try:
                _, cells = next(read_rows(opened), (0, []))
                content, word = (cells[column] for column in columns)
            except (ValueError, LookupError) as error:
                raise OSError(f"not a row of {', '.join(COLUMNS)}: {error}") from error
        return f"{' '.join(word.split())}\n{content}".encode()

    def decode(self, drawing: Drawing, content: bytes, settings: DecodeSettings) -> Decoded:
        word, _, cell = content.decode("utf-8").partition("\n")
        check_word(word, drawing.class_name)
        try:
            values = json.loads(cell)
        except (ValueError, RecursionError) as error:
            raise BadDrawingError(f"not a Quick, Draw! drawing: {error!r:.200}") from error
        return Decoded(render_strokes(parse_points(values), settings.image_px, settings.pen_width_px))


@lru_cache(maxsize=512)
def read_columns(path: str) -> tuple[int, ...]:
    """The indices of COLUMNS in a file's heading. Raises OSError, ValueError."""
    with open(path, "rb") as opened:
        _, heading = next(read_rows(opened), (0, []))
    names = [name.strip().lower() for name in heading]
    if not set(COLUMNS) <= set(names):
        raise ValueError(f"its first row must name {' and '.join(COLUMNS)}, is {', '.join(names)[:100]}")
    return tuple(map(names.index, COLUMNS))


def read_rows(file: BinaryIO) -> Iterator[tuple[int, list[str]]]:
    """(first byte, cells) of each row from here on; empty rows are passed over. Raises ValueError."""
    ends = [file.tell()]

    def lines() -> Iterator[str]:
        while line := file.readline(MAX_LINE_BYTES):
            if len(line) == MAX_LINE_BYTES:
                raise ValueError(f"the line that begins at byte {ends[-1]:,} is longer than {MAX_LINE_BYTES:,}")
            ends.append(ends[-1] + len(line))
            yield line.decode("utf-8-sig" if ends[-2] == 0 else "utf-8")

    csv.field_size_limit(MAX_LINE_BYTES)
    rows = csv.reader(lines())
    start = ends[-1]
    try:
        for cells in rows:
            if cells:
                yield start, cells
            start = ends[-1]
            del ends[:-2]
    except csv.Error as error:
        raise ValueError(f"the row that begins at byte {start:,} is no CSV: {error}") from error

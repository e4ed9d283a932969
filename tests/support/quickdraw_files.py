"""Writes drawings in the formats in which Quick, Draw! is published, by straightforward code of its own."""

import csv
import json
import struct
from pathlib import Path

import numpy as np

Polyline = list[tuple[int, int]]


def polylines(number: int) -> list[Polyline]:
    """Two strokes that differ from number to number, in 0..255, from one edge to the other."""
    return [[(0, 0), (255, number % 200), (128, 255)], [(10, 20 + number % 90), (10 + number % 70, 250)]]


def write_ndjson(path: Path, word: str, drawings: list[list[Polyline]]) -> None:
    lines = [
        json.dumps(
            {"word": word, "key_id": str(number), "drawing": [list(zip(*line, strict=True)) for line in drawing]}
        )
        for number, drawing in enumerate(drawings)
    ]
    path.write_text("\n".join(lines) + "\n")


def write_csv(path: Path, word: str, drawings: list[list[Polyline]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["countrycode", "drawing", "key_id", "recognized", "timestamp", "word"])
        for number, drawing in enumerate(drawings):
            cell = json.dumps([list(zip(*line, strict=True)) for line in drawing])
            writer.writerow(["US", cell, number, "True", "2017-03-27 00:14:57.31033", word])


def write_bin(path: Path, word: str, drawings: list[list[Polyline]]) -> None:
    content = b""
    for number, drawing in enumerate(drawings):
        content += struct.pack("<Q2sbIH", 2**60 + number, b"US", 1, 1490573697, len(drawing))
        for line in drawing:
            xs, ys = zip(*line, strict=True)
            content += struct.pack(f"<H{len(xs)}B{len(ys)}B", len(xs), *xs, *ys)
    path.write_bytes(content)


def to_offsets(drawing: list[Polyline]) -> np.ndarray:
    """int16 [num_points, 3]: the pen's offset, and 1 at the end of a stroke."""
    points = np.array([point for line in drawing for point in line])
    lifted = [index == len(line) - 1 for line in drawing for index in range(len(line))]
    offsets = np.diff(points, axis=0, prepend=0)
    return np.column_stack([offsets, lifted]).astype(np.int16)


def write_npz(path: Path, word: str, drawings: list[list[Polyline]]) -> None:
    parts = {}
    for name, rows in (("train", drawings[:-2]), ("valid", drawings[-2:-1]), ("test", drawings[-1:])):
        parts[name] = np.empty(len(rows), object)
        parts[name][:] = [to_offsets(drawing) for drawing in rows]
    np.savez_compressed(path, **parts)


WRITERS = {"ndjson": write_ndjson, "csv": write_csv, "bin": write_bin, "npz": write_npz}

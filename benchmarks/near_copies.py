"""How many near copies are found among real drawings, and how many different ones are taken for copies.

    python -m benchmarks.near_copies [--quick]

The limit of bits was chosen on the same drawings of Sketchy, so these figures are not of drawings kept aside.
"""

import argparse
import io
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.machine import describe, result_path, write_result
from tune_sketch.data import DataRequest, open_data, prepare_data
from tune_sketch.data.near_copies import MOST_BITS_APART, find_near_copies, hash_ink
from tune_sketch.data.pixels import prepare_ink
from tune_sketch.storage.files import write_csv

SHARED = Path(__file__).parents[2] / "shared" / "data"
SETS = {"sketchy-125x25": (28, 32, 64, 128, 224), "quickdraw-344x25-simplified": (64, 128)}
NUM_CHANGED = 150  # drawings of Sketchy, evenly, of which each change is made
COLUMNS = ("what", "image_px", "num_drawings", "num_found")


def as_jpeg(picture: Image.Image) -> Image.Image:
    content = io.BytesIO()
    picture.save(content, "JPEG", quality=60)
    return Image.open(content).convert("L")


def scale(picture: Image.Image, factor: float) -> Image.Image:
    return picture.resize((round(picture.width * factor), round(picture.height * factor)), Image.Resampling.LANCZOS)


def move(picture: Image.Image) -> Image.Image:
    """By 3 px of 256 to the right and down."""
    paper = Image.new("L", picture.size, 255)
    paper.paste(picture, (3, 3))
    return paper


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "half the size": lambda picture: scale(picture, 0.5),
    "double the size": lambda picture: scale(picture, 2),
    "JPEG of quality 60": as_jpeg,
    "half the size and JPEG": lambda picture: as_jpeg(scale(picture, 0.5)),
    "moved by 3 of 256 px": move,
}


def count_mistaken(data: str, image_px: int) -> dict[str, object]:
    """Different drawings that are taken for near copies of another one."""
    with tempfile.TemporaryDirectory() as cache:
        found = open_data(prepare_data(DataRequest(str(SHARED / data), image_px), cache_dir=Path(cache)))
        assert found.near_copies is not None
        return {
            "what": f"different drawings of {data}",
            "image_px": image_px,
            "num_drawings": len(found.labels),
            "num_found": len({copy for copy, _, _ in found.near_copies}),
        }


def count_caught(change: str, image_px: int, pictures: list[Image.Image]) -> dict[str, object]:
    """Changed drawings that are found beside their originals."""
    changed = [CHANGES[change](picture) for picture in pictures]
    hashes = np.stack([hash_ink(prepare_ink(picture, image_px).ink) for picture in (*pictures, *changed)])
    pairs = {(copy, original) for copy, original, _ in find_near_copies(hashes, [])}
    caught = sum((len(pictures) + number, number) in pairs for number in range(len(pictures)))
    return {"what": change, "image_px": image_px, "num_drawings": len(pictures), "num_found": caught}


def table(rows: list[dict[str, object]]) -> list[str]:
    """One line per row."""
    lines = [
        f"Alike are at most {MOST_BITS_APART} of 256 bits apart. The limit was chosen on these drawings of Sketchy.",
        "",
        "| drawings | px | number | taken for near copies |",
        "|---|---|---|---|",
    ]
    return [*lines, *(f"| {' | '.join(str(row[name]) for name in COLUMNS)} |" for row in rows)]


def main() -> int:
    """Measure and write; 1 where a resized or saved drawing is missed from 32 px on."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the changes, at 64 px; writes no file")
    quick = parser.parse_args().quick
    paths = sorted((SHARED / "sketchy-125x25").rglob("*.png"))
    if not paths:
        sys.exit(f"error: {SHARED} is not there")
    number = NUM_CHANGED // 10 if quick else NUM_CHANGED
    pictures = [Image.open(path).convert("L") for path in paths[:: len(paths) // number][:number]]
    sides = (64,) if quick else SETS["sketchy-125x25"]
    rows = [] if quick else [count_mistaken(data, image_px) for data, all_px in SETS.items() for image_px in all_px]
    rows += [count_caught(change, image_px, pictures) for change in CHANGES for image_px in sides]
    print("\n".join(table(rows)))
    if not quick:
        write_csv(result_path("near_copies", ".csv"), COLUMNS, rows)
        write_result("near_copies", "Near copies found, and different drawings taken for them", table(rows))
    missed = [r for r in rows if r["what"] in list(CHANGES)[:4] and r["image_px"] != 28 and r["num_found"] != number]
    return int(bool(missed))


if __name__ == "__main__":
    print(describe(), flush=True)
    sys.exit(main())

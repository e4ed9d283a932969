"""Builds small data sets of every kind that --data takes, each with the same two classes."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw


def draw(number: int, size: tuple[int, int] = (40, 40), mode: str = "L", ink: object = 0, paper: object = 255):
    """A picture that differs from number to number: a thick line in the middle, and the number's bits."""
    image = Image.new(mode, size, paper)  # type: ignore[arg-type]
    pen = ImageDraw.Draw(image)
    pen.line((size[0] // 2, 2, size[0] // 2, size[1] - 3), fill=ink, width=6)  # type: ignore[arg-type]
    for bit in range(11):
        if number >> bit & 1:
            pen.rectangle((2, 2 + 3 * bit, 6, 4 + 3 * bit), fill=ink)  # type: ignore[arg-type]
    return image


def make_image_folder(root: Path, classes: tuple[str, ...] = ("cat", "dog"), per_class: int = 4) -> Path:
    """One folder per class, with 0.png, 1.png, ..."""
    for offset, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for number in range(per_class):
            draw(number + offset * per_class).save(root / name / f"{number}.png")
    return root


def make_stroke_line(word: str, number: int, raw: bool = False) -> str:
    """One drawing as Quick, Draw! stores it: a slanting line and a short one that tells the drawings apart."""
    strokes: list[list[list[float]]] = [[[0, 255], [number % 200, 255]], [[10, 10 + number % 90], [250, 250]]]
    if raw:
        strokes = [[[x * 2.5 + 0.25 for x in xs], [y * 2.5 for y in ys], [0, 40]] for xs, ys in strokes]
    return json.dumps(
        {
            "word": word,
            "countrycode": "US",
            "timestamp": "2017-03-27 00:14:57.31033 UTC",
            "recognized": True,
            "key_id": f"{abs(hash(word)) % 10**6}{number:010}",
            "drawing": strokes,
        }
    )


def make_stroke_folder(
    root: Path, words: tuple[str, ...] = ("cat", "ice cream"), count: int = 6, raw: bool = False
) -> Path:
    """One .ndjson file per class."""
    root.mkdir()
    for word in words:
        lines = [make_stroke_line(word, number + 7 * (word == words[0]), raw) for number in range(count)]
        (root / f"{word}.ndjson").write_text("\n".join(lines) + "\n")
    return root


def make_split_folder(root: Path, parts: dict[str, int], classes: tuple[str, ...] = ("cat", "dog")) -> Path:
    """One folder for each part of a split, with a number of drawings of each class: train/cat/0.png, ..."""
    number = 0
    for part, per_class in parts.items():
        for name in classes:
            (root / part / name).mkdir(parents=True)
            for index in range(per_class):
                draw(number).save(root / part / name / f"{index}.png")
                number += 1
    return root


def make_flat_folder(root: Path, names: list[str]) -> Path:
    """Pictures of the given names, folders included, without classes."""
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        draw(number).save(root / name)
    return root


def make_sketchy_folder(root: Path) -> Path:
    """Two photos of each class, drawn three times each."""
    for offset, name in enumerate(("cat", "dog")):
        (root / name).mkdir(parents=True)
        for number in range(6):
            picture = draw(number + 6 * offset)
            picture.save(root / name / f"n0212304{offset}_{number // 2}-{number % 2 + 1}.png")
    return root


def make_tu_berlin_folder(root: Path) -> Path:
    """The class folders one level down, beside a file list, with numbers that go on from class to class."""
    for offset, name in enumerate(("cat", "dog")):
        (root / "png" / name).mkdir(parents=True)
        for number in range(6):
            draw(number + 6 * offset, size=(60, 60)).save(root / "png" / name / f"{6 * offset + number + 1}.png")
    (root / "png" / "filelist.txt").write_text("cat/1.png\n")
    return root


def make_bitmap_folder(root: Path) -> Path:
    """One .npy file per class, uint8 [6, 784], ink 255 on 0."""
    root.mkdir()
    for offset, name in enumerate(("cat", "dog")):
        pictures = [255 - np.asarray(draw(number + 6 * offset, size=(28, 28))) for number in range(6)]
        np.save(root / f"{name}.npy", np.stack(pictures).reshape(6, 784))
    return root


def pack(make: Callable[[Path], Path], archive_format: str) -> Callable[[Path], Path]:
    """Makes an archive of what `make` makes."""

    def make_archive(root: Path) -> Path:
        return Path(shutil.make_archive(str(root.with_name("packed")), archive_format, make(root)))

    return make_archive


def make_divided(root: Path) -> Path:
    return make_split_folder(root, {"train": 3, "val": 1, "test": 2})


def make_labelled(root: Path) -> Path:
    """Pictures in one folder, and a table of their classes."""
    names = [f"{number:02}.png" for number in range(12)]
    make_flat_folder(root / "images", names)
    rows = [f"{name},{'cat' if name < '06.png' else 'dog'}\n" for name in names]
    (root / "labels.csv").write_text("image,class\n" + "".join(rows))
    return root


def make_six_each(root: Path) -> Path:
    return make_image_folder(root, per_class=6)


def make_strokes(root: Path) -> Path:
    return make_stroke_folder(root, ("cat", "dog"))


# Every kind of data that is a path: name -> builder; two classes, cat and dog, of six drawings each.
PATH_SOURCES: dict[str, Callable[[Path], Path]] = {
    "images": make_six_each,
    "divided": make_divided,
    "labelled": make_labelled,
    "sketchy": make_sketchy_folder,
    "tu-berlin": make_tu_berlin_folder,
    "strokes": make_strokes,
    "bitmaps": make_bitmap_folder,
    "zip": pack(make_tu_berlin_folder, "zip"),
    "tar.gz": pack(make_strokes, "gztar"),
}

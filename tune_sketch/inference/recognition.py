"""Recognises many picture files and prints their classes as text, JSON or CSV, with activation maps as files."""

import csv
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from tune_sketch.data.names import to_cells, written_name
from tune_sketch.data.screen import print_error
from tune_sketch.inference.model import NUM_SHOWN, Classifier, best_classes
from tune_sketch.inference.photos import read_picture
from tune_sketch.inference.test_time_augmentation import VOTES

BATCH_SIZE = 256
CAM_SIDE_PX = 448

Layout = Literal["text", "json", "csv"]


def print_predictions(
    model: Classifier, paths: Sequence[Path], *, layout: Layout, vote: str | None = None, cam_folder: Path | None = None
) -> int:
    """Print the classes of every picture that can be read. Returns the exit code: 2 when one could not be.

    vote: a name in VOTES. cam_folder: where activation maps are written.
    """
    if layout == "csv" and paths:
        ranks = range(1, min(NUM_SHOWN, len(model.class_names)) + 1)
        print_csv(["image", *(f"{what}_{rank}" for rank in ranks for what in ("class", "probability"))])
    num_read = 0
    for start in range(0, len(paths), BATCH_SIZE):
        readable, images = read_pictures(paths[start : start + BATCH_SIZE], model)
        num_read += len(readable)
        if not readable:
            continue
        probabilities = VOTES[vote](model, images) if vote else model.compute_probabilities(images)
        for path, row in zip(readable, probabilities, strict=True):
            print_classes(path, best_classes(row, model.class_names), layout)
        if cam_folder is not None:
            for target in write_overlays(model, readable, images, probabilities.argmax(axis=1), cam_folder):
                print(target, file=sys.stderr)
    return 0 if num_read == len(paths) else 2


def read_pictures(paths: Sequence[Path], model: Classifier) -> tuple[list[Path], np.ndarray]:
    """The readable files, and their drawings as uint8 [N, image_px, image_px]. Reports the others on stderr."""
    readable, squares = [], []
    for path in paths:
        try:
            squares.append(read_picture(path, model.image_px, model.invert))
            readable.append(path)
        except ValueError as error:  # the other files are still worth recognising
            print_error(error)
    return readable, np.array(squares, np.uint8)


def print_classes(path: Path, best: list[tuple[str, float]], layout: Layout) -> None:
    """The best classes of one picture; as text, probabilities are in percent."""
    picture = written_name(str(path))  # as its name is recorded, and harmless to the terminal
    if layout == "json":
        found = [{"class": name, "probability": round(probability, 6)} for name, probability in best]
        print(json.dumps({"image": picture, "predictions": found}, ensure_ascii=False))
    elif layout == "csv":
        print_csv([picture, *(cell for name, probability in best for cell in (name, f"{probability:.6f}"))])
    else:
        print(picture)
        width = max(len(name) for name, _ in best)
        for rank, (name, probability) in enumerate(best, start=1):
            print(f"  {rank}  {name:<{width}}  {100 * probability:5.1f} %")


def print_csv(cells: list[str]) -> None:
    csv.writer(sys.stdout, lineterminator="\n").writerow(to_cells(cells))


def write_overlays(
    model: Classifier, paths: list[Path], images: np.ndarray, labels: np.ndarray, folder: Path
) -> Iterator[Path]:
    """Write FOLDER/NAME-cam.png for each picture: the evidence for its best class, over the drawing."""
    # torch and matplotlib take seconds to import, which only --cam should pay.
    from tune_sketch.inference.grad_cam import enlarge_map, map_activations, overlay

    folder.mkdir(parents=True, exist_ok=True)
    maps = map_activations(model, images, labels)
    side_px = max(CAM_SIDE_PX, model.image_px)
    for path, activation in zip(paths, maps, strict=True):
        target = folder / f"{path.stem}-cam.png"
        number = 2
        while target.exists() and len({p for p in paths if p.stem == path.stem}) > 1:
            target = folder / f"{path.stem}-{number}-cam.png"
            number += 1
        image = read_picture(path, side_px, model.invert)  # strokes at the overlay's own sharpness
        Image.fromarray(overlay(image, enlarge_map(activation, side_px), model.invert)).save(target)
        yield target

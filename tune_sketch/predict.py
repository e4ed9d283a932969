"""Recognises drawings with the network of a run: python -m tune_sketch.predict RUN IMAGE|FOLDER ..."""

import argparse
import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tune_sketch.inference.model import BestModel, best_classes, load_best
from tune_sketch.inference.photos import find_pictures, read_picture
from tune_sketch.inference.test_time_augmentation import VOTES

BATCH_SIZE = 256
CAM_SIDE_PX = 448


def build_parser() -> argparse.ArgumentParser:
    """The command's flags."""
    parser = argparse.ArgumentParser(
        prog="python -m tune_sketch.predict",
        allow_abbrev=False,
        description="Name the five best classes of drawings: files, scans or photos of paper, in dark or light ink.",
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="a run directory")
    parser.add_argument("images", type=Path, metavar="IMAGE|FOLDER", nargs="*", help="image files, or folders of them")
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="print JSON, one object per line and image")
    output.add_argument("--csv", action="store_true", help="print CSV in the columns of predictions.csv")
    parser.add_argument("--cam", type=Path, metavar="FOLDER", help="write where the network looked, one PNG per image")
    parser.add_argument(
        "--vote", choices=sorted(VOTES), help="several looks at each drawing (see the report's measure)"
    )
    parser.add_argument("--export", choices=["onnx"], help="write RUN/best/model.onnx, checked against onnxruntime")
    return parser


def main(argv: list[str] | None = None) -> int:
    """The command. Exit code 2: something that the user can mend."""
    parser = build_parser()
    arguments = parser.parse_args(argv)
    if not arguments.images and not arguments.export:
        parser.error("give at least one IMAGE or FOLDER, or --export")
    try:
        pictures = find_pictures(arguments.images)
        model = load_best(arguments.run)
        if arguments.export:
            from tune_sketch.inference.onnx import export_onnx

            path = arguments.run / "best" / "model.onnx"
            difference = export_onnx(model, path)
            print(f"{path} (largest difference of a probability: {difference:.1g})", file=sys.stderr)
        return predict_pictures(model, pictures, arguments)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output has gone; nothing more can be said to it
        return 0
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def predict_pictures(model: BestModel, pictures: list[Path], arguments: argparse.Namespace) -> int:
    """Print the classes of every picture that can be read; 2 when one could not be."""
    code = 0
    writer = csv.writer(sys.stdout, lineterminator="\n")
    num_places = min(5, len(model.class_names))
    if arguments.csv and pictures:
        places = [f"{what}_{place}" for place in range(1, num_places + 1) for what in ("class", "probability")]
        writer.writerow(["image", *places])
    for start in range(0, len(pictures), BATCH_SIZE):
        paths, squares = [], []
        for path in pictures[start : start + BATCH_SIZE]:
            try:
                squares.append(read_picture(path, model.image_px, model.invert))
                paths.append(path)
            except ValueError as error:  # the others are still worth naming
                print(f"error: {error}", file=sys.stderr)
                code = 2
        if not paths:
            continue
        images = np.stack(squares)
        probabilities = VOTES[arguments.vote](model, images) if arguments.vote else model.predict(images)
        for path, row in zip(paths, probabilities, strict=True):
            best = best_classes(row, model.class_names)
            if arguments.json:
                found = [{"class": name, "probability": round(probability, 6)} for name, probability in best]
                print(json.dumps({"image": str(path), "predictions": found}, ensure_ascii=False))
            elif arguments.csv:
                cells = [cell for name, probability in best for cell in (name, f"{probability:.6f}")]
                writer.writerow([str(path), *cells])
            else:
                print(f"{path}", *prediction_lines(best), sep="\n")
        if arguments.cam is not None:
            for path in write_overlays(model, paths, images, probabilities.argmax(axis=1), arguments.cam):
                print(path, file=sys.stderr)
    return code


def prediction_lines(best: list[tuple[str, float]]) -> Iterator[str]:
    """The five best as text, in percent."""
    width = max(len(name) for name, _ in best)
    for place, (name, probability) in enumerate(best, start=1):
        yield f"  {place}  {name:<{width}}  {100 * probability:5.1f} %"


def write_overlays(
    model: BestModel, paths: list[Path], images: np.ndarray, labels: np.ndarray, folder: Path
) -> Iterator[Path]:
    """Write FOLDER/NAME-cam.png for each picture: what spoke for its best class, over the drawing."""
    from PIL import Image

    from tune_sketch.inference.grad_cam import enlarge_map, map_activations, overlay

    folder.mkdir(parents=True, exist_ok=True)
    maps = map_activations(model, images, labels)
    side = max(CAM_SIDE_PX, model.image_px)
    for path, activation in zip(paths, maps, strict=True):
        target = folder / f"{path.stem}-cam.png"
        number = 2
        while target.exists() and len({p for p in paths if p.stem == path.stem}) > 1:
            target = folder / f"{path.stem}-{number}-cam.png"
            number += 1
        image = read_picture(path, side, model.invert)  # the strokes as sharp as they are
        Image.fromarray(overlay(image, enlarge_map(activation, side), model.invert)).save(target)
        yield target


if __name__ == "__main__":
    sys.exit(main())

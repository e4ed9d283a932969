"""Trains the two networks that `page_strokes` compares: on Sketchy alone, and with Quick, Draw!'s strokes as well.

    python -m benchmarks.page_networks FOLDER [--seed N]

Writes FOLDER/Sketchy and FOLDER/"Sketchy and Quick, Draw!", each like a run's best/. Both are SqueezeNet 1.1 with
ImageNet weights (benchmarks/real_weights.py), trained by today's recipe on Sketchy split by photo, and validated and
calibrated on its validation drawings. The second learns from the choosing half of Quick, Draw!'s drawings too, drawn as
for any search. On one thread, so that the same machine gives the same networks again.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch

from benchmarks.page_strokes import read_drawings
from benchmarks.real_weights import write_squeezenet
from benchmarks.recipe_parts import SKETCHY
from tune_sketch.data import DataRequest, SketchData, open_data, prepare_data
from tune_sketch.data.pixels import measure_lines
from tune_sketch.data.splits import Splits, split_data
from tune_sketch.data.strokes import render_strokes
from tune_sketch.search_spaces import SpaceLimits, configuration_of, recipe_configuration
from tune_sketch.storage.files import write_json
from tune_sketch.trainables.averaging import best_weights
from tune_sketch.trainables.batches import SplitArrays, TrainingSplits
from tune_sketch.trainables.calibration import fit_temperature
from tune_sketch.trainables.evaluation import predict_logits
from tune_sketch.trainables.networks.build import build_model
from tune_sketch.trainables.training import fit

MODEL, IMAGE_PX, NUM_EPOCHS = "squeezenet1_1", 64, 10


def train(folder: Path, data: SketchData, splits: Splits, drawings: SplitArrays, seed: int, weights: str) -> None:
    """Train on some drawings, and write best weights, temperature and how the drawings were drawn."""
    limits = SpaceLimits(NUM_EPOCHS, pretrained=True)
    config = configuration_of(MODEL, recipe_configuration(MODEL, limits), limits) | {"epochs": NUM_EPOCHS}
    torch.manual_seed(seed)
    of_network = {"dropout": config["dropout"], "head": config["head"]}
    network = build_model(MODEL, len(data.class_names), freeze=config["freeze"], weights_path=weights, **of_network)
    validation = SplitArrays(data.images, data.labels, splits.validation)
    training = TrainingSplits(drawings, validation, num_classes=len(data.class_names), invert=True)
    for metrics, state in fit(network, training, config, seed=seed, pretrained=True):
        print({name: metrics[name] for name in ("epoch", "train_top1", "val_top1")}, flush=True)
        trained = best_weights(state)
    network.load_state_dict(trained)
    logits = predict_logits(network, data.images[splits.validation], device="cpu", pretrained=True)
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(trained, folder / "weights.pt")
    write_json(
        folder / "model.json",
        {
            "architecture": MODEL,
            **of_network,
            "class_names": data.class_names,
            "image_px": IMAGE_PX,
            "invert": True,
            "pretrained": True,
            "temperature": fit_temperature(logits.numpy(), data.labels[splits.validation]),
            **measure_lines(np.asarray(drawings.images), np.arange(len(drawings)), invert=True),
            "val_top1": metrics["val_top1"],
        },
    )


def with_strokes(data: SketchData, splits: Splits) -> SplitArrays:
    """Sketchy's training drawings and the choosing half of Quick, Draw!'s."""
    drawings = read_drawings(data.class_names)
    chosen = np.flatnonzero(~drawings.is_reporting)
    rendered = np.stack([render_strokes(drawings.strokes[index], IMAGE_PX) for index in chosen])
    images = np.concatenate([data.images[splits.train], rendered])
    return SplitArrays(images, np.concatenate([data.labels[splits.train], drawings.labels[chosen]]))


def main() -> None:
    """Train both, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    data = open_data(prepare_data(DataRequest(str(SKETCHY), IMAGE_PX)))
    splits = split_data(data, protocol="standard", split_by="photo", seed=0)
    alone = SplitArrays(np.asarray(data.images[splits.train]), data.labels[splits.train])
    with tempfile.TemporaryDirectory() as folder:
        weights = str(write_squeezenet(Path(folder) / "squeezenet1_1.pth"))
        for name, drawings in (("Sketchy", alone), ("Sketchy and Quick, Draw!", with_strokes(data, splits))):
            train(arguments.folder / name, data, splits, drawings, arguments.seed, weights)


if __name__ == "__main__":
    main()

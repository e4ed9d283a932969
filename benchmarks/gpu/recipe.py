"""Against the ordinary recipe: folders of PNG, as many loading processes as cores, torchvision's augmentation."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.gpu.context import Case, Context, configure
from benchmarks.gpu.results import Row, spread_of
from benchmarks.gpu.watching import Utilisation
from benchmarks.recipe import recipe_epochs
from tune_sketch.trainables.batches import TrainingSplits
from tune_sketch.trainables.networks.build import build_model
from tune_sketch.trainables.training import fit

# How many times the images per second of the recipe's loading with our own loop: the harder one of the two.
TARGET_SMALL, TARGET_LARGE = 5.0, 1.5
PNG_PX = 256
MOST_WORKERS = 16


def cases(context: Context) -> Iterator[Case]:
    """The small network at the small side, the large one at the large side."""
    sizes = context.sizes
    pairs = ((sizes.small, sizes.small_px, TARGET_SMALL), (sizes.large, sizes.large_px, TARGET_LARGE))
    for network, image_px, target in pairs:
        yield Case(f"{network}, {image_px} px", 80, lambda n=network, px=image_px, t=target: compare(context, n, px, t))


def compare(context: Context, network: str, image_px: int, target: float) -> Iterator[Row]:
    """Epochs of ours, of the recipe with our loop (bfloat16, channels last, fused), and of the recipe as it is."""
    name = f"{network}, {image_px} px"
    splits, _ = context.inputs.splits(image_px)
    config = configure(
        *(network, 10**6),
        **{"pretrained": False, "recipe": False, "optimizer": "adam", "batch_size": context.sizes.batches[0]},
        **{"dropout": 0.0, "decay": 0.0, "pen_width": 0.0},  # which a plain loop and torchvision have not
    )
    job = folders(context, splits) | {"model": network, "config": config, "image_px": image_px, "seed": 0}
    job |= {"num_threads": torch.get_num_threads(), "device": context.device.type}
    job["num_workers"] = 1 if context.sizes.is_rehearsal else min(MOST_WORKERS, len(os.sched_getaffinity(0)))
    model = build_model(network, splits.num_classes)
    ways: dict[str, Iterator[Any]] = {
        "ours": fit(model, splits, config, seed=0, device=context.device),
        "recipe with our loop": recipe_epochs(job | {"as_ours": True}),
        "recipe": recipe_epochs(job),
    }
    rates: dict[str, list[float]] = {}
    for way, epochs in ways.items():  # one after the other: waiting loaders would take memory, not time
        next(epochs)
        with Utilisation(context.device) as utilisation:
            num_epochs = context.sizes.rounds * (5 if way == "ours" and network == context.sizes.small else 1)
            seen = [next(epochs)[0] for _ in range(num_epochs)]
        epochs.close()  # type: ignore[attr-defined]
        rates[way] = [metrics["images_per_second"] for metrics in seen]
        yield Row("recipe", name, way, unit="images/s", **spread_of(rates[way]))
        seconds = [metrics["epoch_seconds"] for metrics in seen]
        yield Row("recipe", name, f"epoch, {way}", unit="s", **spread_of(seconds))
        note = "" if utilisation.mean is not None else "nobody tells"
        yield Row("recipe", name, f"utilisation, {way}", utilisation.mean, note=note)
        if way != "ours":
            ratios = [spread_of(rates["ours"])["value"] / rate for rate in rates[way]]
            least = target if way == "recipe with our loop" else None
            yield Row("recipe", name, f"ours over {way}", **spread_of(ratios), at_least=least)


def folders(context: Context, splits: TrainingSplits) -> dict[str, Any]:
    """The same drawings as files by class, and which of them are for training and validation."""
    data = context.inputs.data
    folder = context.folder / "png"
    if not folder.exists():
        for name in data.class_names:
            (folder / name).mkdir(parents=True)
        for index, (image, label) in enumerate(zip(data.images, data.labels, strict=True)):
            picture = Image.fromarray(255 - np.asarray(image)).resize((PNG_PX, PNG_PX))
            picture.save(folder / data.class_names[label] / f"{index:06d}.png", compress_level=1)
    order = {int(path.stem): index for index, path in enumerate(sorted_files(folder))}
    rows = {name: split.indices for name, split in (("train", splits.train), ("validation", splits.validation))}
    indices = {name: [order[int(row)] for row in some] for name, some in rows.items()}
    return {"folder": str(folder), "num_classes": len(data.class_names), "gpus": 0, **indices}


def sorted_files(folder: Path) -> list[Path]:
    """In the order of torchvision's ImageFolder."""
    return [path for part in sorted(folder.iterdir()) for path in sorted(part.iterdir())]

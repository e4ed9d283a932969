"""The real thing in small: full trainings on people's drawings, their accuracy, and the minutes that they take."""

import importlib.util
import math
import statistics
import time
from collections.abc import Iterator

import torch

from benchmarks.gpu.context import Case, Context, configure
from benchmarks.gpu.inputs import TIMM_WEIGHTS
from benchmarks.gpu.results import Row
from tune_sketch.search_spaces import is_timm
from tune_sketch.trainables.averaging import best_weights
from tune_sketch.trainables.evaluation import predict_probabilities
from tune_sketch.trainables.networks.build import build_model
from tune_sketch.trainables.training import fit

TIMM_NETWORK = f"timm:{TIMM_WEIGHTS}"
# (network, whether from weights where the prepared file has them, seconds of a training on a large card)
TRAININGS = (("squeezenet1_1", True, 60.0), (TIMM_NETWORK, True, 90.0), ("resnet50", False, 110.0))
NO_TIMM = "not trained: timm is not installed, nor in the prepared file"
T_95 = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}  # Student's t for a 95 % interval, by the number of values


def cases(context: Context) -> Iterator[Case]:
    """A case is one seed: with little time there are fewer of them."""
    for network, wants_weights, seconds in TRAININGS[: 2 if context.sizes.is_rehearsal else None]:
        if is_timm(network) and importlib.util.find_spec("timm") is None:
            yield Case(network, 0, lambda n=network: [Row("accuracy", n, "test top-1", None, note=NO_TIMM)])
            continue
        seen: list[float] = []
        for seed in range(context.sizes.seeds):
            run = lambda n=network, w=wants_weights, s=seed, seen=seen: train(context, n, w, s, seen)  # noqa: E731
            yield Case(f"{network}, seed {seed}", seconds, run)


def train(context: Context, network: str, wants_weights: bool, seed: int, seen: list[float]) -> Iterator[Row]:
    """One training by today's recipe, all its epochs; its test drawings are read once, at the end."""
    image_px, epochs = context.sizes.large_px, context.sizes.epochs["accuracy"]
    splits, test = context.inputs.splits(image_px)
    weights = context.inputs.weights.get(network.removeprefix("timm:")) if wants_weights else None
    config = configure(network, epochs, pretrained=weights is not None)
    torch.manual_seed(seed)
    path = None if weights is None else str(weights)
    options = {"dropout": config["dropout"], "head": config["head"], "weights_path": path}
    model = build_model(network, splits.num_classes, **options)
    start = time.perf_counter()
    device, pretrained = context.device, weights is not None
    steps_seconds = 0.0
    # One after the other: each epoch's state is a copy of the network, its average and its optimizer.
    for epoch in fit(model, splits, config, seed=seed, device=device, pretrained=pretrained):
        steps_seconds += len(splits.train) / epoch[0]["images_per_second"]
    metrics, state = epoch
    seconds = time.perf_counter() - start
    name = f"{network} {'with weights' if pretrained else 'from scratch'}, {image_px} px, {epochs} epochs"
    model.load_state_dict(best_weights(state))
    probabilities = predict_probabilities(
        model, test.images[test.indices], device=device, invert=True, pretrained=pretrained
    )
    top1 = float((probabilities.argmax(axis=1) == test.labels[test.indices]).mean())
    seen.append(top1)
    yield Row("accuracy", name, f"validation top-1, seed {seed}", metrics["val_top1"])
    yield Row("accuracy", name, f"minutes, seed {seed}", seconds / 60, "GPU-minutes")
    note = "the rest: statistics of batch norm, validation, copying the state for a checkpoint"
    yield Row("accuracy", name, f"share of it in training steps, seed {seed}", steps_seconds / seconds, note=note)
    note = f"mean over seeds; {len(test)} test drawings of {splits.num_classes} classes"
    note += ", generated" * context.inputs.data.synthetic
    if len(seen) in T_95:
        half = T_95[len(seen)] * statistics.stdev(seen) / math.sqrt(len(seen))
        note += f"; 95 % interval of the mean {statistics.mean(seen) - half:.3f} to {statistics.mean(seen) + half:.3f}"
    spread = {"lowest": min(seen), "highest": max(seen), "n": len(seen)}
    yield Row("accuracy", name, "test top-1", statistics.mean(seen), **spread, note=note)

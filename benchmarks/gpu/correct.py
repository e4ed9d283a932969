"""Is what a device computes right? Beside the CPU, and beside itself where it resumes, halves batches, or rounds."""

import contextlib
import os
import statistics
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.gpu.context import Case, Context, configure, wait_for
from benchmarks.gpu.results import Row
from tune_sketch.trainables import batches, evaluation
from tune_sketch.trainables.augmentation import augment, draw_changes
from tune_sketch.trainables.batches import BatchSource, SplitArrays, TrainingSplits
from tune_sketch.trainables.evaluation import normalise, to_unit
from tune_sketch.trainables.networks.build import build_model
from tune_sketch.trainables.networks.freezing import split_frozen
from tune_sketch.trainables.networks.registry import ARCHITECTURES
from tune_sketch.trainables.speed import devices
from tune_sketch.trainables.speed.devices import DETERMINISTIC, move_to_device, uses_bfloat16
from tune_sketch.trainables.training import fit

# Of the changes of weights, as norms. Sums in another order differ by 1e-5 to 1e-2 after a few steps, and by 0.1 in
# densenet121, where batch norm divides by the deviations of a few values: the CPU's own difference is the yardstick.
MOST_DIFFERENCE, TIMES_OWN_DIFFERENCE = 0.05, 2.0
MOST_AUGMENTED = 1e-3  # of a pixel in [0, 1]
MOST_STORED = 0.02  # of logits: activations are stored in half precision
MOST_LOST = 0.02  # of top-1, in the mean over seeds, by bfloat16
SHARES_OF_MEMORY = (0.67, 0.5, 0.35, 0.25, 0.18, 0.12)  # that a batch is tried with until it does not fit
NUM_DRAWINGS, BATCH = 32, 8


def cases(context: Context) -> Iterator[Case]:
    """The measurements in order of value."""
    for name in ARCHITECTURES:
        yield Case(f"epoch of {name}", 8, lambda name=name: compare_epoch(context, name))
    yield Case("augmentation", 3, lambda: compare_augmentation(context))
    yield Case("frozen prefix", 5, lambda: compare_frozen(context))
    yield Case("resume", 15, lambda: compare_resumed(context))
    yield Case("out of memory", 40, lambda: provoke_out_of_memory(context))
    yield Case("bfloat16", 75, lambda: compare_bfloat16(context))
    yield Case("large set", 15, lambda: load_large_set(context))


def compare_epoch(context: Context, name: str) -> Iterator[Row]:
    """One epoch in float32 on the device and on the CPU, from the same weights over the same drawings."""
    splits = few(context)
    config = plain(name)
    states = [train(name, splits, config, device)[-1] for device in (torch.device("cpu"), context.device)]
    start = build(name, splits, config).state_dict()
    with contiguous_layout():
        _, reordered = train(name, splits, config, torch.device("cpu"))[-1]
    own = distance(start, states[0][1]["model"], reordered["model"])
    yield Row("correct", f"epoch of {name}", "change of weights, CPU against CPU with sums in another order", own)
    yield Row(
        *("correct", f"epoch of {name}", "change of weights, device against CPU"),
        value=distance(start, states[0][1]["model"], states[1][1]["model"]),
        at_most=max(MOST_DIFFERENCE, TIMES_OWN_DIFFERENCE * own),
    )
    losses = [metrics["train_loss"] for metrics, _ in states]
    yield Row("correct", f"epoch of {name}", "loss, relative", abs(losses[1] / losses[0] - 1), at_most=0.01)


def compare_augmentation(context: Context) -> Iterator[Row]:
    """The same draws on the device and on the CPU."""
    for image_px in (context.sizes.small_px, context.sizes.large_px):
        images = torch.as_tensor(few(context, image_px).train.images[:NUM_DRAWINGS])
        config = configure("baseline", 1, pretrained=False, pen_width=0.5)
        changed = []
        for device in (torch.device("cpu"), context.device):
            changes = draw_changes(len(images), config, torch.Generator().manual_seed(0), device)
            changed.append(augment(to_unit(images.to(device)), changes, True).cpu())
        largest = float((changed[0] - changed[1]).abs().max())
        yield Row("correct", f"augmentation, {image_px} px", "largest difference", largest, at_most=MOST_AUGMENTED)


def compare_frozen(context: Context) -> Iterator[Row]:
    """Logits from stored activations against those of the whole network."""
    for name, freeze in (("resnet50", "layer3"), ("densenet121", "head_only"), ("squeezenet1_1", "fire5")):
        splits = few(context)
        model = build(name, splits, plain(name) | {"freeze": freeze})
        move_to_device(model, context.device)
        model.eval()
        prefix, tail = split_frozen(model)
        inputs = normalise(to_unit(torch.as_tensor(splits.train.images[:BATCH]).to(context.device)), model, False)
        with torch.inference_mode(), exact():
            stored = prefix(inputs).half()
            stored = stored.permute(0, 2, 3, 1).contiguous() if stored.ndim == 4 else stored
            whole, parts = model(inputs).float(), tail.eval()(stored).float()
        error = float((whole - parts).norm() / whole.norm())
        yield Row("correct", f"frozen prefix of {name}, {freeze}", "logits, relative", error, at_most=MOST_STORED)


def compare_resumed(context: Context) -> Iterator[Row]:
    """Four epochs at once against two and two, as a search trains them, and with kernels of a fixed order."""
    splits = few(context)
    config = configure("squeezenet1_1", 4, pretrained=False, batch_size=BATCH, learning_rate=1e-4, warmup_steps=0)
    for fixed in (False, True):
        with patch.dict(os.environ, {DETERMINISTIC: "1" if fixed else "0"}):
            whole = train("squeezenet1_1", splits, config, context.device, exactly=False)
            halves = train("squeezenet1_1", splits, config, context.device, exactly=False, state=whole[1][1])
        torch.use_deterministic_algorithms(False)
        first, second = whole[-1][1]["model"], halves[-1][1]["model"]
        name = "resume" + (" with fixed order of sums" if fixed else "")
        error = distance(build("squeezenet1_1", splits, config).state_dict(), first, second)
        yield Row("correct", name, "change of weights, resumed against whole", error, at_most=MOST_DIFFERENCE)
        yield Row("correct", name, "bit for bit", float(all(torch.equal(first[k], second[k]) for k in first)))


def provoke_out_of_memory(context: Context) -> Iterator[Row]:
    """A batch that does not fit gives the same step in halves: the device is held to part of what it took."""
    image_px, size = context.sizes.large_px, 512 if context.device.type == "cuda" else 16
    splits = few(context, image_px)
    rows = np.arange(size) % len(splits.train.labels)
    if context.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(context.device)
    splits = replace(splits, train=SplitArrays(splits.train.images[rows], splits.train.labels[rows]))
    config = plain("baseline") | {"batch_size": size}
    start = build("baseline", splits, config).state_dict()
    *_, (_, expected) = train("baseline", splits, config, context.device)
    # The most that was taken includes what cuDNN can do without, so the limit falls until a batch does not fit.
    for share in SHARES_OF_MEMORY:
        with little_memory(context.device, size, share):
            *_, (metrics, halved) = train("baseline", splits, config, context.device)
        if metrics["micro_batch"] < size:
            break
    note = f"of {share:.0%} of the memory that it took"
    yield Row(
        "correct", "out of memory", "micro batch over batch", metrics["micro_batch"] / size, at_most=0.5, note=note
    )
    error = distance(start, expected["model"], halved["model"])
    yield Row("correct", "out of memory", "change of weights, halves against whole", error, at_most=0.01)


def little_memory(device: torch.device, batch_size: int, share: float) -> Any:
    """A context with a share of the memory taken; without a GPU one in which the batch does not fit, its half does."""
    if device.type == "cuda":
        return HeldToMemory(device, share)

    def forward(model: nn.Sequential, inputs: Tensor) -> Tensor:
        if model.training and len(inputs) > batch_size // 2:
            raise torch.OutOfMemoryError("the rehearsal's device is full")
        for layer in model:
            inputs = layer(inputs)
        return inputs

    return patch.object(nn.Sequential, "forward", forward)


class HeldToMemory:
    """Holds this process to a share of the most that its tensors took so far."""

    def __init__(self, device: torch.device, share: float) -> None:
        self.device = device
        self.bytes_allowed = share * torch.cuda.max_memory_allocated(device)

    def __enter__(self) -> None:
        torch.cuda.empty_cache()
        _, of_device = torch.cuda.mem_get_info(self.device)
        torch.cuda.set_per_process_memory_fraction(self.bytes_allowed / of_device)

    def __exit__(self, *error: object) -> None:
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.empty_cache()


def compare_bfloat16(context: Context) -> Iterator[Row]:
    """Validation top-1 with and without bfloat16, over seeds, in pairs."""
    splits, _ = context.inputs.splits(context.sizes.small_px)
    weights = context.inputs.weights.get("squeezenet1_1")
    name, epochs = "squeezenet1_1", context.sizes.epochs["bfloat16"]
    config = configure(name, epochs, pretrained=weights is not None)
    if not uses_bfloat16(build_model(name, 2), context.device):
        yield Row("correct", "bfloat16", "top-1 lost", None, note="this device computes in float32 by itself")
        if not context.sizes.is_rehearsal:
            return
    lost = []
    for seed in range(context.sizes.seeds):
        top1 = []
        for allowed in (False, True):
            with patch.object(devices, "uses_bfloat16", uses_bfloat16 if allowed else lambda model, device: False):
                torch.manual_seed(seed)
                path = None if weights is None else str(weights)
                model = build_model(name, splits.num_classes, dropout=0.5, head=config["head"], weights_path=path)
                options: dict[str, Any] = {"seed": seed, "device": context.device, "pretrained": path is not None}
                *_, (metrics, _) = fit(model, splits, config, **options)
            top1.append(metrics["val_top1"])
        lost.append(top1[0] - top1[1])
    yield Row(
        *("correct", "bfloat16", "top-1 lost"),
        **{"value": statistics.mean(lost), "lowest": min(lost), "highest": max(lost), "n": len(lost)},
        at_most=MOST_LOST,
        note=f"mean; {name} at {context.sizes.small_px} px, {epochs} epochs, {len(splits.validation)} drawings",
    )


def load_large_set(context: Context) -> Iterator[Row]:
    """A set of usual size on the device, and the same streamed from the machine's memory."""
    few_images = few(context, context.sizes.large_px).train.images
    indices = np.arange(context.sizes.large_set) % len(few_images)
    split = SplitArrays(few_images, np.zeros(len(few_images), np.int64), indices)
    name = f"{len(split)} drawings of {context.sizes.large_px} px"
    order = np.random.default_rng(0).permutation(len(split))
    positions = list(order[: len(order) - len(order) % 64].reshape(-1, 64))
    for way, fraction in (("on the device", batches.RESIDENT_FRACTION), ("streamed", 0.0)):
        with patch.object(batches, "RESIDENT_FRACTION", fraction):
            start = time.perf_counter()
            source = BatchSource(split, context.device)
            wait_for(context.device)
            loading = time.perf_counter() - start
        start = time.perf_counter()
        for images, _ in source.iterate(positions):
            to_unit(images)
        wait_for(context.device)
        rate = 64 * len(positions) / (time.perf_counter() - start)
        yield Row("correct", name, f"drawings/s as batches, {way}", rate, note=f"after {loading:.2f} s of loading")
        del source


@contextlib.contextmanager
def contiguous_layout() -> Iterator[None]:
    """A context in which networks are contiguous in memory."""
    layout = "memory_format", lambda device: torch.contiguous_format
    with patch.object(devices, *layout), patch.object(evaluation, *layout):
        yield


def few(context: Context, image_px: int | None = None) -> TrainingSplits:
    """Some drawings in memory, training and validation alike."""
    splits, _ = context.inputs.splits(image_px or context.sizes.small_px)
    rows = splits.train.indices[:: max(1, len(splits.train) // NUM_DRAWINGS)][:NUM_DRAWINGS]
    split = SplitArrays(np.asarray(splits.train.images)[rows], np.asarray(splits.train.labels)[rows])
    return TrainingSplits(split, split, splits.num_classes, invert=True)


def plain(name: str) -> dict[str, Any]:
    """A configuration without chance but the order and the changes of drawings."""
    config = configure(name, 1, pretrained=False, recipe=False, batch_size=BATCH)
    return config | {"optimizer": "sgd", "momentum": 0.9, "learning_rate": 1e-3, "dropout": 0.0, "freeze": "none"}


def build(name: str, splits: TrainingSplits, config: dict[str, Any]) -> nn.Module:
    torch.manual_seed(0)
    return build_model(
        name, splits.num_classes, dropout=config["dropout"], head=config["head"], freeze=config["freeze"]
    )


def train(
    name: str,
    splits: TrainingSplits,
    config: dict[str, Any],
    device: torch.device,
    *,
    exactly: bool = True,
    **options: Any,
) -> list[tuple[dict[str, float], dict[str, Any]]]:
    """All epochs of a training from the same weights; exactly: in float32 alone."""
    model = build(name, splits, config)
    if not exactly:
        return list(fit(model, splits, config, seed=0, device=device, **options))
    with exact():
        return list(fit(model, splits, config, seed=0, device=device, **options))


class exact:
    """Float32 as it is: neither bfloat16 nor TF32, whose products keep ten bits."""

    def __enter__(self) -> None:
        self.patched = patch.object(devices, "uses_bfloat16", lambda model, device: False)
        self.patched.start()
        self.tf32 = torch.backends.cudnn.allow_tf32
        torch.backends.cudnn.allow_tf32 = False

    def __exit__(self, *error: object) -> None:
        self.patched.stop()
        torch.backends.cudnn.allow_tf32 = self.tf32


def distance(start: dict[str, Tensor], first: dict[str, Tensor], second: dict[str, Tensor]) -> float:
    """How far two trainings from the same weights ended apart, over how far the first one went."""
    names = [name for name, tensor in first.items() if tensor.is_floating_point() and "running" not in name]
    apart = torch.cat([(first[name] - second[name]).flatten() for name in names]).norm()
    gone = torch.cat([(first[name] - start[name]).flatten() for name in names]).norm()
    return float(apart / gone)

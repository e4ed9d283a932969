"""Recomputes the statistics of batch norm after an epoch, and knows how few drawings it can be trained on."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from tune_sketch.trainables.augmentation import augment, draw_for_batches
from tune_sketch.trainables.batches import BatchSource, shuffled_batches
from tune_sketch.trainables.evaluation import normalise, to_unit
from tune_sketch.trainables.speed.devices import autocast

NUM_STATISTICS_IMAGES = 256  # from which batch norm's statistics are recomputed after every epoch


def recompute_batch_norm(
    model: nn.Module,
    source: BatchSource,
    config: Mapping[str, Any],
    generator: torch.Generator,
    invert: bool,
    pretrained: bool,
    batch_size: int,
) -> None:
    """Recompute the statistics of trained batch norm from some augmented drawings and the present weights.

    Running averages trail the weights by some ten steps. Where an epoch has few steps, validation would measure that
    lag and not the network (Wu and Johnson 2021, "Rethinking 'Batch' in BatchNorm", section 3).
    """
    layers = trained_batch_norm(model)
    if not layers:
        return
    batch_size = max(2, min(64, batch_size))
    batches = shuffled_batches(len(source.split), batch_size, generator)
    batches = batches[: math.ceil(NUM_STATISTICS_IMAGES / batch_size)]
    changes = draw_for_batches(model, batches, config, generator, source.device)
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
    with torch.no_grad():
        for number, ((images, _), change) in enumerate(zip(source.iterate(batches), changes, strict=True), start=1):
            for layer in layers:
                # The plain mean so far. So does torch with a momentum of None, but then every layer of every batch
                # makes a GPU wait for the number of batches.
                layer.momentum = 1 / number
            inputs = augment(to_unit(images), change, invert)
            with autocast(model, source.device):
                model(normalise(inputs, model, pretrained))
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum


def trained_batch_norm(model: nn.Module) -> list[nn.modules.batchnorm._BatchNorm]:
    return [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.training]


def min_micro_batch(model: nn.Module) -> int:
    """The smallest number of drawings to train on at once: batch norm cannot normalise a single one."""
    return 2 if trained_batch_norm(model) else 1

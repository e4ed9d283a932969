"""Trains a network in plain PyTorch: `fit` yields the metrics and the state after every epoch."""

import math
import time
from collections.abc import Generator, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tune_sketch.trainables.augmentation import augment, draw_for_batches
from tune_sketch.trainables.averaging import average_weights
from tune_sketch.trainables.batch_norm import min_micro_batch, recompute_batch_norm
from tune_sketch.trainables.batches import BatchSource, TrainingSplits, epoch_batches
from tune_sketch.trainables.evaluation import compute_logits, count_hits, normalise, summarise_hits, to_unit
from tune_sketch.trainables.networks.architecture import check_image_px
from tune_sketch.trainables.networks.freezing import set_training_mode, split_frozen
from tune_sketch.trainables.optimizer import build_optimizer, group_by_depth, learning_rate_at
from tune_sketch.trainables.speed.data_parallel import Rank
from tune_sketch.trainables.speed.devices import (
    autocast,
    copy_to_cpu,
    free_cached_memory,
    is_out_of_memory,
    move_to_device,
)
from tune_sketch.trainables.speed.feature_cache import CachePolicy, open_feature_cache

Metrics = dict[str, float]  # of one epoch, by name
State = dict[str, Any]  # after an epoch: tensors and plain values, which `torch.load(weights_only=True)` reads

STEPS_BETWEEN_CHECKS = 50  # reading the loss makes a GPU wait, so it is not read at every step


class DivergedError(Exception):
    """The loss is not a finite number any more; `epoch` is the epoch in which that was seen."""

    def __init__(self, epoch: int) -> None:
        super().__init__(f"the loss is not finite in epoch {epoch}")
        self.epoch = epoch


class OutOfMemoryError(Exception):
    """Not even the smallest micro batch fits into the device's memory."""


def fit(
    model: nn.Module,
    splits: TrainingSplits,
    config: Mapping[str, Any],
    *,
    seed: int,
    device: str | torch.device = "cpu",
    pretrained: bool = False,
    cache_policy: CachePolicy | None = None,
    state: State | None = None,
    rank: Rank = Rank(),  # noqa: B008  (immutable)
) -> Generator[tuple[Metrics, State], None, None]:
    """Train for config["epochs"] epochs; yield (metrics, state) after each, numbered from 1.

    All randomness of an epoch comes from (seed, epoch), so with `state`, the state after some epoch,
    training goes on as if it had never stopped: bit for bit on a CPU with the same number of threads,
    nearly so on a GPU, whose sums have no fixed order. The state is a copy on the CPU that
    `torch.load(weights_only=True)` reads.

    metrics: epoch; train_loss, train_top1, train_top5: means over the epoch's augmented batches while the
    weights move; val_loss, val_top1, val_top5, val_balanced_accuracy, val_f1: after the epoch, of the weights or of
    their average over the latest steps, whichever has the better top-1; raw_val_top1 and, where weights are averaged,
    averaged_val_top1: of either. Without validation drawings there are none of these, and the average is kept. Losses
    are plain cross-entropy in nats (label smoothing acts on the gradient alone), the others are fractions in [0, 1]
    (top5 is 1 with up to five classes), as in `evaluate`. learning_rate: of the epoch's last step; images_per_second:
    of training; epoch_seconds: with validation; micro_batch: drawings per forward pass; frozen_views: how many stored
    views the epoch's activations of frozen layers are one of, 0: computed from the drawings.

    A batch that does not fit into memory is cut in halves until it does, and their gradients are summed:
    the same gradient, except that batch norm takes its statistics from the part. With several processes,
    each calling fit alike but for its `rank`, a batch is cut between them in the same way.
    With a cache_policy, what frozen layers compute may be kept and used again: see CachePolicy.
    Raises DivergedError, OutOfMemoryError, and ValueError for values that cannot be.
    """
    device = torch.device(device)
    check_splits(model, splits, rank)
    move_to_device(model, device)
    optimizer = build_optimizer(model, config, device)
    factors = list(group_by_depth(model, config["layer_rate_factor"]))  # of the rates of the optimizer's groups
    of_validation = splits.validation.take(rank.rows(len(splits.validation)))
    drawings = BatchSource(splits.train, device), BatchSource(of_validation, device)
    epoch, step = 0, 0
    micro_batch = math.ceil(min(config["batch_size"], len(splits.train)) / rank.num_processes)
    if state is not None:
        epoch, step, micro_batch = state["epoch"], state["step"], min(micro_batch, state["micro_batch"])
        model.load_state_dict(state["model"])
        # A copy, for its steps change what it was given.
        optimizer.load_state_dict(copy_to_cpu(state["optimizer"]))
    averaged = average_weights(model, step) if config["averaging"] else None
    if averaged is not None and state is not None:
        averaged.module.load_state_dict(state["averaged"])
    if rank.num_processes > 1:
        cache_policy = None  # each process would fill a store of its own, and time it by its own clock
    cache = open_feature_cache(model, splits, config, cache_policy, device, pretrained, state)

    while epoch < config["epochs"]:
        epoch += 1
        epoch_start = time.perf_counter()
        generator = seed_epoch(seed, epoch, rank.index)
        batches = epoch_batches(drawings[0].split_labels, config["batch_size"], generator, samples_balanced(config))
        sums = torch.zeros(3, device=device)  # loss, top-1 and top-5 hits over all drawings so far
        activations = None if cache is None else cache.open_sources(epoch)
        network = model if cache is None or activations is None else cache.tail
        train, validation = activations or drawings
        set_training_mode(model)
        fewest = min_micro_batch(model)
        # Of the whole batch in every process, which is cheap, so that all draw the same changes.
        changes = draw_for_batches(network, batches, config, generator, device)
        for (images, labels), change in zip(train.iterate(batches), changes, strict=True):
            learning_rate = learning_rate_at(config, step)
            for group, factor in zip(optimizer.param_groups, factors, strict=True):
                group["lr"] = factor * learning_rate
            inputs = augment(to_unit(images), change, splits.invert)
            rows = rank.rows(len(labels), fewest)
            batch_sums, micro_batch = accumulate_gradients(
                network, inputs[rows], labels[rows], len(labels), config["label_smoothing"], pretrained, micro_batch
            )
            rank.sum_gradients(model)
            optimizer.step()
            optimizer.zero_grad()
            if averaged is not None:
                averaged.update()
            sums += batch_sums
            step += 1
            if step % STEPS_BETWEEN_CHECKS == 0 and not math.isfinite(rank.sum(sums)[0].item()):
                raise DivergedError(epoch)
        train_loss, train_top1, train_top5 = (rank.sum(sums) / len(splits.train)).tolist()
        train_seconds = time.perf_counter() - epoch_start
        recompute_batch_norm(network, train, config, generator, splits.invert, pretrained, micro_batch)
        scores = validate(network, validation, pretrained, 4 * micro_batch, rank)
        of_each = {"raw_val_top1": scores["val_top1"]} if scores else {}
        uses_averaged = False
        if averaged is not None:
            network = averaged.module if activations is None else split_frozen(averaged.module)[1]
            set_training_mode(averaged.module)
            recompute_batch_norm(network, train, config, generator, splits.invert, pretrained, micro_batch)
            averaged_scores = validate(network, validation, pretrained, 4 * micro_batch, rank)
            of_each |= {"averaged_val_top1": averaged_scores["val_top1"]} if averaged_scores else {}
            uses_averaged = not scores or averaged_scores["val_top1"] >= scores["val_top1"]
            scores = averaged_scores if uses_averaged else scores
        if not (math.isfinite(train_loss) and math.isfinite(scores.get("val_loss", 0.0))):
            raise DivergedError(epoch)
        epoch_seconds = time.perf_counter() - epoch_start
        if cache is not None:
            cache.keep_if_faster(epoch, epoch_seconds)
        metrics = {
            "epoch": epoch,
            "train_loss": train_loss,
            "train_top1": train_top1,
            "train_top5": train_top5,
            **scores,
            **of_each,
            "learning_rate": learning_rate,
            "images_per_second": len(splits.train) / train_seconds,
            "epoch_seconds": epoch_seconds,
            "micro_batch": micro_batch,
            "frozen_views": 0 if cache is None or activations is None else cache.num_views,
        }
        state = {
            "epoch": epoch,
            "step": step,
            "micro_batch": micro_batch,
            "frozen": None if cache is None else cache.state(),
            "model": copy_to_cpu(model.state_dict()),
            "averaged": None if averaged is None else copy_to_cpu(averaged.module.state_dict()),
            "uses_averaged": uses_averaged,
            "optimizer": copy_to_cpu(optimizer.state_dict()),
        }
        yield metrics, state


def check_splits(model: nn.Module, splits: TrainingSplits, rank: Rank) -> None:
    """ValueError for splits that cannot be trained on."""
    check_image_px(model, min(splits.train.images.shape[1:]))
    least = rank.num_processes
    if len(splits.train) < 2 or 0 < len(splits.validation) < least:
        raise ValueError(
            f"training needs at least 2 drawings and validation {least} or none, "
            f"got {len(splits.train)} and {len(splits.validation)}"
        )


def seed_epoch(seed: int, epoch: int, rank: int = 0) -> torch.Generator:
    """Seed all that is random in an epoch from (seed, epoch).

    Dropout draws from torch's global generators, which are seeded here; the order of the drawings and
    their augmentation draw from the generator that is returned, on the CPU whatever the device: the same
    in every process of a training, while each has dropout of its own.
    """
    for_dropout, for_data = np.random.SeedSequence([seed, epoch]).generate_state(2)
    torch.manual_seed(int(for_dropout) + rank)
    return torch.Generator().manual_seed(int(for_data))


def samples_balanced(config: Mapping[str, Any]) -> bool:
    """Whether classes are drawn equally often. Only a search over classes of unlike sizes has the choice."""
    # `get` would read a misspelt name without a word.
    return "balanced_sampling" in config and bool(config["balanced_sampling"])


def accumulate_gradients(
    model: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    batch_size: int,
    label_smoothing: float,
    pretrained: bool,
    micro_batch: int,
) -> tuple[Tensor, int]:
    """Add the gradient of a batch's mean loss; ([loss, top-1, top-5] summed over these drawings, micro batch).

    inputs: float [B, 1, H, W] in [0, 1]; labels: int64 [B]: the batch of batch_size drawings, or this
    process's part of it, possibly none. Where memory does not suffice, the micro batch is halved and the
    batch begun again; the micro batch that worked is returned.
    """
    fewest = min_micro_batch(model)
    if len(labels) == 0:
        return torch.zeros(3, device=inputs.device), micro_batch
    while True:
        try:
            sums = torch.zeros(3, device=inputs.device)
            num_parts = max(1, min(math.ceil(len(labels) / micro_batch), len(labels) // fewest))
            for part in torch.arange(len(labels)).tensor_split(num_parts):
                rows = slice(int(part[0]), int(part[-1]) + 1)
                loss, hits = forward(model, inputs[rows], labels[rows], label_smoothing, pretrained)
                torch.autograd.backward(loss * len(part) / batch_size)
                sums += hits
            return sums, micro_batch
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        # Outside the handler, whose traceback would keep the failed pass's memory.
        if micro_batch // 2 < fewest:
            raise OutOfMemoryError(f"a micro batch of {micro_batch} drawings does not fit into memory")
        micro_batch //= 2
        model.zero_grad()
        free_cached_memory(inputs.device)


def forward(
    model: nn.Module, inputs: Tensor, labels: Tensor, label_smoothing: float, pretrained: bool
) -> tuple[Tensor, Tensor]:
    """(mean loss to descend, [plain loss, top-1 hits, top-5 hits] summed) of float [B, 1, H, W]."""
    device = inputs.device
    inputs = normalise(inputs, model, pretrained)  # [B, 3, H, W]
    with autocast(model, device):
        logits = model(inputs)
    logits = logits.float()  # [B, classes]
    loss = F.cross_entropy(logits, labels, label_smoothing=label_smoothing)
    return loss, score(logits.detach(), labels)


def score(logits: Tensor, labels: Tensor) -> Tensor:
    """[cross-entropy in nats, top-1 hits, top-5 hits] summed over the batch."""
    ranked = logits.topk(min(5, logits.shape[1])).indices  # [B, 5]
    hits = ranked == labels[:, None]
    loss = F.cross_entropy(logits, labels, reduction="sum")
    return torch.stack([loss, hits[:, 0].sum(), hits.any(dim=1).sum()])


def validate(model: nn.Module, source: BatchSource, pretrained: bool, batch_size: int, rank: Rank) -> Metrics:
    """The metrics of the validation split, of which this process has its part, without augmentation; {} without one."""
    if not len(source.split):
        return {}
    try:
        logits = compute_logits(model, source, pretrained=pretrained, batch_size=min(256, batch_size))
    except torch.OutOfMemoryError as error:
        raise OutOfMemoryError("not even one drawing of the validation split fits into memory") from error
    labels = source.split_labels.to(source.device)
    counts = rank.sum(count_hits(logits, labels))
    loss, top1, top5 = (rank.sum(score(logits, labels)) / counts[0].sum()).tolist()
    balanced_accuracy, f1 = summarise_hits(counts)
    return {
        "val_loss": loss,
        "val_top1": top1,
        "val_top5": top5,
        "val_balanced_accuracy": balanced_accuracy,
        "val_f1": f1,
    }

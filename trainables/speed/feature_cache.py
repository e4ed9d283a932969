"""Computes the output of frozen first layers once, and trains the rest of the network from there.

Gain: epochs of resnet50 frozen to layer2, layer3 or all but its head are 1.35, 2.7 and 61 times faster at 64 px, those
of densenet121 from its first block on 1.23 to 47 times. By arithmetic, the trials of a default search where nothing
is augmented are 1.19 (resnet50) and 1.29 (densenet121) times faster (benchmarks/results/frozen_prefix-cpu.md).
"""

import hashlib
import json
import os
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tune_sketch.trainables.augmentation import STRENGTHS, augment, draw_changes
from tune_sketch.trainables.batches import BatchSource, SplitArrays, TrainingSplits, ordered_batches
from tune_sketch.trainables.evaluation import normalise, to_unit
from tune_sketch.trainables.networks.architecture import architecture_of
from tune_sketch.trainables.networks.freezing import split_frozen
from tune_sketch.trainables.speed.activation_store import Entry, open_entry
from tune_sketch.trainables.speed.devices import autocast, free_cached_memory, is_out_of_memory, uses_bfloat16

CHUNK_DRAWINGS = 64  # augmented at once: with it the random numbers of a view would change


class CannotStoreError(Exception):
    """A value is too large for half precision."""


@dataclass(frozen=True)
class CachePolicy:
    """When a training may reuse the output of its frozen layers.

    The first epoch is trained from the drawings, the second from the store; if that is not least_speedup times
    faster (without what filling the store takes), the training goes on from the drawings. num_views: augmented views
    of each drawing, each computed in the first epoch that wants it, so that up to epoch num_views + 1 this is ordinary
    training; later epochs see the same augmented drawings again, in a new order. 0: only where nothing is augmented,
    and so nothing lost.
    seed: of the views' augmentation; trainings with equal seeds and strengths share them.
    """

    num_views: int
    seed: int
    least_speedup: float = 1.2
    root: Path = field(default_factory=lambda: Path(tempfile.gettempdir()) / f"tune_sketch-{os.getuid()}")


class FeatureCache:
    """The frozen first layers of one training, and their activations in the store of this machine."""

    def __init__(
        self,
        model: nn.Module,
        splits: TrainingSplits,
        config: Mapping[str, Any],
        policy: CachePolicy,
        device: torch.device,
        pretrained: bool,
    ) -> None:
        self.model, self.splits, self.policy = model, splits, policy
        self.strengths = {name: config[name] for name in STRENGTHS}
        self.augments = augments(config)
        self.num_views = policy.num_views if self.augments else 1  # without augmentation all views are one
        self.device, self.pretrained = device, pretrained
        self.prefix, self.tail = split_frozen(model)
        self.weights = digest_weights(self.prefix)
        self.shape = self._run(torch.zeros(1, 1, *splits.train.images.shape[1:], device=device)).shape[1:]
        self.ordinary_seconds = 0.0  # of the first epoch
        self.filling_seconds = 0.0  # of the latest epoch: computing and writing what was not in the store
        self.train: Entry | None = None
        self.validation: Entry | None = None

    def open(self) -> bool:
        """Reserve space; whether there is as much."""
        num_bytes = 2 * int(np.prod(self.shape))
        seed = self.policy.seed if self.augments else None
        self.train = open_entry(
            self.policy.root,
            self._key(self.splits.train, self.strengths, seed),
            num_bytes * len(self.splits.train) * self.num_views,
        )
        if self.train is None:
            return False
        self.validation = open_entry(
            self.policy.root, self._key(self.splits.validation, {}, None), num_bytes * len(self.splits.validation)
        )
        return self.validation is not None

    def open_sources(self, epoch: int) -> tuple[BatchSource, BatchSource] | None:
        """(training, validation) activations for an epoch, computed where no process has yet.

        None in the first epoch; after `keep_if_faster` gave the store up; and, with a warning, from the epoch on in
        which they cannot be kept, as when the disk is full.
        """
        if epoch == 1 or self.train is None or self.validation is None:
            return None
        view = (epoch - 2) % self.num_views
        start = time.perf_counter()
        try:
            return (
                self._open(self.train, f"view_{view:02d}", self.splits.train, view if self.augments else None),
                # All trainings with these frozen layers share this one.
                self._open(self.validation, "plain", self.splits.validation, None),
            )
        except (OSError, CannotStoreError) as error:
            self.give_up(str(error))
            return None
        finally:
            self.filling_seconds = time.perf_counter() - start

    def keep_if_faster(self, epoch: int, seconds: float) -> None:
        """Note how long the first epoch took; after the second, give the store up unless it was clearly faster."""
        if epoch == 1:
            self.ordinary_seconds = seconds
        if (
            epoch == 2
            and self.train is not None
            and self.ordinary_seconds < self.policy.least_speedup * (seconds - self.filling_seconds)
        ):
            self.train.discard()
            self.train = self.validation = None

    def state(self) -> dict[str, Any] | None:
        """The part of a training's state that a resumed one needs to go on in the same way; None: from the drawings."""
        if self.train is None:
            return None
        return {"num_views": self.num_views, "ordinary_seconds": self.ordinary_seconds}

    def give_up(self, reason: str) -> None:
        """Say that this training goes on without the store, and let its activations be evicted."""
        warnings.warn(f"what frozen layers compute is not kept in {self.policy.root}: {reason}", stacklevel=3)
        self.train = self.validation = None

    def _open(self, entry: Entry, name: str, split: SplitArrays, view: int | None) -> BatchSource:
        if not len(split):  # the last step's validation: an empty file cannot be mapped
            return BatchSource(split, self.device)
        shape = (len(split), *self.shape)
        activations = entry.open_array(name, shape, lambda: self._compute(split, view))
        labels = np.asarray(split.labels)[slice(None) if split.indices is None else split.indices]
        return BatchSource(SplitArrays(activations, labels), self.device)

    def _compute(self, split: SplitArrays, view: int | None) -> Iterator[np.ndarray]:
        """float16 [CHUNK_DRAWINGS, ...] for each chunk of a split in its order; view None: not augmented."""
        generator = torch.Generator()
        if view is not None:
            generator.manual_seed(int(np.random.SeedSequence([self.policy.seed, view]).generate_state(1)[0]))
        chunks = ordered_batches(len(split), CHUNK_DRAWINGS)
        for images, _ in BatchSource(split, self.device).iterate(chunks):
            inputs = to_unit(images)
            if view is not None:
                changes = draw_changes(len(inputs), self.strengths, generator, self.device)
                inputs = augment(inputs, changes, self.splits.invert)
            activations = self._run(inputs)
            if not torch.isfinite(activations).all():
                raise CannotStoreError("activations of the frozen layers are too large for half precision")
            yield activations.cpu().numpy()

    def _run(self, inputs: Tensor) -> Tensor:
        """float16 [B, H, W, C] or [B, F] of float [B, 1, H, W]; in parts where memory does not suffice."""
        self.prefix.eval()
        num_parts = 1
        while True:
            try:
                outputs = []
                with torch.inference_mode(), autocast(self.model, self.device):
                    for part in inputs.tensor_split(num_parts):
                        output = self.prefix(normalise(part, self.model, self.pretrained)).half()
                        # Channels last, as the tail takes it on CPUs and GPUs.
                        outputs.append(output.permute(0, 2, 3, 1) if output.ndim == 4 else output)
                return torch.cat(outputs)
            except RuntimeError as error:
                if not is_out_of_memory(error) or num_parts >= len(inputs):
                    raise
            num_parts = min(2 * num_parts, len(inputs))
            free_cached_memory(self.device)

    def _key(self, split: SplitArrays, strengths: Mapping[str, Any], seed: int | None) -> str:
        """Names everything that the activations depend on."""
        indices = b"" if split.indices is None else np.ascontiguousarray(split.indices).tobytes()
        facts = {
            "code": digest_code(),
            "torch": torch.__version__,
            "network": "" if (architecture := architecture_of(self.model)) is None else architecture.source,
            "device": self.device.type,
            "bfloat16": uses_bfloat16(self.model, self.device),
            "layers": repr(self.prefix),
            "weights": self.weights,
            "data": self.splits.fingerprint,
            "shape": list(split.images.shape),
            "indices": hashlib.sha256(indices).hexdigest(),
            "pretrained": self.pretrained,
            "invert": self.splits.invert,
            "strengths": dict(strengths),
            "seed": seed,
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


def open_feature_cache(
    model: nn.Module,
    splits: TrainingSplits,
    config: Mapping[str, Any],
    policy: CachePolicy | None,
    device: torch.device,
    pretrained: bool,
    state: Mapping[str, Any] | None,
) -> FeatureCache | None:
    """The frozen first layers with their store; None where nothing is frozen, kept or used twice.

    A resumed training goes on as its state says: with as many views as before, or from the drawings.
    """
    before = None if state is None else state.get("frozen")
    if policy is None or (policy.num_views == 0 and augments(config)) or (state is not None and before is None):
        return None
    if not len(split_frozen(model)[0]):
        return None
    cache = FeatureCache(model, splits, config, policy, device, pretrained)
    if before is not None:
        cache.num_views, cache.ordinary_seconds = before["num_views"], before["ordinary_seconds"]
    if cache.num_views + 1 >= config["epochs"]:
        return None
    try:
        if cache.open():
            return cache
        cache.give_up("there is no room")
    except OSError as error:
        cache.give_up(str(error))
    return None


def augments(config: Mapping[str, Any]) -> bool:
    return any(config[name] for name in STRENGTHS)


def digest_weights(layers: nn.Module) -> str:
    """SHA-256 of all parameters and running statistics."""
    digest = hashlib.sha256()
    for name, tensor in layers.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().data)
    return digest.hexdigest()


@lru_cache(maxsize=1)
def digest_code() -> str:
    """SHA-256 of this package's source: activations of older code are not used."""
    sources = sorted(Path(__file__).parent.parent.rglob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()

"""Hands out batches of drawings on the device: from memory where they fit, else streamed with prefetch."""

import mmap
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tune_sketch.trainables.speed.devices import free_cuda_bytes, send

PREFETCHED_BATCHES = 3
UPLOADED_DRAWINGS = 1024  # at once: no second copy of all drawings in the machine's own memory
RESIDENT_FRACTION = 0.4  # of a GPU's free memory: the rest is for the network
RESIDENT_BYTES = 2 * 2**30  # on other accelerators, which do not say what is free


@dataclass
class SplitArrays:
    """The drawings of one split.

    images: uint8 [N, H, W], a numpy array (memory-mapped or not) or a tensor; labels: int64 [N].
    indices: rows that belong to the split, or None for all. With it `images` can be the whole memory map,
    of which all trials on a machine share one copy.
    """

    images: np.ndarray | Tensor
    labels: np.ndarray | Tensor
    indices: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels) if self.indices is None else len(self.indices)

    def take(self, rows: slice) -> "SplitArrays":
        """These drawings of the split, by their positions in it, sharing the arrays."""
        indices = np.arange(len(self)) if self.indices is None else self.indices
        return SplitArrays(self.images, self.labels, indices[rows])


@dataclass
class TrainingSplits:
    """The drawings that a trial may see: never the test split. invert: ink is 255 on paper 0, else 0 on 255.

    fingerprint: names the content of the images; needed where results that depend on it are kept.
    """

    train: SplitArrays
    validation: SplitArrays
    num_classes: int
    invert: bool
    fingerprint: str = ""


class BatchSource:
    """Batches of one split on one device.

    The drawings stay uint8 (a quarter of the memory of float32). On a GPU they are copied there once if
    they fit; otherwise, and from a memory map, a thread gathers the next batches while one is trained.
    """

    def __init__(self, split: SplitArrays, device: torch.device) -> None:
        self.split = split
        self.device = device
        self.labels = torch.as_tensor(np.asarray(split.labels), dtype=torch.int64)  # of `images`, not of the split
        num_bytes = len(split) * int(np.prod(split.images.shape[1:])) * split.images.dtype.itemsize
        self.memory_map = find_map(split.images)
        if self.memory_map is not None:
            self.memory_map.madvise(mmap.MADV_RANDOM)  # no neighbours: they would push out what is needed
        self.resident: Tensor | None = None
        if device.type != "cpu" and num_bytes <= resident_limit_bytes(device):
            self.resident = self._upload()
            self.resident_labels = self.split_labels.to(device)
        self.prefetches = self.resident is None and (
            device.type != "cpu" or getattr(split.images, "filename", None) is not None
        )

    @property
    def split_labels(self) -> Tensor:
        """int64 [len(split)]: the labels of the split's drawings, on the CPU."""
        return self.labels if self.split.indices is None else self.labels[torch.as_tensor(self.split.indices)]

    def iterate(self, batches: Sequence[np.ndarray]) -> Generator[tuple[Tensor, Tensor], None, None]:
        """Yield (images uint8 [B, H, W], labels int64 [B]) on the device for each batch of positions."""
        if self.resident is not None:
            yield from self._pick(self.resident, batches)
            return
        if not self.prefetches:
            for positions in batches:
                yield self._read(positions)
            return
        with ThreadPoolExecutor(max_workers=1) as thread:
            coming: deque[Future[tuple[Tensor, Tensor]]] = deque()
            for positions in batches:
                coming.append(thread.submit(self._read, positions))
                if len(coming) > PREFETCHED_BATCHES:
                    yield self._to_device(coming.popleft().result())
            while coming:
                yield self._to_device(coming.popleft().result())

    def _pick(self, resident: Tensor, batches: Sequence[np.ndarray]) -> Generator[tuple[Tensor, Tensor], None, None]:
        """Batches of what lies on the device, which gets all their positions in one copy and is never waited for."""
        order = np.concatenate([*batches, np.empty(0, np.int64)])
        sizes = [len(positions) for positions in batches]
        for picked in torch.split(send(torch.from_numpy(order), self.device), sizes):
            yield resident[picked], self.resident_labels[picked]

    def _upload(self) -> Tensor:
        """All drawings of the split on the device."""
        shape, dtype = (len(self.split), *self.split.images.shape[1:]), self._read_images(np.arange(0)).dtype
        resident = torch.empty(shape, dtype=dtype, device=self.device)
        for positions in ordered_batches(len(self.split), UPLOADED_DRAWINGS):
            resident[positions[0] : positions[-1] + 1] = self._read_images(positions)
        return resident

    def _read(self, positions: np.ndarray) -> tuple[Tensor, Tensor]:
        rows = positions if self.split.indices is None else self.split.indices[positions]
        labels = self.labels[torch.as_tensor(rows)]
        images = self._read_images(positions)
        if self.device.type == "cuda":  # pinned memory is copied while the GPU computes
            return images.pin_memory(), labels.pin_memory()
        return images, labels

    def _read_images(self, positions: np.ndarray) -> Tensor:
        rows = positions if self.split.indices is None else self.split.indices[positions]
        if isinstance(self.split.images, Tensor):
            return self.split.images[torch.as_tensor(rows)]
        if self.memory_map is not None:
            ask_for_rows(self.memory_map, self.split.images, rows)
        return torch.from_numpy(np.ascontiguousarray(self.split.images[rows]))  # indexing by rows copies

    def _to_device(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        images, labels = batch
        waits = self.device.type != "cuda"  # only there they are pinned
        return images.to(self.device, non_blocking=not waits), labels.to(self.device, non_blocking=not waits)


def find_map(images: np.ndarray | Tensor) -> mmap.mmap | None:
    """The memory map that an array is the whole of, where the system takes advice about it."""
    base = getattr(images, "base", None)
    return base if isinstance(base, mmap.mmap) and hasattr(base, "madvise") else None


def ask_for_rows(memory_map: mmap.mmap, images: np.ndarray, rows: np.ndarray) -> None:
    """Let the system read rows that are not in memory all at once, where it would wait for the disk page by page.

    A set larger than memory needs it in every epoch, any other in its first: see
    benchmarks/results/size-cpu.md. A row that is in memory costs about a microsecond.
    """
    num_bytes = images[0].nbytes
    first_byte = images.ctypes.data - np.frombuffer(memory_map, np.uint8).ctypes.data
    for row in rows.tolist():
        start = first_byte + row * num_bytes
        page_start = start - start % mmap.PAGESIZE
        memory_map.madvise(mmap.MADV_WILLNEED, page_start, start + num_bytes - page_start)


def resident_limit_bytes(device: torch.device) -> int:
    """The most bytes of drawings that may lie on the device beside the network."""
    if device.type == "cuda":
        return int(free_cuda_bytes(device) * RESIDENT_FRACTION)
    return RESIDENT_BYTES


def epoch_batches(
    labels: Tensor, batch_size: int, generator: torch.Generator, balanced_sampling: bool
) -> list[np.ndarray]:
    """The positions of an epoch in random order, in batches; labels: int64 [N] of the split's drawings.

    Each position once; with balanced sampling as many positions, drawn with replacement, each class equally often in
    expectation.
    """
    if not balanced_sampling:
        return shuffled_batches(len(labels), batch_size, generator)
    weights = 1 / labels.bincount()[labels].double()
    return cut_batches(torch.multinomial(weights, len(labels), replacement=True, generator=generator), batch_size)


def shuffled_batches(num_images: int, batch_size: int, generator: torch.Generator) -> list[np.ndarray]:
    """Every position once, in random order, in batches."""
    return cut_batches(torch.randperm(num_images, generator=generator), batch_size)


def cut_batches(positions: Tensor, batch_size: int) -> list[np.ndarray]:
    """Batches of positions in their order.

    The last batch may be smaller. A last batch of one joins the batch before it: batch norm cannot
    normalise a single drawing (its variance is zero).
    """
    order = positions.numpy()
    batches = ordered_batches(len(order), batch_size)
    if len(batches) > 1 and len(batches[-1]) == 1:
        batches[-2:] = [np.concatenate(batches[-2:])]
    return [order[positions] for positions in batches]


def ordered_batches(num_images: int, batch_size: int) -> list[np.ndarray]:
    """Every position once, in order, in batches; the last may be smaller."""
    return [np.arange(start, min(start + batch_size, num_images)) for start in range(0, num_images, batch_size)]

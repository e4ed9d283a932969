"""Batches: from memory, from a memory map, by rows; and what happens when they do not fit."""

import mmap
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.support.small_training import (
    AUGMENTED,
    CONFIG,
    SmallDevice,
    assert_same_weights,
    build,
    drawings,
    splits_of,
    train,
    without_times,
)
from tune_sketch.trainables.batches import (
    BatchSource,
    SplitArrays,
    ask_for_rows,
    epoch_batches,
    find_map,
    shuffled_batches,
)
from tune_sketch.trainables.training import OutOfMemoryError, fit


def test_shuffled_batches_hold_every_drawing_once() -> None:
    for num_images, batch_size, sizes in ((10, 4, [4, 4, 2]), (9, 4, [4, 5]), (3, 8, [3]), (1, 8, [1])):
        batches = shuffled_batches(num_images, batch_size, torch.Generator().manual_seed(0))
        assert [len(batch) for batch in batches] == sizes
        assert sorted(np.concatenate(batches)) == list(range(num_images))


def test_balanced_sampling_draws_every_class_alike() -> None:
    labels = torch.tensor([0] * 900 + [1] * 90 + [3] * 10)  # class 2 is in no drawing
    batches = epoch_batches(labels, 64, torch.Generator().manual_seed(5), balanced_sampling=True)
    assert [len(batch) for batch in batches] == [64] * 15 + [40], "an epoch has its ordinary length"
    counts = np.bincount(labels[np.concatenate(batches)])
    assert counts[2] == 0
    assert np.abs(counts[[0, 1, 3]] - 1000 / 3).max() < 60  # four standard deviations
    again = epoch_batches(labels, 64, torch.Generator().manual_seed(5), balanced_sampling=True)
    assert all(np.array_equal(a, b) for a, b in zip(batches, again, strict=True))
    plain = np.concatenate(epoch_batches(labels, 64, torch.Generator().manual_seed(5), balanced_sampling=False))
    assert sorted(plain) == list(range(1000))


def test_balanced_sampling_takes_the_labels_of_the_split_and_not_of_the_whole_set() -> None:
    data = drawings(64, num_classes=2)
    rows = np.array([*range(0, 60, 2), 1, 3])  # thirty drawings of class 0 and two of class 1
    split = SplitArrays(data.images, data.labels, indices=rows)
    copy = SplitArrays(data.images[rows], data.labels[rows])
    config = AUGMENTED | {"balanced_sampling": True, "epochs": 2}
    states = [list(fit(build(num_classes=2), splits_of(part, 2), config, seed=3))[-1][1] for part in (split, copy)]
    assert_same_weights(states[0]["model"], states[1]["model"])
    source = BatchSource(split, torch.device("cpu"))
    batches = epoch_batches(source.split_labels, 8, torch.Generator().manual_seed(0), balanced_sampling=True)
    seen = torch.cat([labels for _, labels in source.iterate(batches)])
    assert len(seen) == 32
    assert 8 <= seen.sum() <= 24, "half of an epoch is of class 1, not a sixteenth"


def test_balanced_sampling_resumes_bit_for_bit() -> None:
    data = drawings(40)
    splits = splits_of(data.take(np.flatnonzero((data.labels < 3) | (np.arange(40) < 4))))
    config = AUGMENTED | {"balanced_sampling": True, "epochs": 3}
    straight = list(fit(build(), splits, config, seed=7))
    (resumed,) = fit(build(), splits, config, seed=7, state=straight[1][1])
    assert without_times(resumed[0]) == without_times(straight[2][0])
    assert_same_weights(resumed[1]["model"], straight[2][1]["model"])
    plain = list(fit(build(), splits, config | {"balanced_sampling": False}, seed=7))
    assert plain[2][0]["train_loss"] != straight[2][0]["train_loss"]


def test_rows_are_asked_for_by_whole_pages_that_hold_them(tmp_path: Path) -> None:
    images = np.arange(50 * 40 * 40, dtype=np.uint16).reshape(50, 40, 40)  # 3,200 bytes each
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    memory_map = find_map(mapped)
    assert memory_map is not None
    asked: list[tuple[int, int]] = []

    class Recorder(bytearray):
        def madvise(self, advice: int, start: int, length: int) -> None:
            assert advice == mmap.MADV_WILLNEED
            asked.append((start, length))

    whole = Recorder(memory_map[:])
    copy = np.frombuffer(whole, np.uint16, offset=mapped.offset).reshape(images.shape)
    ask_for_rows(whole, copy, np.array([49, 0, 7]))  # type: ignore[arg-type]
    for row, (start, length) in zip((49, 0, 7), asked, strict=True):
        assert start % mmap.PAGESIZE == 0
        assert start + length <= len(memory_map)
        found = np.frombuffer(memory_map[start : start + length], np.uint8).tobytes()
        assert images[row].tobytes() in found
        memory_map.madvise(mmap.MADV_WILLNEED, start, length)  # the system takes it


def test_only_a_whole_map_can_be_asked_for_rows(tmp_path: Path) -> None:
    data = drawings(4)
    np.save(tmp_path / "images.npy", data.images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    assert find_map(mapped) is not None
    assert find_map(mapped[1:]) is None  # begins elsewhere
    assert find_map(data.images) is None
    assert find_map(torch.as_tensor(data.images)) is None


def test_a_memory_map_gives_the_same_as_memory(tmp_path: Path) -> None:
    data = drawings(40)
    np.save(tmp_path / "images.npy", data.images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    rows = np.arange(1, 40, 2)
    states = []
    for split in (
        SplitArrays(data.images[rows], data.labels[rows]),
        SplitArrays(mapped, data.labels, indices=rows),
        SplitArrays(torch.from_numpy(data.images), torch.from_numpy(data.labels), indices=rows),
    ):
        assert len(split) == 20
        states.append(list(fit(build(), splits_of(split), AUGMENTED, seed=3))[-1])
    for metrics, state in states[1:]:
        assert without_times(metrics) == without_times(states[0][0])
        assert_same_weights(state["model"], states[0][1]["model"])


def test_prefetch_ends_with_the_reader_and_passes_errors_on(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", drawings().images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    source = BatchSource(SplitArrays(mapped, np.arange(32)), torch.device("cpu"))
    assert source.prefetches
    num_threads = threading.active_count()
    batches = source.iterate([np.arange(4)] * 10)
    images, labels = next(batches)
    assert images.shape == (4, 32, 32)
    assert labels.tolist() == [0, 1, 2, 3]
    assert threading.active_count() == num_threads + 1
    batches.close()
    assert threading.active_count() == num_threads
    with pytest.raises(IndexError):
        list(source.iterate([np.array([99])]))


def test_a_batch_that_does_not_fit_is_halved_with_the_same_gradient() -> None:
    splits = splits_of(drawings(22))
    config = AUGMENTED | {"batch_size": 16, "optimizer": "sgd", "momentum": 0.9, "label_smoothing": 0.1}
    expected_metrics = train(expected := build(), splits, config)
    small = SmallDevice(build(), 5)
    epochs = list(fit(small, splits, config, seed=5))
    assert [metrics["micro_batch"] for metrics, _ in epochs] == [4, 4]
    assert epochs[-1][1]["micro_batch"] == 4  # a resumed trial does not try the large batch again
    assert max(small.sizes) <= 5
    for (metrics, _), whole in zip(epochs, expected_metrics, strict=True):
        for name in ("train_loss", "train_top1", "val_loss", "val_top1"):
            assert metrics[name] == pytest.approx(whole[name], rel=1e-4)
    for name, parameter in small.network.named_parameters():
        assert torch.allclose(parameter, expected.get_parameter(name), atol=1e-5), name


def test_out_of_memory_with_one_drawing_is_an_ending() -> None:
    with pytest.raises(OutOfMemoryError, match="a micro batch of 1 drawings does not fit"):
        train(SmallDevice(build(), 0), splits_of(drawings()), CONFIG)


def test_batch_norm_never_sees_a_single_drawing() -> None:
    small = SmallDevice(build("densenet121"), 3)
    config = CONFIG | {"epochs": 1, "batch_size": 8}
    metrics = train(small, splits_of(drawings(11)), config)[-1]  # batches of 8 and 3, parts of 2 and at most 3
    assert metrics["micro_batch"] == 2
    with pytest.raises(OutOfMemoryError, match="micro batch of 2"):
        train(SmallDevice(build("densenet121"), 1), splits_of(drawings(8)), config)


def test_another_error_is_not_taken_for_out_of_memory() -> None:
    class Broken(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1))

        def forward(self, images: Tensor) -> Tensor:
            raise RuntimeError("a mistake in the code")

    with pytest.raises(RuntimeError, match="a mistake in the code"):
        train(Broken(), splits_of(drawings()), CONFIG)

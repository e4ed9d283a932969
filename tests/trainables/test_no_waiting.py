"""A GPU is not waited for within an epoch: shown without one, on torch's device that has shapes and no values."""

import contextlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tests.support.small_training import AUGMENTED, build, drawings, splits_of
from tune_sketch.trainables import batch_norm
from tune_sketch.trainables.batches import BatchSource
from tune_sketch.trainables.evaluation import compute_logits
from tune_sketch.trainables.speed import devices
from tune_sketch.trainables.training import fit

META = torch.device("meta")


class PlainCopies(TorchDispatchMode):
    """Notes copies of the CPU's tensors to the device for which a GPU would be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.num_batches = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        copies = func.overloadpacket in (torch.ops.aten._to_copy, torch.ops.aten.to, torch.ops.aten.copy_)
        if copies and result.device == META:
            source = args[1] if func.overloadpacket is torch.ops.aten.copy_ else args[0]
            names = [argument.name for argument in func._schema.arguments]
            asked = dict(zip(names, args, strict=False)) | kwargs
            if source.device.type == "cpu" and not asked.get("non_blocking", False):
                self.found.append(f"{tuple(source.shape)}")
        return result


@pytest.fixture
def no_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    """The device has no autocast, which waits for nothing."""
    for module in ("training", "evaluation"):
        monkeypatch.setattr(f"tune_sketch.trainables.{module}.autocast", lambda model, device: contextlib.nullcontext())


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch, no_autocast: None) -> PlainCopies:
    """The plain copies while batches are handed out and used, and how many there were."""
    mode = PlainCopies()
    iterate = BatchSource.iterate

    def watch(self: BatchSource, batches: Any) -> Iterator[Any]:
        with mode:
            for batch in iterate(self, batches):
                mode.num_batches += 1
                yield batch

    monkeypatch.setattr(BatchSource, "iterate", watch)
    monkeypatch.setattr(torch.Tensor, "new_tensor", lambda self, values: mode.found.append(f"new_tensor {values}"))
    return mode


@pytest.mark.parametrize("averaging", [False, True])
@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop", "adam", "adamw"])
def test_steps_read_nothing_from_the_device_and_send_without_waiting(
    optimizer: str, averaging: bool, watched: PlainCopies
) -> None:
    config = AUGMENTED | {"optimizer": optimizer, "averaging": averaging, "momentum": 0.9, "dropout": 0.3}
    epochs = fit(build("baseline", config), splits_of(drawings()), config, seed=5, device=META)
    with pytest.raises((RuntimeError, NotImplementedError), match="meta"):  # the epoch's sums are read, at its end
        next(epochs)
    assert (watched.num_batches, watched.found) == (4, [])


class Launches(TorchDispatchMode):
    """Counts what a GPU would be given to compute, by operation: a small network waits for its processor to do that."""

    def __init__(self) -> None:
        super().__init__()
        self.counted: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        result = func(*args, **(kwargs or {}))
        makes_view = func.is_view or func.overloadpacket in (torch.ops.aten.empty, torch.ops.aten._unsafe_view)
        outputs = result if isinstance(result, tuple | list) else (result,)
        on_device = any(isinstance(output, torch.Tensor) and output.device == META for output in outputs)
        self.counted[func.overloadpacket.__name__] += on_device and not makes_view
        return result


def test_a_step_has_few_launches_beside_those_of_the_network(
    monkeypatch: pytest.MonkeyPatch, no_autocast: None
) -> None:
    """On an H200 an epoch of the baseline had 0.59 of its ceiling's speed, with the card idle for four fifths of it."""
    config = AUGMENTED | {"averaging": True, "dropout": 0.0, "batch_size": 8, "epochs": 1}
    config |= {"optimizer": "sgd", "momentum": 0.9}
    monkeypatch.setattr(torch.optim.SGD, "step", lambda self: None)  # one launch where it is fused, as on a GPU
    counts: list[int] = []
    iterate = BatchSource.iterate

    def watch(self: BatchSource, batches: Any) -> Iterator[Any]:
        for batch in iterate(self, batches):
            with Launches() as mode:
                yield batch
            counts.append(mode.counted.total())

    monkeypatch.setattr(BatchSource, "iterate", watch)
    model = build("baseline", config).to(META)
    with Launches() as alone:
        logits = model(torch.empty(8, 3, 32, 32, device=META))
        torch.nn.functional.cross_entropy(logits, torch.zeros(8, dtype=torch.int64, device=META)).backward()
    with pytest.raises((RuntimeError, NotImplementedError), match="meta"):
        next(fit(build("baseline", config), splits_of(drawings()), config, seed=5, device=META))
    assert len(counts) == 4
    assert counts[1] - alone.counted.total() <= 27


def test_validation_of_loaded_weights_sends_without_waiting(watched: PlainCopies) -> None:
    source = BatchSource(drawings(), META)
    compute_logits(build("squeezenet1_1").to(META), source, pretrained=True, batch_size=8)
    assert (watched.num_batches, watched.found) == (4, [])


def test_statistics_of_batch_norm_are_recomputed_without_waiting(
    watched: PlainCopies, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_norm, "autocast", lambda model, device: contextlib.nullcontext())
    model = build("resnet50").to(META)
    model.train()
    source, generator = BatchSource(drawings(), META), torch.Generator().manual_seed(0)
    # Reading a number, which a GPU would be waited for, is an error on this device.
    batch_norm.recompute_batch_norm(model, source, AUGMENTED, generator, True, False, 8)
    assert (watched.num_batches, watched.found) == (4, [])
    assert {layer.momentum for layer in batch_norm.trained_batch_norm(model)} == {0.1}


def test_a_plain_copy_would_be_seen() -> None:
    with PlainCopies() as mode:
        torch.zeros(3).to(META)
        torch.zeros(2).to(META, non_blocking=True)
        torch.empty(4, device=META)[:] = torch.zeros(4)
    assert mode.found == ["(3,)", "(4,)"]
    with PlainCopies() as mode:
        devices.send(torch.zeros(3), META)
    assert mode.found == []


@pytest.mark.parametrize(
    "text",
    [
        "CUDA error: out of memory",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "MPS backend out of memory",
    ],
)
def test_libraries_beside_torch_run_out_of_memory_too(text: str) -> None:
    assert devices.is_out_of_memory(RuntimeError(text))
    assert not devices.is_out_of_memory(RuntimeError("CUDA error: an illegal memory access was encountered"))
    assert not devices.is_out_of_memory(ValueError(text))


@pytest.mark.parametrize("asked", ["", "1"])
def test_kernels_are_timed_or_of_fixed_order(asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(devices.DETERMINISTIC, asked)
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    devices.choose_kernels(torch.device("cpu"))
    assert not torch.backends.cudnn.benchmark
    try:
        devices.choose_kernels(torch.device("cuda"))
        assert torch.are_deterministic_algorithms_enabled() == (asked == "1")
        assert torch.backends.cudnn.benchmark == (asked != "1")
    finally:
        torch.use_deterministic_algorithms(False)

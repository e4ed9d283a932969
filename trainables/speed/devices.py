"""Chooses the device of a network, its memory layout and its number format, and recognises "out of memory".

Gain on a CPU: freed memory that is kept makes training steps of the baseline 1.40 times faster at 64 px and those of
resnet50 1.10 times at 32 px; bfloat16 where `cpu_multiplies_bfloat16`, our own networks 1.58 to 1.96 times
(benchmarks/results/cpu_steps-cpu.md). Channels last: see `memory_format`. None of these choices was measured
against its alternative on a GPU.
"""

import ctypes
import os
import sys
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tune_sketch.trainables.networks.architecture import architecture_of
from tune_sketch.trainables.speed.mixed_precision import adapt_to_bfloat16
from tune_sketch.trainables.speed.small_convolutions import use_products_for_small_maps

DETERMINISTIC = "TUNE_SKETCH_DETERMINISTIC"  # environment variable: 1 asks a GPU for the same sums in every run
# What CUDA's libraries say where torch's own allocator was not asked.
OUT_OF_MEMORY_TEXTS = (
    "can't allocate memory",
    "MPS backend out of memory",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)
CUDA_CONTEXT_BYTES = 600 * 2**20  # about what a process takes on a GPU beside what torch's allocator holds


def default_device() -> str:
    """The first of "cuda", "mps" and "cpu" that this process can use."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def device_of(gpus: float) -> str:
    """The device of a training to which Ray gave that many GPUs, of which it may use its fraction."""
    device = default_device()
    if device != "cuda":
        return device
    if not gpus:
        return "cpu"
    limit_cuda_memory(gpus)
    return device


def limit_cuda_memory(gpus: float) -> None:
    """Hold this process to its fraction of the GPU's memory, which Ray shares out but does not guard.

    Beyond it torch says "out of memory" to this process, which then halves its batches, and not to its neighbours.
    """
    if gpus >= 1:
        return
    _, of_device = torch.cuda.mem_get_info()
    torch.cuda.set_per_process_memory_fraction(max(gpus / 2, gpus - CUDA_CONTEXT_BYTES / of_device))


def free_cuda_bytes(device: torch.device) -> int:
    """Bytes that this process can still have: of the GPU's free memory and its own fraction, the smaller."""
    free_bytes, of_device = torch.cuda.mem_get_info(device)
    allowed = torch.cuda.get_per_process_memory_fraction() * of_device - torch.cuda.memory_reserved()
    return max(0, min(free_bytes, int(allowed)))


def autocast(model: nn.Module, device: torch.device) -> torch.autocast:
    """Context in which the network's forward pass runs: bfloat16 where it is faster, else float32."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=uses_bfloat16(model, device))


def uses_bfloat16(model: nn.Module, device: torch.device) -> bool:
    """On a GPU that computes bfloat16 itself: yes. On a CPU that gains by it: of the networks that are known here."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        return architecture_of(model) is not None and cpu_multiplies_bfloat16()
    return False


@cache
def cpu_multiplies_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 faster than float32: with AMX, or AMD's with AVX512-BF16 (Zen 4).

    What it gains and costs: benchmarks/results/cpu_formats-cpu.md. An Intel Xeon with AVX512-BF16 and no AMX multiplies
    it half as fast as float32; without either it is far slower still.
    """
    has_amx = getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)()  # torch has no public names for these
    has_avx512 = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()
    return bool(has_amx or (has_avx512 and is_made_by_amd()))


def is_made_by_amd() -> bool:
    """Whether this processor says so, on Linux."""
    try:
        return "AuthenticAMD" in Path("/proc/cpuinfo").read_text()
    except OSError:
        return False


def move_to_device(model: nn.Module, device: torch.device) -> None:
    """Move a network, itself and not a copy, to a device in the form that is fast there."""
    choose_kernels(device)
    model.to(device).to(memory_format=memory_format(device))
    if device.type == "cpu":
        use_products_for_small_maps(model)
        if uses_bfloat16(model, device):
            adapt_to_bfloat16(model)


def choose_kernels(device: torch.device) -> None:
    """Let cuDNN time its convolutions at each new shape; or take those whose sums have a fixed order.

    The shapes of a training are few: a batch, the last batch, and the same of validation.
    """
    if device.type != "cuda":
        return
    if os.environ.get(DETERMINISTIC) == "1":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when the first product is computed
        torch.use_deterministic_algorithms(True, warn_only=True)  # the gradient of max pooling has no such kernel
    torch.backends.cudnn.benchmark = not torch.are_deterministic_algorithms_enabled()


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor of the CPU to a device without waiting for what the device still has to compute.

    A plain copy to a GPU waits for all its work so far. Pinned memory is kept by torch until it was copied.
    """
    if device.type in ("cpu", "mps"):
        return tensor.to(device)
    if device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def keep_freed_memory() -> None:
    """Let the C library keep what a training frees for the next step, for the rest of this process.

    By default glibc gives large blocks back to the system, which must clear every page again when the next step asks
    for them: see benchmarks/results/cpu_steps-cpu.md for what that costs.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is not None:
        trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
        mallopt(mmap_threshold, 2**30)
        mallopt(trim_threshold, 2**31 - 1)


def memory_format(device: torch.device) -> torch.memory_format:
    """Channels last where convolutions are faster so: on GPUs with tensor cores, and on CPUs.

    Training steps at 64 px on one core of an AMD EPYC with AVX2, images per CPU second, contiguous against
    channels last (torch 2.15, best of 12 or 4 interleaved steps): baseline 352 and 421, sketch_a_net 98 and
    104, squeezenet1_1 231 and 340, resnet50 21 and 22, densenet121 28 and 32.
    """
    return torch.channels_last if device.type in ("cpu", "cuda") else torch.contiguous_format


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the device, or on a CPU the allocator, said that memory is exhausted."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in OUT_OF_MEMORY_TEXTS)


def free_cached_memory(device: torch.device) -> None:
    """Give memory that torch keeps for reuse back to the device, before trying again with less."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


def copy_to_cpu(value: Any) -> Any:
    """The same nested dicts and lists with every tensor copied to the CPU: later epochs do not change it."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: copy_to_cpu(item) for key, item in value.items()}
    if isinstance(value, list):
        return [copy_to_cpu(item) for item in value]
    return value

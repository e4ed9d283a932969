"""Computes convolutions whose map has few cells as matrix products, for CPUs.

Gain: training steps of resnet50 are 1.48 times faster at 32 px and 1.12 times at 64 px on an AMD EPYC, in bfloat16
(benchmarks/results/cpu_steps-cpu.md).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SMALL_MAP_CELLS = 4  # 2 x 2


class SmallMapConv2d(nn.Conv2d):
    """The same layer with the same weights, computed as a product where its map has at most SMALL_MAP_CELLS cells.

    The last stages of a deep network see maps of 1x1 or 2x2 cells when drawings are small. oneDNN is slow there, most
    of all at the gradients of the weights. SMALL_MAP_CELLS was tuned on one processor only (a Xeon with AVX512).
    """

    def forward(self, images: Tensor) -> Tensor:
        """Float [B, C, H, W] to [B, C', H', W']."""
        padding = tuple(map(int, self.padding))
        height, width = map(output_size, images.shape[2:], self.kernel_size, self.stride, padding)
        if images.device.type != "cpu" or height * width > SMALL_MAP_CELLS:
            return super().forward(images)
        return convolve_as_product(images, self.weight, self.bias, self.stride, padding)


def use_products_for_small_maps(model: nn.Module) -> None:
    """Make every plain convolution of a network a SmallMapConv2d, in place; names and weights stay."""
    for module in model.modules():
        plain = type(module) is nn.Conv2d and module.groups == 1 and module.dilation == (1, 1)
        if plain and module.padding_mode == "zeros" and not isinstance(module.padding, str):
            module.__class__ = SmallMapConv2d


def convolve_as_product(
    images: Tensor, weight: Tensor, bias: Tensor | None, stride: tuple[int, ...], padding: tuple[int, ...]
) -> Tensor:
    """`F.conv2d(images, weight, bias, stride, padding)`; the result is in channels-last order.

    Taps of the kernel that see nothing but padding are left out: of a 3x3 kernel over a single cell one remains.
    """
    seen_by_tap = []  # for height and width, by tap: which rows or columns of the padded picture it sees
    taps, pads = [], []
    for axis in (0, 1):
        side, size = images.shape[2 + axis], weight.shape[2 + axis]
        reach = (output_size(side, size, stride[axis], padding[axis]) - 1) * stride[axis]
        used = [tap for tap in range(size) if tap - padding[axis] < side and tap - padding[axis] + reach >= 0]
        before = padding[axis] - used[0]
        taps.append(slice(used[0], used[-1] + 1))
        pads.append((before, max(0, reach + len(used) - before - side)))
        seen_by_tap.append([slice(first, first + reach + 1, stride[axis]) for first in range(len(used))])
    pixels = images.permute(0, 2, 3, 1)  # [B, H, W, C], a view of what is in channels-last order
    if any(map(any, pads)):
        pixels = F.pad(pixels, (0, 0, *pads[1], *pads[0]))
    seen = [pixels[:, rows, columns] for rows in seen_by_tap[0] for columns in seen_by_tap[1]]  # of [B, H', W', C]
    # A view with gaps, as of a stride of two, would be multiplied a hundred times slower in bfloat16 without gradients.
    inputs = seen[0].contiguous() if len(seen) == 1 else torch.cat(seen, dim=-1)
    kernels = weight[:, :, taps[0], taps[1]].permute(0, 2, 3, 1).flatten(1)  # [C', taps * C], no copy of a whole kernel
    return F.linear(inputs, kernels, bias).permute(0, 3, 1, 2)


def output_size(side: int, size: int, stride: int, padding: int) -> int:
    """The number of cells that a kernel of `size` gives along a side."""
    return (side + 2 * padding - size) // stride + 1

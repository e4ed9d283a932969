"""Has what bfloat16 makes slower on a CPU computed in another way: depthwise convolutions and short attention.

Gain beside bfloat16 throughout, in training steps on one core of an AMD EPYC: efficientnet_lite0 2.11 times at 128 px,
mobilevit_xxs 2.03 times (benchmarks/results/cpu_steps-cpu.md).
"""

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

MOST_TOKENS = 257  # 16 x 16 and one more: all pairs of them take as much memory as the rest of a transformer's layer


class InFloat32:
    """Mixed into a convolution: computes in float32 on a CPU, whatever autocast says."""

    def forward(self, images: Tensor) -> Tensor:
        """Float [B, C, H, W] to [B, C', H', W']."""
        if images.device.type != "cpu":
            return super().forward(images)  # type: ignore[misc, no-any-return]
        with torch.autocast("cpu", enabled=False):
            return super().forward(images.float())  # type: ignore[misc, no-any-return]


def adapt_to_bfloat16(model: nn.Module) -> None:
    """Change a network's layers in place, so that autocast to bfloat16 makes none slower; names and weights stay."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1:
            kind: Any = type(module)
            module.__class__ = in_float32(kind)
        fused = getattr(module, "fused_attn", False)  # timm's name; where timm itself does not fuse, it stays so
        if fused and choose_attention not in module._forward_pre_hooks.values():
            module.register_forward_pre_hook(choose_attention)


@cache
def in_float32(convolution: Any) -> Any:
    """The same class of convolution, computing in float32."""
    if issubclass(convolution, InFloat32):
        return convolution
    return type(f"Float32{convolution.__name__}", (InFloat32, convolution), {})


def choose_attention(module: Any, inputs: tuple[Any, ...]) -> None:
    """Pairs of few tokens are multiplied as they are: the gradient of torch's fused attention is slow in bfloat16."""
    tokens = inputs[0]
    module.fused_attn = tokens.ndim != 3 or tokens.shape[1] > MOST_TOKENS

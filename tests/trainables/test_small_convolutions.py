"""Convolutions as matrix products: torch's results and gradients, for every kernel that a network may have."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tune_sketch.trainables.networks.build import build_model
from tune_sketch.trainables.networks.registry import ARCHITECTURES
from tune_sketch.trainables.speed.devices import move_to_device
from tune_sketch.trainables.speed.small_convolutions import SmallMapConv2d, convolve_as_product


@pytest.mark.parametrize("side", [(1, 1), (2, 2), (1, 3), (3, 2), (4, 4)])
@pytest.mark.parametrize(("kernel", "stride", "padding"), [(1, 1, 0), (1, 2, 0), (3, 1, 1), (3, 2, 1), (7, 2, 3)])
def test_product_equals_convolution(side: tuple[int, int], kernel: int, stride: int, padding: int) -> None:
    torch.manual_seed(0)
    tensors = [
        torch.randn(3, 4, *side).contiguous(memory_format=torch.channels_last),
        torch.randn(5, 4, kernel, kernel).contiguous(memory_format=torch.channels_last),
        torch.randn(5),
    ]
    results = []
    for convolve in (F.conv2d, convolve_as_product):
        images, weight, bias = (tensor.clone().requires_grad_() for tensor in tensors)
        maps = convolve(images, weight, bias, (stride, stride), (padding, padding))
        (maps * torch.arange(maps.numel()).view(maps.shape)).sum().backward()
        results.append((maps.detach(), images.grad, weight.grad, bias.grad))
    for expected, got in zip(*results, strict=True):
        assert got.shape == expected.shape
        assert torch.allclose(got, expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("stride", [1, 2])
def test_what_is_multiplied_has_no_gaps(stride: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without gradients oneDNN multiplied such a view in bfloat16 a hundred times slower: resnet50's validation."""
    multiplied, real = [], F.linear
    monkeypatch.setattr(F, "linear", lambda images, *more: multiplied.append(images) or real(images, *more))
    images = torch.rand(2, 8, 4, 4).contiguous(memory_format=torch.channels_last)
    convolve_as_product(images, torch.rand(5, 8, 1, 1), None, (stride, stride), (0, 0))
    assert [inputs.is_contiguous() for inputs in multiplied] == [True]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_placed_network_computes_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = build_model(name, 4).double().eval()
    images = torch.rand(2, 3, 48, 48, dtype=torch.float64)
    expected, names = model(images), list(model.state_dict())
    move_to_device(model, torch.device("cpu"))
    sizes = []
    monkeypatch.setattr(
        "tune_sketch.trainables.speed.small_convolutions.convolve_as_product",
        lambda *arguments: sizes.append(arguments[0].shape) or convolve_as_product(*arguments),
    )
    assert torch.allclose(model(images), expected)
    assert list(model.state_dict()) == names
    assert any(isinstance(module, SmallMapConv2d) for module in model.modules())
    assert bool(sizes) == (name in ("resnet50", "densenet121", "sketch_a_net", "squeezenet1_1")), sizes
    assert all(isinstance(module, SmallMapConv2d) or type(module) is not nn.Conv2d for module in model.modules())

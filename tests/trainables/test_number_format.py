"""The number format on a CPU: bfloat16 in training where it gains, float32 in every prediction."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.support.small_training import AUGMENTED, build, drawings, splits_of, train
from tests.support.timm_networks import SMALL
from tune_sketch.trainables.evaluation import predict_logits
from tune_sketch.trainables.networks.build import build_model
from tune_sketch.trainables.networks.registry import ARCHITECTURES
from tune_sketch.trainables.speed.devices import autocast, move_to_device, uses_bfloat16

CPU = torch.device("cpu")


def pretend(monkeypatch: pytest.MonkeyPatch, multiplies: bool) -> None:
    monkeypatch.setattr("tune_sketch.trainables.speed.devices.cpu_multiplies_bfloat16", lambda: multiplies)


@pytest.mark.parametrize("name", [*ARCHITECTURES, "timm:vit_tiny_patch16_224", "timm:levit_128s", "timm:regnetx_002"])
def test_a_processor_that_gains_trains_in_bfloat16_and_no_other(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = build_model(name, 4, image_px=SMALL)
    for multiplies in (True, False):
        pretend(monkeypatch, multiplies)
        assert uses_bfloat16(model, CPU) == multiplies


@pytest.mark.parametrize("amx", [False, True])
@pytest.mark.parametrize("avx512", [False, True])
@pytest.mark.parametrize("vendor", ["AuthenticAMD", "GenuineIntel"])
def test_avx512_alone_pays_on_processors_of_amd(
    amx: bool, avx512: bool, vendor: str, monkeypatch: pytest.MonkeyPatch, same_on_every_processor: Any
) -> None:
    """An Intel Xeon without AMX multiplied bfloat16 half as fast as float32."""
    monkeypatch.setattr("torch.cpu._is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr("torch.cpu._is_avx512_bf16_supported", lambda: avx512)
    monkeypatch.setattr("pathlib.Path.read_text", lambda path: f"vendor_id : {vendor}")
    assert same_on_every_processor.__wrapped__() == (amx or (avx512 and vendor == "AuthenticAMD"))


@pytest.mark.parametrize("name", ["timm:mobilenetv3_small_050", "timm:tf_efficientnet_lite0", "timm:convnext_atto"])
def test_depthwise_convolutions_stay_in_float32(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """bfloat16 makes them slower: benchmarks/results/cpu_steps-cpu.md. Of timm's own kinds of convolution, too."""
    pretend(monkeypatch, multiplies=True)
    model = build_model(name, 4, image_px=SMALL)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    move_to_device(model, CPU)
    move_to_device(model, CPU)  # twice changes nothing more
    found: dict[bool, set[torch.dtype]] = {True: set(), False: set()}
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            depthwise = layer.groups == layer.in_channels
            layer.register_forward_hook(lambda _, __, output, key=depthwise: found[key].add(output.dtype))
    with autocast(model, CPU):
        model(torch.rand(2, 3, SMALL, SMALL)).sum().backward()
    assert found == {True: {torch.float32}, False: {torch.bfloat16}}
    assert state.keys() == model.state_dict().keys()
    assert type(copy.deepcopy(model)) is type(model)


def test_attention_of_few_tokens_is_multiplied_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gradient of torch's fused attention is slow in bfloat16; of many tokens all pairs would fill the memory."""
    pretend(monkeypatch, multiplies=True)
    fused = []
    real = nn.functional.scaled_dot_product_attention
    monkeypatch.setattr(
        nn.functional,
        "scaled_dot_product_attention",
        lambda *tensors, **options: fused.append(tensors[0].shape[2]) or real(*tensors, **options),
    )
    for image_px, tokens in ((224, set()), (288, {18 * 18 + 1})):  # patches a side, and the token of the class
        model = build_model("timm:vit_tiny_patch16_224", 4, image_px=image_px)
        move_to_device(model, CPU)
        move_to_device(model, CPU)  # as before every prediction: nothing is added
        assert {len(module._forward_pre_hooks) for module in model.modules() if hasattr(module, "fused_attn")} == {1}
        fused.clear()
        with torch.inference_mode(), autocast(model, CPU):
            model(torch.rand(1, 3, image_px, image_px))
        assert set(fused) == tokens


def test_attention_that_timm_does_not_fuse_stays_so(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, multiplies=True)
    model = build_model("timm:vit_tiny_patch16_224", 4, image_px=288)  # more tokens than are multiplied as they are
    layers = [module for module in model.modules() if hasattr(module, "fused_attn")]
    for layer in layers:
        layer.fused_attn = False
    move_to_device(model, CPU)
    with torch.inference_mode():
        model(torch.rand(1, 3, 288, 288))
    assert [layer.fused_attn for layer in layers] == [False] * 12


def test_training_and_its_validation_are_in_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    splits, losses = splits_of(drawings(16)), []
    for multiplies in (True, False):
        pretend(monkeypatch, multiplies)
        (metrics,) = train(build(), splits, AUGMENTED | {"epochs": 1})
        losses.append((metrics["train_loss"], metrics["val_loss"]))
    assert losses[0][0] != losses[1][0]
    assert losses[0][1] != losses[1][1]
    assert losses[0] == pytest.approx(losses[1], rel=0.02)


@pytest.mark.parametrize("name", ["baseline", "squeezenet1_1"])
def test_predictions_are_the_same_on_every_processor(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are those of the exported network, which computes in float32."""
    images, model = np.asarray(drawings(8).images), build(name)
    found = []
    for multiplies in (True, False):
        pretend(monkeypatch, multiplies)
        found.append(predict_logits(model, images, device="cpu", pretrained=False))
    assert torch.equal(*found)


def test_a_network_that_is_none_of_ours_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, multiplies=True)
    assert not uses_bfloat16(nn.Linear(2, 2), CPU)

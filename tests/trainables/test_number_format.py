"""The number format on a CPU: bfloat16 in training where it gains, float32 in every prediction."""

import numpy as np
import pytest
import torch
from torch import nn

from tests.support.small_training import AUGMENTED, build, drawings, splits_of, train
from tests.support.timm_networks import SMALL
from tune_sketch.trainables.evaluation import predict_logits
from tune_sketch.trainables.networks.build import build_model
from tune_sketch.trainables.networks.registry import ARCHITECTURES
from tune_sketch.trainables.speed.devices import uses_bfloat16

CPU = torch.device("cpu")


def pretend(monkeypatch: pytest.MonkeyPatch, has_amx: bool) -> None:
    monkeypatch.setattr("tune_sketch.trainables.speed.devices.cpu_multiplies_bfloat16", lambda: has_amx)


@pytest.mark.parametrize("name", [*ARCHITECTURES, "timm:vit_tiny_patch16_224", "timm:levit_128s"])
def test_a_processor_with_amx_trains_in_bfloat16_and_no_other(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = build_model(name, 4, image_px=SMALL)
    for has_amx in (True, False):
        pretend(monkeypatch, has_amx)
        assert uses_bfloat16(model, CPU) == has_amx


@pytest.mark.parametrize("name", ["timm:mobilenetv3_small_050", "timm:convnext_atto", "timm:regnetx_002"])
def test_grouped_convolutions_stay_in_float32(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """bfloat16 makes them slower: benchmarks/results/cpu_steps-cpu.md."""
    pretend(monkeypatch, has_amx=True)
    assert not uses_bfloat16(build_model(name, 4, image_px=SMALL), CPU)


def test_training_and_its_validation_are_in_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    splits, losses = splits_of(drawings(16)), []
    for has_amx in (True, False):
        pretend(monkeypatch, has_amx)
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
    for has_amx in (True, False):
        pretend(monkeypatch, has_amx)
        found.append(predict_logits(model, images, device="cpu", pretrained=False))
    assert torch.equal(*found)


def test_a_network_that_is_none_of_ours_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, has_amx=True)
    assert not uses_bfloat16(nn.Linear(2, 2), CPU)

"""Networks of timm: names, sizes, training, stored activations, activation maps, ONNX; the others do not import it."""

import itertools
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from torch import nn

from tests.support.small_training import CONFIG, assert_same_weights, drawings, splits_of
from tests.support.timm_networks import SMALL, TIMM, UNTRACED
from tune_sketch.inference.grad_cam import first_layer_channels, map_activations
from tune_sketch.inference.model import Classifier
from tune_sketch.search import main
from tune_sketch.search_spaces import SpaceLimits, configuration_of, recipe_configuration
from tune_sketch.trainables.batches import TrainingSplits
from tune_sketch.trainables.evaluation import normalise
from tune_sketch.trainables.networks.architecture import IMAGENET
from tune_sketch.trainables.networks.build import build_model
from tune_sketch.trainables.networks.registry import known_architecture
from tune_sketch.trainables.optimizer import group_by_depth
from tune_sketch.trainables.speed.feature_cache import CachePolicy
from tune_sketch.trainables.training import fit


def build(name: str, **options: Any) -> nn.Module:
    torch.manual_seed(0)
    return build_model(name, 4, image_px=SMALL, **options)


@pytest.fixture(scope="module")
def splits() -> TrainingSplits:
    return splits_of(drawings(16, SMALL))


@pytest.mark.parametrize("name", TIMM)
def test_it_learns_with_the_recipe_and_frozen_layers_do_not(name: str, splits: TrainingSplits) -> None:
    limits = SpaceLimits(max_epochs=1, pretrained=True)
    config = configuration_of(name, recipe_configuration(name, limits), limits)
    config |= {"freeze": "half", "batch_size": 8}
    model = build(name, **{part: config[part] for part in ("dropout", "freeze", "head")})
    before = {parameter: tensor.clone() for parameter, tensor in model.state_dict().items()}
    metrics, state = next(fit(model, splits, config, seed=1, pretrained=True))
    assert np.isfinite(metrics["val_loss"])
    frozen = set(known_architecture(name, SMALL).freeze_points["half"])
    moved = {n for n, _ in model.named_parameters() if not torch.equal(state["model"][n], before[n])}
    assert not moved & frozen
    assert {n for n, p in model.named_parameters() if p.requires_grad and p.grad is None} <= {
        n for n in before if n not in frozen
    }
    assert len(moved) > 0.8 * (len(dict(model.named_parameters())) - len(frozen))
    again = build(name, head=config["head"], dropout=config["dropout"])
    again.load_state_dict(state["model"])
    assert_same_weights(again.state_dict(), state["model"])


@pytest.mark.parametrize("name", TIMM)
def test_rates_by_depth_cover_every_parameter_once(name: str) -> None:
    with torch.device("meta"):
        model = build_model(name, 4, head="normalised", image_px=SMALL)
    groups = group_by_depth(model, 0.01)
    grouped = [id(parameter) for group in groups.values() for parameter in group]
    assert len(grouped) == len(set(grouped)) == len(list(model.parameters()))
    assert min(groups) == pytest.approx(0.01)
    assert max(groups) == 1.0
    assert {id(parameter) for parameter in groups[1.0]} == {id(p) for p in model.head.parameters()}
    first = model.get_submodule(known_architecture(name, SMALL).first_layer)
    assert id(first.weight) in {id(parameter) for parameter in groups[min(groups)]}


@pytest.mark.parametrize(
    "name", ["timm:mobilenetv3_small_050", "timm:xcit_nano_12_p16_224", "timm:vit_tiny_patch16_224"]
)
@pytest.mark.parametrize("freeze", ["half", "head_only"])
def test_stored_activations_give_the_same_network(
    name: str, freeze: str, splits: TrainingSplits, tmp_path: Path
) -> None:
    config = CONFIG | {"epochs": 3, "freeze": freeze, "learning_rate": 1e-4}
    policy = CachePolicy(0, seed=1, least_speedup=0.0, root=tmp_path)
    anew, stored = (
        [metrics for metrics, _ in fit(build(name, freeze=freeze), splits, config, seed=1, cache_policy=kept)]
        for kept in (None, policy)
    )
    kept_views = [0, 0, 0] if name.startswith("timm:xcit") and freeze == "half" else [0, 1, 1]
    assert [metrics["frozen_views"] for metrics in stored] == kept_views, "xcit's blocks are handed two values each"
    for ours, expected in zip(stored, anew, strict=True):
        assert ours["val_loss"] == pytest.approx(expected["val_loss"], rel=0.02)  # half precision


@pytest.mark.parametrize("name", TIMM)
def test_activation_maps_show_places(name: str) -> None:
    model = classifier(name, build(name, head="normalised"))
    images = np.zeros((2, SMALL, SMALL), np.uint8)
    images[:, 8:20, 30:50] = 255
    maps = map_activations(model, images, np.array([0, 1]))
    assert maps.shape == (2, SMALL, SMALL)
    assert np.isfinite(maps).all()
    assert maps.max() > 0, "some gradient reaches the places"
    assert first_layer_channels(model, images[0]).ndim == 3
    assert model.compute_probabilities(images).sum(axis=1) == pytest.approx(1, abs=1e-5)


def classifier(name: str, network: nn.Module) -> Classifier:
    return Classifier(network.eval(), name, list("abcd"), SMALL, invert=True, pretrained=True, device="cpu")


@pytest.mark.slow
@pytest.mark.parallel
@pytest.mark.parametrize("name", ["timm:mobilenetv3_small_050", "timm:test_vit", "timm:levit_128s"])
def test_onnx_computes_the_same(name: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    from tune_sketch.inference.onnx import TOLERANCE, export_onnx

    assert export_onnx(classifier(name, build(name, head="normalised")), tmp_path / "network.onnx") <= TOLERANCE


def test_the_head_sees_what_timm_itself_pools() -> None:
    for name in TIMM:
        torch.manual_seed(0)
        model = build(name).eval()
        options = {"img_size": SMALL} if known_architecture(name, SMALL).fixed_image_px else {}
        own = timm.create_model(name.removeprefix("timm:"), num_classes=0, **options).eval()
        own.load_state_dict(model.body.state_dict())
        inputs = torch.randn(2, 3, SMALL, SMALL)
        with torch.inference_mode():
            assert torch.allclose(model(inputs), model.head(own(inputs)), atol=1e-5), name


def test_nothing_drops_at_random_but_what_is_searched() -> None:
    model = build("timm:test_vit", dropout=0.25)
    assert [m.p for m in model.modules() if isinstance(m, nn.Dropout) and m.p] == [0.25]
    with torch.device("meta"):
        swin = build_model("timm:swin_tiny_patch4_window7_224", 4)
    assert not [m for m in swin.modules() if getattr(m, "drop_prob", None)], "timm's default here is 0.1"


def test_drawings_are_normalised_as_timm_says() -> None:
    for name, mean in (("timm:vit_tiny_patch16_224", 0.5), ("timm:convnext_atto", IMAGENET.mean[0])):
        architecture = known_architecture(name, SMALL)
        assert architecture.normalisation.mean == timm.get_pretrained_cfg(name[5:]).mean
        black = normalise(torch.zeros(1, 1, 2, 2), build(name), pretrained=True)
        assert black[0, 0, 0, 0].item() == pytest.approx(-mean / architecture.normalisation.std[0])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "timm:convnext_atom",
            r"timm \S+ has no network 'convnext_atom'; near: timm:convnext_atto, ",
        ),
        ("timm:resnext", r"has no network 'resnext'; near: .*resnext"),
        ("timm:qqqqqqqqqqqq", r"has no network 'qqqqqqqqqqqq'\. 'timm:\?PATTERN' lists"),
        ("timm:vit_tiny_patch16_224.in99k", r"has no weights 'in99k'; known: augreg_in21k_ft_in1k, augreg_in21k"),
        ("timm:", r"--model must be one of baseline, .*timm:NAME, got 'timm:'"),
        ("timm:hf-hub:timm/resnet18.a1_in1k", r"--model must be one of"),
        ("timm:../resnet18", r"--model must be one of"),
    ],
)
def test_a_wrong_name_lists_near_ones_before_anything_starts(
    name: str, message: str, capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    assert main(["--model", "baseline", name, "--runs-dir", str(tmp_path / "runs")]) == 2
    error = capsys.readouterr().err
    assert re.search(message, error), error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "runs").exists()


def test_a_pattern_lists_names_and_their_weights(capsys: pytest.CaptureFixture) -> None:
    assert main(["--model", "timm:?convnext_at"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.split()[:2] == ["timm:convnext_atto", "d2_in1k"] for line in lines), lines
    assert all("convnext_at" in line for line in lines)
    assert main(["--model", "timm:?vit_*_patch14_dinov2"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 4
    assert main(["--model", "timm:?nonesuch_at_all"]) == 2
    assert main(["--model", "timm:?convnext", "baseline"]) == 2
    assert "lists and does nothing else, got baseline beside it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "image_px", "message"),
    [
        ("timm:crossvit_tiny_240", 64, r"use --image-px 240"),
        ("timm:convnext_atto", 20, r"cannot take images of 20 px .*: use --image-px 32"),
    ],
)
def test_a_size_that_does_not_fit_names_those_that_do(name: str, image_px: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        known_architecture(name, image_px)


def test_freeze_points_follow_timms_layer_groups() -> None:
    points = known_architecture("timm:vit_tiny_patch16_224", SMALL).freeze_points
    assert "body.pos_embed" in points["stem"]
    assert {parameter.split(".")[2] for parameter in points["half"] if ".blocks." in parameter} == set("01234")
    for earlier, later in itertools.pairwise(points.values()):
        assert set(earlier) < set(later)


def test_only_networks_of_timm_import_timm() -> None:
    code = """
import sys
import tune_sketch.trainables.job
from tune_sketch.config.flags import read_models
from tune_sketch.trainables.networks.build import build_model
read_models(["resnet50", "baseline"])
build_model("baseline", 4)
assert not [name for name in sys.modules if name.split(".")[0] in ("timm", "huggingface_hub")], "timm is imported"
read_models(["timm:test_vit"])
assert "timm" in sys.modules
"""
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2]
    )
    assert answer.returncode == 0, answer.stderr


def test_a_search_whose_name_has_a_colon_is_laid_out_without_one(tmp_path: Path) -> None:
    from tune_sketch.config.flags import make_settings
    from tune_sketch.config.plan import plan_lines, prepare_inputs
    from tune_sketch.new_run import make_run
    from tune_sketch.storage.facts import read_facts

    choices = {"weights": "none", "classes": 3, "per_class": 8, "image_px": 32}
    settings = make_settings("timm:test_vit", choices)
    inputs = prepare_inputs(settings)
    run = make_run(tmp_path, None, settings, inputs)
    assert run.path.name.startswith("timm-test_vit-doodles-")
    assert read_facts(run).settings.model == "timm:test_vit"
    assert plan_lines(settings, inputs)[0] == "model     timm:test_vit: trained from scratch, as asked"


def test_untraced_networks_are_two_layers() -> None:
    for name in UNTRACED:
        assert len(known_architecture(name, SMALL).layers(build(name))) == 2
    assert len(known_architecture("timm:convnext_atto", SMALL).layers(build("timm:convnext_atto"))) > 15

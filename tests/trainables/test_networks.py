"""Contract that every network keeps, ours and timm's: shapes, names, layers, freeze points; the paper's counts."""

import itertools

import pytest
import torch
from torch import nn

from tests.support.timm_networks import SMALL, TIMM, UNCUT
from tune_sketch.search_spaces import SPACES, known_space
from tune_sketch.trainables.networks.architecture import check_image_px
from tune_sketch.trainables.networks.build import build_model
from tune_sketch.trainables.networks.freezing import freeze_layers, set_training_mode, split_frozen
from tune_sketch.trainables.networks.registry import ARCHITECTURES, known_architecture

MODELS = list(ARCHITECTURES)
NETWORKS = [*MODELS, *TIMM]


def build_shapes(name: str, num_classes: int) -> nn.Module:
    """The network without memory for its weights: names and shapes are there at once."""
    with torch.device("meta"):
        return build_model(name, num_classes, image_px=SMALL)


def count_parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def count_running_statistics(model: nn.Module) -> int:
    return sum(buffer.numel() for name, buffer in model.named_buffers() if ".running_" in name)


def count_convolution_outputs(model: nn.Module) -> int:
    return sum(module.out_channels for module in model.modules() if isinstance(module, nn.Conv2d))


def test_paper_table_1_baseline() -> None:
    assert count_parameters(build_shapes("baseline", 133)) == 231_717
    assert count_parameters(build_shapes("baseline", 125)) == 227_613


def test_paper_table_1_resnet50() -> None:
    model = build_shapes("resnet50", 125)
    assert count_parameters(model) == 23_764_157
    assert count_running_statistics(model) == 53_120
    # Keras gives each convolution a bias, one per output channel; torchvision does not.
    assert all(module.bias is None for module in model.modules() if isinstance(module, nn.Conv2d))
    assert count_convolution_outputs(model) == 26_560
    assert 23_764_157 + 53_120 + 26_560 == 23_843_837


def test_paper_table_1_densenet121() -> None:
    model = build_shapes("densenet121", 125)
    assert count_parameters(model) == 7_081_981
    assert count_running_statistics(model) == 83_648
    assert 7_081_981 + 83_648 == 7_165_629


@pytest.mark.parametrize("name", TIMM)
def test_one_space_does_for_all_networks_of_timm(name: str) -> None:
    assert tuple(known_architecture(name, SMALL).freeze_points) == known_space(name).FREEZE_POINTS


def test_spaces_and_architectures_know_the_same_models() -> None:
    assert list(SPACES) == MODELS
    for name, architecture in ARCHITECTURES.items():
        assert architecture.name == name
        assert list(architecture.freeze_points) == list(SPACES[name].FREEZE_POINTS)


@pytest.mark.parametrize("name", NETWORKS)
def test_shapes_from_the_smallest_size_up(name: str) -> None:
    architecture = known_architecture(name, SMALL)
    assert architecture.min_image_px <= 32
    fixed = architecture.fixed_image_px
    model = build_model(name, 7, dropout=0.3, image_px=SMALL).eval()
    to_maps = architecture.to_maps or (lambda layer, output: output)
    seen: list[torch.Tensor] = []
    for layer in reversed(architecture.cam_layers):
        model.get_submodule(layer).register_forward_hook(lambda *args, n=layer: seen.append(to_maps(n, args[2])))
    with torch.inference_mode():
        for image_px in (architecture.min_image_px, 45, 64) if fixed is None else (fixed,):
            logits = model(torch.rand(2, 3, image_px, image_px))
            assert logits.shape == (2, 7)
            assert torch.isfinite(logits).all()
            maps = [seen.pop() for _ in architecture.cam_layers]
            assert all(m.ndim == 4 for m in maps)  # [B, channels, h, w]: a place on the paper
            sides = [min(m.shape[2:]) for m in maps]
            assert sides, "some layer shows places"
            assert sides == sorted(sides), "deepest and coarsest first"
            assert sides[-1] >= 2, "the finest says something about the smallest drawing"
    if fixed is not None:
        with pytest.raises(ValueError, match=f"must be {fixed}, for which this {name} was built, got {fixed + 1}"):
            check_image_px(model, fixed + 1)
        return
    check_image_px(model, architecture.min_image_px)
    with pytest.raises(ValueError, match=f"at least {architecture.min_image_px} for {name}"):
        check_image_px(model, architecture.min_image_px - 1)


@pytest.mark.parametrize("name", NETWORKS)
def test_only_the_head_depends_on_the_classes(name: str) -> None:
    architecture = known_architecture(name, SMALL)
    first = build_shapes(name, 5).get_submodule(architecture.first_layer)
    assert isinstance(first, nn.Conv2d)
    assert first.in_channels == 3
    shapes = [{n: p.shape for n, p in build_shapes(name, classes).state_dict().items()} for classes in (5, 6)]
    different = {n for n in shapes[0] if shapes[0][n] != shapes[1][n]}
    assert different == {n for n in shapes[0] if n.startswith(architecture.head + ".")}
    assert len(different) == 2


@pytest.mark.parametrize("name", NETWORKS)
def test_freeze_points_go_from_none_to_head_only(name: str) -> None:
    architecture = known_architecture(name, SMALL)
    points = list(architecture.freeze_points)
    assert points[0] == "none"
    assert points[-1] == "head_only"
    trainable = []
    model = build_shapes(name, 5)
    parameters = dict(model.named_parameters())
    for point in points:
        freeze_layers(model, architecture, point)
        trainable.append({n for n, parameter in model.named_parameters() if parameter.requires_grad})
        for prefix in architecture.freeze_points[point]:
            assert prefix in parameters or model.get_submodule(prefix), "a prefix names something"
    assert trainable[0] == {n for n, _ in model.named_parameters()}
    for more, fewer in itertools.pairwise(trainable):
        assert fewer < more
    assert {n.rsplit(".", 1)[0] for n in trainable[-1]} == {
        n for n, module in model.named_modules() if isinstance(module, nn.Linear) and n.startswith(architecture.head)
    }


@pytest.mark.parametrize("name", NETWORKS)
def test_the_layers_are_the_network_cut_where_training_begins(name: str) -> None:
    torch.manual_seed(0)
    architecture = known_architecture(name, SMALL)
    model = build_model(name, 4, dropout=0.5, image_px=SMALL).eval()
    inputs = torch.randn(2, 3, SMALL, SMALL)
    with torch.no_grad():
        expected = model(inputs)
        assert torch.equal(nn.Sequential(*architecture.layers(model))(inputs), expected)
    frozen = {}
    for freeze in architecture.freeze_points:
        with torch.device("meta"):
            prefix, tail = split_frozen(build_model(name, 4, dropout=0.5, freeze=freeze, image_px=SMALL))
        assert not any(parameter.requires_grad for parameter in prefix.parameters())
        assert any(parameter.requires_grad for parameter in tail.parameters())
        frozen[freeze] = sum(parameter.numel() for parameter in prefix.parameters())
    assert frozen.pop("none") == 0
    assert list(frozen.values()) == sorted(set(frozen.values())) or name in ("baseline", "sketch_a_net", *UNCUT)
    assert min(frozen.values()) > 0 or name in UNCUT
    assert frozen["head_only"] > 0


def test_a_freeze_prefix_ends_at_a_dot() -> None:
    model = build_model("squeezenet1_1", 5, freeze="stem")  # features.0, not features.0*, features.1*
    frozen = {n for n, parameter in model.named_parameters() if not parameter.requires_grad}
    assert frozen == {"features.0.weight", "features.0.bias"}


def test_frozen_batch_norm_stays_in_eval_mode() -> None:
    model = build_model("resnet50", 5, freeze="layer1")
    set_training_mode(model)
    norms = {n: m for n, m in model.named_modules() if isinstance(m, nn.BatchNorm2d)}
    frozen = {n for n in norms if n.startswith(("bn1", "layer1"))}
    assert len(frozen) == 11
    assert {n for n, norm in norms.items() if not norm.training} == frozen
    before = {n: model.get_buffer(n + ".running_mean").clone() for n in norms}
    model(torch.rand(4, 3, 32, 32))
    moved = {n for n in norms if not torch.equal(model.get_buffer(n + ".running_mean"), before[n])}
    assert moved == set(norms) - frozen


def test_the_same_seed_builds_the_same_network() -> None:
    models = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        models.append(build_model("sketch_a_net", 5).state_dict()["features.conv1.weight"])
    assert torch.equal(models[0], models[1])
    assert not torch.equal(models[0], models[2])


def test_unknown_names_list_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"unknown model 'resnet51'.*baseline.*resnet50"):
        build_model("resnet51", 5)
    with pytest.raises(ValueError, match=r"unknown freeze point 'layer9' of resnet50.*none.*head_only"):
        build_model("resnet50", 5, freeze="layer9")


@pytest.mark.parametrize(("classes", "dropout"), [(1, 0.0), (5, 1.0), (5, -0.1)])
def test_impossible_numbers(classes: int, dropout: float) -> None:
    with pytest.raises(ValueError, match=r"num_classes must be|dropout must be"):
        build_model("baseline", classes, dropout=dropout)

"""The parts of today's recipe: rates by depth, warm-up, averaged weights, normalised head; and the paper without."""

import copy
import itertools
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.support.small_training import AUGMENTED, CONFIG, assert_same_weights, build, drawings, splits_of, train
from tune_sketch.search_spaces import SpaceLimits, configuration_of, paper_configuration
from tune_sketch.trainables.augmentation import augment, draw_changes
from tune_sketch.trainables.averaging import SHARPNESS, average_weights, best_weights
from tune_sketch.trainables.batches import shuffled_batches
from tune_sketch.trainables.evaluation import normalise, predict_probabilities, to_unit
from tune_sketch.trainables.networks.build import build_model
from tune_sketch.trainables.networks.freezing import split_frozen
from tune_sketch.trainables.networks.registry import ARCHITECTURES
from tune_sketch.trainables.optimizer import group_by_depth, learning_rate_at
from tune_sketch.trainables.training import fit, seed_epoch

RECIPE = AUGMENTED | {"head": "normalised", "layer_rate_factor": 0.1, "warmup_steps": 3, "averaging": True}


# the paper's training has none of it


def test_the_papers_training_is_the_plainest_loop() -> None:
    limits = SpaceLimits(max_epochs=3, pretrained=False)
    config = configuration_of("baseline", paper_configuration("baseline", limits), limits)
    config |= {"epochs": 2, "batch_size": 8}
    data, model = drawings(20), build("baseline", config)
    reference = copy.deepcopy(model)
    *_, (_, state) = fit(model, splits_of(data), config, seed=7)
    optimizer = torch.optim.Adam(reference.parameters(), config["learning_rate"], weight_decay=1e-6, fused=True)
    images, labels, step = torch.as_tensor(data.images), torch.as_tensor(data.labels), 0
    for epoch in (1, 2):
        generator = seed_epoch(7, epoch)
        reference.train()
        for rows in shuffled_batches(20, 8, generator):
            optimizer.param_groups[0]["lr"] = config["learning_rate"] / (1 + config["decay"] * step)
            changes = draw_changes(len(rows), config, generator, torch.device("cpu"))
            inputs = normalise(augment(to_unit(images[rows]), changes, True), reference, False)
            F.cross_entropy(reference(inputs), labels[rows]).backward()
            optimizer.step()
            optimizer.zero_grad()
            step += 1
    assert_same_weights(state["model"], reference.state_dict())
    assert best_weights(state) is state["model"]
    assert state["averaged"] is None


# rates by depth and by step


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_rates_rise_from_the_first_layer_to_the_head(name: str) -> None:
    architecture, model = ARCHITECTURES[name], build(name)
    groups = group_by_depth(model, 0.01)
    factors = {id(parameter): factor for factor, group in groups.items() for parameter in group}
    of = {parameter_name: factors[id(parameter)] for parameter_name, parameter in model.named_parameters()}
    assert len(of) == len(factors)  # each parameter once
    assert of[f"{architecture.first_layer}.weight"] == pytest.approx(0.01)
    assert {of[n] for n in of if n.startswith(architecture.head)} == {1.0}
    assert list(groups) == sorted(groups)
    ratios = [later / earlier for earlier, later in itertools.pairwise(groups)]
    assert ratios == pytest.approx([0.01 ** (-1 / (len(architecture.freeze_points) - 1))] * len(ratios))
    assert len(group_by_depth(model, 1.0)) == 1


def test_what_is_frozen_has_no_rate_and_changes_no_other() -> None:
    whole = group_by_depth(build("squeezenet1_1"), 0.01)
    frozen = group_by_depth(build("squeezenet1_1", CONFIG | {"freeze": "fire3"}), 0.01)
    assert list(frozen) == list(whole)[2:]


def test_each_layer_moves_at_its_rate() -> None:
    config = CONFIG | {"optimizer": "sgd", "momentum": 0.0, "epochs": 1, "batch_size": 32, "learning_rate": 1e-3}
    moved = {}
    for factor in (1.0, 0.01):
        model = build(config=config)
        before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
        train(model, splits_of(drawings()), config | {"layer_rate_factor": factor})
        moved[factor] = {n: (p.detach() - before[n]).norm().item() for n, p in model.named_parameters()}
    ratios = {name: moved[0.01][name] / moved[1.0][name] for name in moved[1.0]}
    assert ratios["conv1.weight"] == pytest.approx(0.01, rel=0.01)
    assert ratios["conv3.weight"] == pytest.approx(0.01 ** (2 / 4), rel=0.01)
    assert ratios["head.weight"] == pytest.approx(1.0)


def test_the_rate_warms_up_and_decays() -> None:
    config = {"learning_rate": 2.0, "decay": 0.0, "warmup_steps": 4}
    assert [learning_rate_at(config, step) for step in range(6)] == pytest.approx([0.5, 1.0, 1.5, 2.0, 2.0, 2.0])
    assert [learning_rate_at(config | {"warmup_steps": 0, "decay": 0.5}, step) for step in (0, 2)] == [2.0, 1.0]


# averaged weights


def test_the_average_reaches_back_over_a_share_of_the_steps() -> None:
    model = nn.Linear(1, 1, bias=False)
    averaged = average_weights(model)
    for step in range(1000):
        with torch.no_grad():
            model.weight.fill_(float(step))
        averaged.update()
    # weights of age a count as (1 - a / n) ** SHARPNESS: in the mean the age is n / (SHARPNESS + 2)
    assert 999 - averaged.module.weight.item() == pytest.approx(1000 / (SHARPNESS + 2), rel=0.05)


def test_the_average_of_few_steps_by_hand() -> None:
    model = nn.Linear(1, 1, bias=False)
    averaged = average_weights(model)
    expected = 0.0
    for step, value in enumerate((3.0, 1.0, 4.0)):
        with torch.no_grad():
            model.weight.fill_(value)
        averaged.update()
        share = 9 / (step + 9)  # 1, 9/10, 9/11
        expected += share * (value - expected)
    assert averaged.module.weight.item() == pytest.approx(expected)


def test_an_average_shares_what_is_frozen() -> None:
    model = build("squeezenet1_1", CONFIG | {"freeze": "head_only"})
    averaged = average_weights(model)
    assert averaged.module.features[0].weight.data_ptr() == model.features[0].weight.data_ptr()
    assert averaged.module.classifier.linear.weight.data_ptr() != model.classifier.linear.weight.data_ptr()


@pytest.mark.parametrize("name", ["baseline", "densenet121"])
def test_the_metrics_are_of_the_better_weights_which_are_kept(name: str) -> None:
    data = drawings(16)
    config = CONFIG | {"epochs": 4, "averaging": True, "learning_rate": 3e-3, "batch_size": 4}
    seen = set()
    for metrics, state in fit(build(name, config), splits_of(data), config, seed=5):
        model = build_model(name, 4)
        model.load_state_dict(best_weights(state))
        probabilities = predict_probabilities(model, data.images, device="cpu", invert=True, pretrained=False)
        assert metrics["val_top1"] == (probabilities.argmax(axis=1) == data.labels).mean()
        model.load_state_dict(state["model"])
        probabilities = predict_probabilities(model, data.images, device="cpu", invert=True, pretrained=False)
        assert metrics["raw_val_top1"] == (probabilities.argmax(axis=1) == data.labels).mean()
        assert metrics["val_top1"] >= metrics["raw_val_top1"]
        seen.add(state["uses_averaged"])
    assert True in seen


def test_averaging_changes_no_step() -> None:
    splits = splits_of(drawings())
    config = AUGMENTED | {"epochs": 2}
    states = [list(fit(build(), splits, config | {"averaging": averaging}, seed=5))[-1][1] for averaging in (0, 1)]
    assert_same_weights(states[0]["model"], states[1]["model"])


def test_an_average_over_stored_activations_is_of_the_same_network() -> None:
    model = build("squeezenet1_1", CONFIG | {"freeze": "fire3"}).eval()
    averaged = average_weights(model)
    averaged.update()
    prefix, _ = split_frozen(model)
    _, tail = split_frozen(averaged.module)
    averaged.module.eval()
    inputs = torch.randn(2, 3, 48, 48)
    with torch.no_grad():
        stored = prefix(inputs).permute(0, 2, 3, 1)
        assert torch.allclose(tail.eval()(stored), model(inputs), atol=1e-5)


# all of it together


@pytest.mark.parametrize(
    ("name", "optimizer", "num_images"), [("squeezenet1_1", "adamw", 22), ("densenet121", "sgd", 8)]
)
def test_resume_is_bit_for_bit(name: str, optimizer: str, num_images: int) -> None:
    config = RECIPE | {"epochs": 4, "optimizer": optimizer, "momentum": 0.9, "dropout": 0.3}
    splits = splits_of(drawings(num_images))
    whole = list(fit(build(name, config), splits, config, seed=5))
    torch.manual_seed(99)
    model = build_model(name, 4, dropout=0.3, head="normalised")
    resumed = list(fit(model, splits, config, seed=5, state=whole[1][1]))
    for (metrics, state), (expected, expected_state) in zip(resumed, whole[2:], strict=True):
        assert [metrics[n] for n in ("train_loss", "val_loss", "val_top1", "raw_val_top1")] == [
            expected[n] for n in ("train_loss", "val_loss", "val_top1", "raw_val_top1")
        ]
        assert_same_weights(state["model"], expected_state["model"])
        assert_same_weights(state["averaged"], expected_state["averaged"])


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_network_learns_with_the_recipe(name: str) -> None:
    num_epochs = {"resnet50": 3, "densenet121": 3, "sketch_a_net": 10}.get(name, 8)
    config: dict[str, Any] = RECIPE | CONFIG | {"head": "normalised", "averaging": True, "epochs": num_epochs}
    metrics = train(build(name, config), splits_of(drawings()), config)
    assert metrics[-1]["train_loss"] < metrics[0]["train_loss"]
    assert all(math.isfinite(epoch["val_loss"]) for epoch in metrics)


# the normalised head


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_normalised_head_of_every_network(name: str) -> None:
    architecture = ARCHITECTURES[name]
    torch.manual_seed(0)
    model = build_model(name, 7, dropout=0.3, head="normalised").eval()
    inputs = torch.randn(2, 3, 48, 48)
    with torch.no_grad():
        expected = model(inputs)
        assert expected.shape == (2, 7)
        assert torch.equal(nn.Sequential(*architecture.layers(model))(inputs), expected)
    head = model.get_submodule(architecture.head)
    kinds = [type(layer) for layer in head.modules() if isinstance(layer, nn.BatchNorm1d | nn.Dropout | nn.Linear)]
    assert kinds in ([nn.BatchNorm1d, nn.Dropout, nn.Linear], [nn.BatchNorm1d, nn.Linear])
    body = {n: p.shape for n, p in model.named_parameters() if not n.startswith(architecture.head + ".")}
    plain = build_model(name, 7, dropout=0.3)
    assert body == {n: p.shape for n, p in plain.named_parameters() if not n.startswith(architecture.head + ".")}
    frozen = build_model(name, 7, freeze="head_only", head="normalised")
    assert {n for n, p in frozen.named_parameters() if p.requires_grad} == {
        n for n, p in model.named_parameters() if n.startswith(architecture.head + ".")
    }


def test_a_feature_that_no_training_drawing_had_does_not_outweigh_the_others() -> None:
    norm = build_model("squeezenet1_1", 7, head="normalised").classifier.norm
    norm.train()
    for _ in range(100):
        norm(torch.cat([torch.randn(64, 512), torch.zeros(64, 512)], dim=1))
    norm.eval()
    common, unseen = norm(torch.full((1, 1024), 3.0)).detach().abs().mean(dim=0).split(512)
    assert common.mean() == pytest.approx(3 / math.sqrt(2), rel=0.1)
    assert unseen.max() < 3.1, "with the usual constant it would be 950"


def test_unknown_heads_list_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"unknown head 'deep'; known heads: plain, normalised"):
        build_model("baseline", 4, head="deep")

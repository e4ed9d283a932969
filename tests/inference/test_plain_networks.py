"""Networks that `export --to torchvision` and `--to timm` write load there, and give the same probabilities."""

import json
import runpy

import numpy as np
import pytest
import timm
import torch
import torchvision
from safetensors.torch import load_file

from tests.docs.pages import ROOT, blocks_of
from tests.support.fake_runs import make_finished_run
from tests.support.timm_networks import SMALL
from tune_sketch.export import main
from tune_sketch.inference import plain_networks
from tune_sketch.inference.model import Classifier, load_classifier
from tune_sketch.inference.plain_networks import export_torchvision
from tune_sketch.inference.plain_timm import export_timm
from tune_sketch.trainables.networks.build import build_model

NAMES = ["cat", "dog", '</script> "x"']
DRAWINGS = np.random.default_rng(0).integers(0, 256, (3, 32, 32), dtype=np.uint8)


SOME = (  # of timm: each kind of features, pooling and classifier
    "timm:mobilenetv3_small_050",  # layers between its pooling and its classifier
    "timm:vit_tiny_patch16_224",  # tokens, a class token, one size
    "timm:levit_128s",  # two classifiers, with batch norm
    "timm:mambaout_femto",  # channels last
    "timm:resnet10t",
)


def make_classifier(model, head, *, pretrained=True, invert=True, image_px=32):
    """A network with statistics and weights that are all different from those of a new one."""
    torch.manual_seed(0)
    network = build_model(model, len(NAMES), dropout=0.3, head=head, image_px=image_px)
    for name, tensor in network.state_dict().items():
        if name.endswith(("running_mean", "bias")):
            tensor.normal_(std=0.1)
        elif name.endswith("running_var"):
            tensor.uniform_(0.5, 2)
    return Classifier(network.eval(), model, NAMES, image_px, invert, pretrained, "cpu", temperature=0.7)


@pytest.mark.parametrize("head", ["plain", "normalised"])
@pytest.mark.parametrize("model", ["resnet50", "densenet121", "squeezenet1_1"])
def test_torchvision_gives_the_same(tmp_path, model, head):
    classifier = make_classifier(model, head, invert=head == "plain")
    assert export_torchvision(classifier, tmp_path / "there") < 1e-4
    file = tmp_path / "there" / "load.py"
    found = runpy.run_path(str(file))
    network = found["load"]()
    rows = found["probabilities"](network, torch.from_numpy(DRAWINGS)).numpy()
    assert np.abs(rows - classifier.compute_probabilities(DRAWINGS)).max() < 1e-5
    assert "tune_sketch" not in file.read_text()
    assert json.loads((tmp_path / "there" / "model.json").read_text())["class_names"] == NAMES
    if head == "plain" and model != "squeezenet1_1":  # names and shapes are torchvision's own
        plain = getattr(torchvision.models, model)(num_classes=len(NAMES))
        plain.load_state_dict(load_file(tmp_path / "there" / "weights.safetensors"))


@pytest.mark.parametrize("head", ["plain", "normalised"])
@pytest.mark.parametrize("model", ["resnet50", "densenet121"])
def test_timm_gives_the_same(tmp_path, model, head):
    classifier = make_classifier(model, head, pretrained=head == "plain")
    assert export_timm(classifier, tmp_path / "there") < 1e-4
    network = timm.create_model(f"local-dir:{tmp_path / 'there'}", pretrained=True).eval()
    how = timm.data.resolve_data_config({}, model=network)
    mean, deviation = (torch.tensor(how[name]).view(1, 3, 1, 1) for name in ("mean", "std"))
    with torch.inference_mode():
        logits = network((torch.from_numpy(DRAWINGS)[:, None].float() / 255 - mean) / deviation)
    assert np.abs(logits.softmax(dim=1).numpy() - classifier.compute_probabilities(DRAWINGS)).max() < 1e-5
    assert tuple(how["input_size"]) == (3, 32, 32)


@pytest.mark.parametrize("head", ["plain", "normalised"])
@pytest.mark.parametrize("name", SOME)
def test_any_network_of_timm_goes_back_to_it(tmp_path, name, head):
    """A plain head: timm's own network takes the weights, strictly. Others: load.py, with timm alone."""
    classifier, there = make_classifier(name, head, pretrained=head == "plain", image_px=SMALL), tmp_path / "there"
    drawings = np.random.default_rng(0).integers(0, 256, (3, SMALL, SMALL), dtype=np.uint8)
    expected, batch = classifier.compute_probabilities(drawings), torch.from_numpy(drawings)
    assert export_timm(classifier, there) < 1e-4
    if head == "normalised" or name == "timm:levit_128s":  # two classifiers with batch norm
        found = runpy.run_path(str(there / "load.py"))
        rows = found["probabilities"](found["load"](), batch).numpy()
        assert "tune_sketch" not in (there / "load.py").read_text()
    else:
        config = json.loads((there / "config.json").read_text())
        network = timm.create_model(name.removeprefix("timm:"), num_classes=len(NAMES), **config["model_args"])
        network.load_state_dict(load_file(there / "model.safetensors"))
        mean, deviation = (torch.tensor(config["pretrained_cfg"][key]).view(1, 3, 1, 1) for key in ("mean", "std"))
        with torch.inference_mode():
            rows = network.eval()((batch[:, None].float() / 255 - mean) / deviation).softmax(dim=1).numpy()
        assert timm.create_model(f"local-dir:{there}", pretrained=True).num_classes == len(NAMES)
    assert np.ptp(expected, axis=1).min() > 1e-3, "the classes are told apart"
    assert np.abs(rows - expected).max() < 1e-5


def test_what_does_not_fit_is_said_and_leaves_nothing(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="only for resnet50, densenet121, squeezenet1_1, got a run of baseline"):
        export_torchvision(make_classifier("baseline", "plain"), tmp_path / "there")
    with pytest.raises(
        ValueError, match="--to timm is only for resnet50, densenet121, timm:NAME, got a run of squeezenet1_1"
    ):
        export_timm(make_classifier("squeezenet1_1", "plain"), tmp_path / "there")
    fold = plain_networks.fold_head
    monkeypatch.setattr(plain_networks, "fold_head", lambda model: tuple(2 * tensor for tensor in fold(model)))
    with pytest.raises(ValueError, match="differs by"):
        export_torchvision(make_classifier("squeezenet1_1", "plain"), tmp_path / "there")
    assert list(tmp_path.iterdir()) == []


def test_the_page_on_it_works_as_it_stands(tmp_path, monkeypatch):
    """docs/take-along.md: the commands, and the snippets after them, of which each gives the answers of the run."""
    run = make_finished_run(
        tmp_path / "runs" / "first", model="resnet50", num_trials=2, failed=0, max_epochs=3, classes=3
    )
    assert main([str(run.path), "--to", "torchvision"]) == 0
    assert main([str(run.path), "--to", "timm"]) == 0
    monkeypatch.chdir(tmp_path)
    model = json.loads((run.best / "torchvision" / "model.json").read_text())
    drawings = torch.from_numpy(DRAWINGS)[:, None].expand(-1, 3, -1, -1).float() / 255
    inputs = (drawings - torch.tensor(model["mean"]).view(1, 3, 1, 1)) / torch.tensor(model["standard_deviation"])[0]
    expected = load_classifier(run.path).compute_probabilities(DRAWINGS)
    blocks = [block for block in blocks_of(ROOT / "docs" / "take-along.md") if "exported" in block.words]
    assert len(blocks) == 2
    for block in blocks:
        found = {}
        exec(block.text, found)
        with torch.inference_mode():
            rows = found["network"](inputs).softmax(dim=1).numpy()
        assert np.abs(rows - expected).max() < 1e-5, block.name

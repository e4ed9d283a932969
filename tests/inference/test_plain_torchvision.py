"""The weights of a run load into torchvision's own networks, as docs/results.md says."""

import json

import numpy as np
import pytest
import torch
import torchvision

from tests.docs.pages import ROOT, blocks_of
from tests.support.fake_runs import make_finished_run
from tune_sketch.inference.model import load_classifier
from tune_sketch.trainables.evaluation import NEW_WEIGHTS_STD

(SNIPPET,) = [block for block in blocks_of(ROOT / "docs" / "results.md") if "resnet50(num_classes" in block.text]


def classes_of(network, images, temperature):
    """Probabilities of plain torchvision for ink 255 on 0, as the page says how to prepare it."""
    inputs = torch.from_numpy(images).float()[:, None].expand(-1, 3, -1, -1) / 255 / 0.25
    with torch.inference_mode():
        return (network(inputs) / temperature).softmax(dim=1).numpy()


@pytest.mark.parametrize("model", ["resnet50", "densenet121"])
def test_weights_load_into_plain_torchvision(tmp_path, monkeypatch, model):
    assert NEW_WEIGHTS_STD == 0.25
    run = make_finished_run(tmp_path / "runs" / "first", model=model, num_trials=2, failed=0, max_epochs=3, classes=3)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tune_sketch.trainables.speed.devices.cpu_multiplies_bfloat16", lambda: False)
    text = SNIPPET.text
    if model == "densenet121":
        text = text.replace("resnet50", "densenet121").replace("fc.", "classifier.")
    found: dict[str, object] = {}
    exec(text, found)  # the page's own words
    network = found["network"]
    assert type(network) is getattr(torchvision.models, "ResNet" if model == "resnet50" else "DenseNet")
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32), dtype=np.uint8)
    expected = load_classifier(run.path).compute_probabilities(images)
    info = json.loads((run.best / "model.json").read_text())
    assert np.abs(classes_of(network, images, info["temperature"]) - expected).max() < 1e-5
    assert info["pretrained"] is False

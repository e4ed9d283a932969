"""Writes a network for plain torchvision: its names and shapes, nothing of this program needed."""

import runpy
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn

from tune_sketch.inference.model import Classifier
from tune_sketch.inference.onnx import check_images
from tune_sketch.storage.files import replace_folder, write_json, write_text
from tune_sketch.trainables.evaluation import input_statistics
from tune_sketch.trainables.networks.architecture import Architecture
from tune_sketch.trainables.networks.find_weights import RUN_WEIGHTS
from tune_sketch.trainables.networks.heads import AverageMaxPool
from tune_sketch.trainables.networks.registry import known_architecture

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

TOLERANCE = 1e-4  # of a probability
# Lines that fit torchvision's network to the weights: {head of a pooled network: lines}; `features` long vectors.
CHANGES = {
    ("resnet50", False): "network = resnet50(num_classes={classes})",
    ("resnet50", True): """network = resnet50(num_classes={classes})
    network.avgpool = MeanAndMaximum()
    network.fc = nn.Linear({features}, {classes})""",
    ("densenet121", False): "network = densenet121(num_classes={classes})",
    ("densenet121", True): """layers = {{
        "features": densenet121().features,
        "relu": nn.ReLU(),
        "pool": MeanAndMaximum(),
        "flatten": nn.Flatten(1),
        "classifier": nn.Linear({features}, {classes}),
    }}
    network = nn.Sequential(OrderedDict(layers))""",
    ("squeezenet1_1", False): """network = squeezenet1_1()
    network.classifier = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(1), nn.Linear({features}, {classes}))""",
    ("squeezenet1_1", True): """network = squeezenet1_1()
    network.classifier = nn.Sequential(MeanAndMaximum(), nn.Flatten(1), nn.Linear({features}, {classes}))""",
}
HEADS = {"resnet50": "fc", "densenet121": "classifier", "squeezenet1_1": "classifier.2"}  # the last linear layer
LOADER = '''"""Loads this network with torch, {library} and safetensors alone.

    network = load()                                # float [N, 3, {side}, {side}] to logits [N, {classes}]
    rows = probabilities(network, drawings)         # uint8 [N, {side}, {side}] to float [N, {classes}]
"""

import json
{imports}

FOLDER = Path(__file__).parent
MODEL = json.loads((FOLDER / "model.json").read_text(encoding="utf-8"))


{part}


def load():
    """The network, ready for evaluation."""
    {lines}
    network.load_state_dict(load_file(FOLDER / "weights.safetensors"))
    return network.eval()


def probabilities(network, drawings):
    """Of drawings with paper and ink as model.json says; columns in the order of its class_names."""
    mean = torch.tensor(MODEL["mean"]).view(1, 3, 1, 1)
    deviation = torch.tensor(MODEL["standard_deviation"]).view(1, 3, 1, 1)
    inputs = (drawings[:, None].float() / 255 - mean) / deviation
    with torch.inference_mode():
        return network(inputs).softmax(dim=1)
'''
IMPORTS = """from collections import OrderedDict
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn
from torchvision.models import {name}"""
MEAN_AND_MAXIMUM = '''class MeanAndMaximum(nn.Module):
    """Mean and maximum of each map: [N, C, h, w] to [N, 2C, 1, 1]."""

    def forward(self, maps):
        return torch.cat([maps.mean((2, 3), keepdim=True), maps.amax((2, 3), keepdim=True)], dim=1)'''


def export_torchvision(model: Classifier, folder: Path) -> float:
    """Write weights, model.json and load.py, and return the largest difference of a probability to ours.

    The head's normalisation and the temperature are in its last layer. Raises ValueError for another network, and when
    load.py gives other probabilities.
    """
    check_known(model, "torchvision", HEADS)
    weight, bias = fold_head(model)
    name, has_maximum = model.architecture, uses_maximum(model)
    with replace_folder(folder) as new_folder:
        return write_loader(
            model,
            new_folder,
            tensors_of(model, HEADS[name], weight, bias),
            library="torchvision",
            imports=IMPORTS.format(name=name),
            part=MEAN_AND_MAXIMUM,
            lines=CHANGES[name, has_maximum].format(classes=len(model.class_names), features=weight.shape[1]),
        )


def write_loader(model: Classifier, folder: Path, tensors: dict[str, Tensor], **parts: str) -> float:
    """Write weights, model.json and load.py of these parts; return the largest difference of a probability to ours."""
    write_tensors(tensors, folder / RUN_WEIGHTS)
    write_json(folder / "model.json", describe(model))
    write_text(folder / "load.py", LOADER.format(side=model.image_px, classes=len(model.class_names), **parts))
    loaded = runpy.run_path(str(folder / "load.py"))
    network = loaded["load"]()
    return check_same(model, lambda drawings: loaded["probabilities"](network, drawings))


def check_known(model: Classifier, library: str, known: "Collection[str]", *, also: str = "") -> None:
    """Raises ValueError for a network that the library does not have. also: what else it has, for the message."""
    if model.architecture not in known:
        names = ", ".join(filter(None, [*known, also]))
        raise ValueError(f"--to {library} is only for {names}, got a run of {model.architecture}: --to onnx writes any")


def uses_maximum(model: Classifier) -> bool:
    """Whether its head takes the maximum of each map beside the mean."""
    pooling = describe_network(model).pooling
    return pooling is not None and isinstance(model.network.get_submodule(pooling), AverageMaxPool)


def fold_head(model: Classifier) -> tuple[Tensor, Tensor]:
    """The one linear layer that does what normalisation, linear layer and temperature do: weight, bias, float32."""
    layers = list(model.network.get_submodule(describe_network(model).head).children())
    (linear,) = (layer for layer in layers if isinstance(layer, nn.Linear))
    weight, bias = linear.weight.detach().cpu().double(), linear.bias.detach().cpu().double()
    for norm in (layer for layer in layers if isinstance(layer, nn.BatchNorm1d)):
        assert norm.running_var is not None
        assert norm.running_mean is not None
        scale = norm.weight.detach().cpu().double() / (norm.running_var.cpu().double() + norm.eps).sqrt()
        bias = bias + weight @ (norm.bias.detach().cpu().double() - norm.running_mean.cpu().double() * scale)
        weight = weight * scale
    return (weight / model.temperature).float(), (bias / model.temperature).float()


def tensors_of(model: Classifier, head: str, weight: Tensor, bias: Tensor) -> dict[str, Tensor]:
    """The network's tensors by their names, with another head."""
    old = describe_network(model).head + "."
    tensors = {name: t.detach().cpu().contiguous() for name, t in model.network.state_dict().items()}
    kept = {name: tensor for name, tensor in tensors.items() if not name.startswith(old)}
    return kept | {f"{head}.weight": weight, f"{head}.bias": bias}


def write_tensors(tensors: dict[str, Tensor], file: Path) -> None:
    """Write them as a library that knows PyTorch's files expects them."""
    file.write_bytes(save(tensors, metadata={"format": "pt"}))


def describe_network(model: Classifier) -> Architecture:
    """The architecture of the network, at the size of its drawings."""
    return known_architecture(model.architecture, model.image_px)


def describe(model: Classifier) -> "dict[str, object]":
    """The facts, besides the tensors, that are needed to use them."""
    mean, deviation = input_statistics(describe_network(model), model.pretrained)
    return {
        "architecture": model.architecture,
        "class_names": model.class_names,
        "image_px": model.image_px,
        "paper_and_ink": [0, 255] if model.invert else [255, 0],
        "divided_by": 255,
        "mean": list(mean),
        "standard_deviation": list(deviation),
        "temperature": "in the last layer",
    }


def check_same(model: Classifier, classify: "Callable[[Tensor], Tensor]") -> float:
    """The largest difference of a probability on some doodles. Raises ValueError above the tolerance."""
    drawings = check_images(model.image_px)
    drawings = drawings if model.invert else 255 - drawings
    ours = model.compute_probabilities(drawings)
    difference = float(np.abs(classify(torch.from_numpy(drawings)).numpy() - ours).max())
    if not difference <= TOLERANCE:
        raise ValueError(f"the exported network differs by {difference:.2g} in a probability, more than {TOLERANCE:g}")
    return difference

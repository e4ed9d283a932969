"""Writes a network for plain torchvision or plain timm: their names and shapes, nothing of this program needed."""

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
from tune_sketch.trainables.networks.find_weights import RUN_WEIGHTS
from tune_sketch.trainables.networks.heads import AverageMaxPool
from tune_sketch.trainables.networks.registry import known_architecture

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

TOLERANCE = 1e-4  # of a probability
TIMM_WEIGHTS = "model.safetensors"  # the name under which timm looks
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
LOADER = '''"""Loads this network with torch, torchvision and safetensors alone.

    network = load()                                # float [N, 3, {side}, {side}] to logits [N, {classes}]
    rows = probabilities(network, drawings)         # uint8 [N, {side}, {side}] to float [N, {classes}]
"""

import json
from collections import OrderedDict
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn
from torchvision.models import {name}

FOLDER = Path(__file__).parent
MODEL = json.loads((FOLDER / "model.json").read_text(encoding="utf-8"))


class MeanAndMaximum(nn.Module):
    """Mean and maximum of each map: [N, C, h, w] to [N, 2C, 1, 1]."""

    def forward(self, maps):
        return torch.cat([maps.mean((2, 3), keepdim=True), maps.amax((2, 3), keepdim=True)], dim=1)


def load():
    """The network, ready for evaluation."""
    {changes}
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


def export_torchvision(model: Classifier, folder: Path) -> float:
    """Write weights, model.json and load.py, and return the largest difference of a probability to ours.

    The head's normalisation and the temperature are in its last layer. Raises ValueError for another network, and when
    load.py gives other probabilities.
    """
    check_known(model, "torchvision", HEADS)
    weight, bias = fold_head(model)
    name, has_maximum = model.architecture, uses_maximum(model)
    numbers = {"classes": len(model.class_names), "features": weight.shape[1], "side": model.image_px}
    with replace_folder(folder) as new_folder:
        save_tensors(model, HEADS[name], weight, bias, new_folder / RUN_WEIGHTS)
        write_json(new_folder / "model.json", describe(model))
        changes = CHANGES[name, has_maximum].format(**numbers)
        write_text(new_folder / "load.py", LOADER.format(name=name, changes=changes, **numbers))
        loaded = runpy.run_path(str(new_folder / "load.py"))
        network = loaded["load"]()
        return check_same(model, lambda drawings: loaded["probabilities"](network, drawings))


def export_timm(model: Classifier, folder: Path) -> float:
    """Write a folder for `timm.create_model("local-dir:FOLDER", pretrained=True)`; return as `export_torchvision`."""
    check_known(model, "timm", ("resnet50", "densenet121"))
    import timm  # three seconds, which --to torchvision need not wait for

    weight, bias = fold_head(model)
    told = describe(model)
    with replace_folder(folder) as new_folder:
        save_tensors(model, HEADS[model.architecture], weight, bias, new_folder / TIMM_WEIGHTS)
        write_json(
            new_folder / "config.json",
            {
                "architecture": model.architecture,
                "num_classes": len(model.class_names),
                "num_features": weight.shape[1],
                "model_args": {"global_pool": "catavgmax" if uses_maximum(model) else "avg"},
                "label_names": model.class_names,
                "pretrained_cfg": {
                    "input_size": [3, model.image_px, model.image_px],
                    "fixed_input_size": False,
                    "mean": told["mean"],
                    "std": told["standard_deviation"],
                    "crop_pct": 1.0,
                    "num_classes": len(model.class_names),
                },
                "paper_and_ink": told["paper_and_ink"],
            },
        )
        network = timm.create_model(f"local-dir:{new_folder}", pretrained=True).eval()
        mean, deviation = (torch.tensor(told[key]).view(1, 3, 1, 1) for key in ("mean", "standard_deviation"))

        def classify(drawings: Tensor) -> Tensor:
            with torch.inference_mode():
                logits: Tensor = network((drawings[:, None].float() / 255 - mean) / deviation)
            return logits.softmax(dim=1)

        return check_same(model, classify)


def check_known(model: Classifier, library: str, known: "Collection[str]") -> None:
    """Raises ValueError for a network that the library does not have."""
    if model.architecture not in known:
        raise ValueError(
            f"--to {library} is only for {', '.join(known)}, got a run of {model.architecture}: --to onnx writes any"
        )


def uses_maximum(model: Classifier) -> bool:
    """Whether its head takes the maximum of each map beside the mean."""
    pooling = known_architecture(model.architecture).pooling
    return pooling is not None and isinstance(model.network.get_submodule(pooling), AverageMaxPool)


def fold_head(model: Classifier) -> tuple[Tensor, Tensor]:
    """The one linear layer that does what normalisation, linear layer and temperature do: weight, bias, float32."""
    layers = list(model.network.get_submodule(known_architecture(model.architecture).head).children())
    (linear,) = (layer for layer in layers if isinstance(layer, nn.Linear))
    weight, bias = linear.weight.detach().cpu().double(), linear.bias.detach().cpu().double()
    for norm in (layer for layer in layers if isinstance(layer, nn.BatchNorm1d)):
        assert norm.running_var is not None
        assert norm.running_mean is not None
        scale = norm.weight.detach().cpu().double() / (norm.running_var.cpu().double() + norm.eps).sqrt()
        bias = bias + weight @ (norm.bias.detach().cpu().double() - norm.running_mean.cpu().double() * scale)
        weight = weight * scale
    return (weight / model.temperature).float(), (bias / model.temperature).float()


def save_tensors(model: Classifier, head: str, weight: Tensor, bias: Tensor, file: Path) -> None:
    """Write the network's tensors with another head."""
    old = known_architecture(model.architecture).head + "."
    tensors = {name: t.detach().cpu().contiguous() for name, t in model.network.state_dict().items()}
    tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith(old)}
    file.write_bytes(save(tensors | {f"{head}.weight": weight, f"{head}.bias": bias}, metadata={"format": "pt"}))


def describe(model: Classifier) -> "dict[str, object]":
    """The facts, besides the tensors, that are needed to use them."""
    mean, deviation = input_statistics(known_architecture(model.architecture), model.pretrained)
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

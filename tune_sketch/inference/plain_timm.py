"""Writes a network for plain timm: its names and shapes, nothing of this program needed."""

from collections.abc import Mapping
from pathlib import Path

import timm
import torch
from torch import Tensor, nn

from tune_sketch.inference.model import Classifier
from tune_sketch.inference.plain_networks import (
    HEADS,
    check_known,
    check_same,
    describe,
    describe_network,
    fold_head,
    tensors_of,
    uses_maximum,
    write_loader,
    write_tensors,
)
from tune_sketch.storage.files import replace_folder, write_json
from tune_sketch.trainables.networks.timm_names import PREFIX
from tune_sketch.trainables.networks.timm_networks import WithMaxima, as_maps, create_body

OURS = ("resnet50", "densenet121")  # whose names and layers are timm's own
TIMM_WEIGHTS = "model.safetensors"  # the name under which timm looks
IMPORTS = """from pathlib import Path

import timm
import torch
from safetensors.torch import load_file
from torch import nn"""
NETWORK = '''class Network(nn.Module):
    """timm's network up to its classifier, and a linear layer."""

    def __init__(self):
        super().__init__()
        self.body = timm.create_model("{name}", num_classes=0{size})
        self.head = nn.Linear({features}, {classes})

    def forward(self, images):
        features = self.body.forward_features(images)
        pooled = self.body.forward_head(features, pre_logits=True)
        return self.head({pooled})'''


def export_timm(model: Classifier, folder: Path) -> float:
    """Write a folder for `timm.create_model("local-dir:FOLDER", pretrained=True)`; return as `export_torchvision`.

    Of a network of timm that pools by more than timm does, or that timm ends in more than a linear layer, write
    weights, model.json and load.py. Raises ValueError as `export_torchvision`.
    """
    is_timms = model.architecture.startswith(PREFIX)
    if not is_timms:
        check_known(model, "timm", OURS, also=f"{PREFIX}NAME")
    weight, bias = fold_head(model)
    with replace_folder(folder) as new_folder:
        if not is_timms:
            pooling = {"global_pool": "catavgmax" if uses_maximum(model) else "avg"}
            tensors = tensors_of(model, HEADS[model.architecture], weight, bias)
            return write_for_timm(model, new_folder, tensors, model.architecture, pooling)
        own = model.architecture.removeprefix(PREFIX)
        fixed = describe_network(model).fixed_image_px
        size = {"img_size": fixed} if fixed is not None else {}
        classifier = linear_classifier(model, own, weight.shape[1])
        if classifier is not None:
            tensors = tensors_of(model, f"body.{classifier}", weight, bias)
            tensors = {name.removeprefix("body."): tensor for name, tensor in tensors.items()}
            return write_for_timm(model, new_folder, tensors, own.split(".")[0], size)
        part = NETWORK.format(
            name=own,
            size=f", img_size={fixed}" if size else "",
            features=weight.shape[1],
            classes=len(model.class_names),
            pooled=pooled_as_code(model),
        )
        tensors = tensors_of(model, "head", weight, bias)
        return write_loader(
            model, new_folder, tensors, library="timm", imports=IMPORTS, part=part, lines="network = Network()"
        )


def linear_classifier(model: Classifier, own: str, num_features: int) -> str | None:
    """The name of the linear layer in which timm's own network ends; None where ours ends in more, or timm's."""
    names = [name.removeprefix("body.") for name in describe_network(model).other_head]
    layer = names[0].rpartition(".")[0] if names else ""
    if names != [f"{layer}.bias", f"{layer}.weight"] or isinstance(model.network.get_submodule("pooling"), WithMaxima):
        return None
    with torch.device("meta"):
        last = create_body(own, model.image_px, num_classes=len(model.class_names)).get_submodule(layer)
    return layer if isinstance(last, nn.Linear) and last.in_features == num_features else None


def pooled_as_code(model: Classifier) -> str:
    """The input of the head, as code over `features` and `pooled`."""
    pooling = model.network.get_submodule("pooling")
    if not isinstance(pooling, WithMaxima):
        return "pooled"
    with torch.inference_mode():
        paper = torch.zeros(1, 3, model.image_px, model.image_px, device=model.device)
        features: Tensor = model.network.get_submodule("body").forward_features(paper)  # type: ignore[operator]
    if features.ndim == 3:  # tokens, after those that are no place of the drawing
        num_cells = as_maps(features, pooling.num_channels, pooling.num_prefix_tokens)[0, 0].numel()
        return f"torch.cat([pooled, features[:, {features.shape[1] - num_cells}:].amax(1)], dim=1)"
    places = (1, 2) if features.shape[1] != pooling.num_channels else (2, 3)
    return f"torch.cat([pooled, features.amax({places})], dim=1)"


def write_for_timm(
    model: Classifier, folder: Path, tensors: dict[str, Tensor], name: str, model_args: Mapping[str, object]
) -> float:
    """Write a folder that timm reads by itself; return the largest difference of a probability to ours."""
    told, side = describe(model), model.image_px
    write_tensors(tensors, folder / TIMM_WEIGHTS)
    config = {
        "architecture": name,
        "num_classes": len(model.class_names),
        "model_args": dict(model_args),
        "label_names": model.class_names,
        "pretrained_cfg": {
            "input_size": [3, side, side],
            "fixed_input_size": "img_size" in model_args,
            "mean": told["mean"],
            "std": told["standard_deviation"],
            "crop_pct": 1.0,
            "num_classes": len(model.class_names),
        },
        "paper_and_ink": told["paper_and_ink"],
    }
    write_json(folder / "config.json", config)
    network = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    mean, deviation = (torch.tensor(told[key]).view(1, 3, 1, 1) for key in ("mean", "standard_deviation"))

    def classify(drawings: Tensor) -> Tensor:
        with torch.inference_mode():
            logits: Tensor = network((drawings[:, None].float() / 255 - mean) / deviation)
        return logits.softmax(dim=1)

    return check_same(model, classify)

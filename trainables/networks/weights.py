"""Reads files of weights without running code in them, and loads them into a network that they fit."""

import pickle
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tune_sketch.data.bounds import reason_text
from tune_sketch.trainables.networks.architecture import Architecture, architecture_of


def check_weights_file(architecture: Architecture, file: Path) -> None:
    """ValueError unless a file holds all weights of a network but those of its head."""
    with torch.device("meta"):  # names and shapes alone, in milliseconds
        model = architecture.build(2, 0.0)
    match_weights(model, architecture, read_weights(file), file)


def load_weights(model: nn.Module, path: str) -> str:
    """Copy a file's weights into a model of `build_model`; return what was done, in a few words."""
    architecture = architecture_of(model)
    assert architecture is not None
    fitting, note = match_weights(model, architecture, read_weights(Path(path)), Path(path))
    model.load_state_dict(fitting, strict=False)  # match_weights has been stricter
    return note


def read_weights(file: Path) -> dict[str, Tensor]:
    """The tensors in a file by name. Nothing in the file is run: a pickle with code is a ValueError."""
    try:
        content: Any = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(f"weights: {file} holds more than tensors (code, or no torch file) and is refused") from error
    except Exception as error:  # torch's own reader of pickles raises almost anything on damaged bytes
        raise ValueError(f"weights: {file} cannot be read as a torch file: {reason_text(error)}") from error
    for key in ("model", "state_dict"):  # a whole training state
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise ValueError(f"weights: {file} must hold a dict from names to tensors")
    for name, tensor in content.items():
        if not isinstance(name, str):
            raise ValueError(f"weights: {file} must name its tensors by text, got {name!r:.40}")
        is_plain = tensor.layout == torch.strided and tensor.device.type == "cpu" and not tensor.is_quantized
        if not is_plain or tensor.is_complex():
            kind = "quantised" if tensor.is_quantized else f"{tensor.layout}, {tensor.device.type}, {tensor.dtype}"
            raise ValueError(f"weights: {file} must hold plain numbers, {name} is another kind of tensor ({kind})")
    return {modern_name(name): tensor for name, tensor in content.items()}


def modern_name(name: str) -> str:
    """torchvision's DenseNet files say norm.1 and conv.2 inside a dense layer where its network says norm1."""
    return re.sub(r"^(features\..*denselayer\d+\.(?:norm|conv|relu))\.([12]\.)", r"\1\2", name)


def match_weights(
    model: nn.Module, architecture: Architecture, weights: dict[str, Tensor], file: Path
) -> tuple[dict[str, Tensor], str]:
    """(the weights that fit, what was left out). Only the head may differ; ValueError for anything else."""
    head = architecture.head + "."
    ours = model.state_dict()
    missing, different, fitting = [], [], {}
    for name, tensor in ours.items():
        if name in weights and weights[name].shape == tensor.shape:
            fitting[name] = weights[name]
        elif name.startswith(head) or name.endswith("num_batches_tracked"):
            continue  # older files do not count batches; the head is for other classes
        elif name in weights:
            different.append(f"{name} is {list(weights[name].shape)}, must be {list(tensor.shape)}")
        else:
            missing.append(f"{name} is missing")
    unknown = [f"{name} is unknown" for name in weights if name not in ours and not name.startswith(head)]
    problems = missing + different + unknown
    for name, tensor in fitting.items():
        if tensor.is_floating_point() != ours[name].is_floating_point():
            problems.append(f"{name} is {tensor.dtype}, must be {ours[name].dtype}")
        elif not torch.isfinite(tensor).all():
            problems.append(f"{name} holds numbers that are not finite")
    if problems:
        shown = "; ".join(problems[:4]) + (f"; and {len(problems) - 4} more" if len(problems) > 4 else "")
        raise ValueError(f"weights: {file} does not fit {architecture.name}: {shown}")
    head_names = [name for name in ours if name.startswith(head)]
    if all(name in fitting for name in head_names):
        return fitting, "all weights loaded"
    for name in head_names:
        fitting.pop(name, None)  # a head is loaded whole or not at all
    return fitting, "all weights but the head loaded"

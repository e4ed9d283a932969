"""Reads files of weights without running code in them, and loads them into a network that they fit."""

import itertools
import json
import pickle
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tune_sketch.data.bounds import open_regular, reason_text
from tune_sketch.trainables.networks.architecture import Architecture, architecture_of

NAMED = 4  # names in an error message
TRIED = 5  # parameters by which a prefix of all names is recognised


def check_weights_file(architecture: Architecture, file: Path) -> str:
    """ValueError unless a file holds all weights of a network but those of its head. Returns a note, or nothing."""
    with torch.device("meta"):  # names and shapes alone, in milliseconds
        model = architecture.build(2, 0.0)
    _, prefix = match_weights(model, architecture, read_weights(file), file)
    return f"those under {prefix.rstrip('.')!r}" if prefix else ""


def load_weights(model: nn.Module, path: str, class_names: Sequence[str] | None = None) -> str:
    """Copy a file's weights into a model of `build_model`; return what was done, in a few words.

    The head is loaded whole or not at all: where its shape fits, and a run's head only for the same class_names.
    """
    architecture = architecture_of(model)
    assert architecture is not None
    file = Path(path)
    fitting, _ = match_weights(model, architecture, read_weights(file), file)
    names = {name for name in model.state_dict() if name.startswith(f"{architecture.head}.")}
    of_run = read_run(file)
    other_classes = of_run is not None and class_names is not None and of_run["class_names"] != list(class_names)
    if not names <= fitting.keys() or other_classes:
        fitting = {name: tensor for name, tensor in fitting.items() if name not in names}
    model.load_state_dict(fitting, strict=False)  # match_weights has been stricter
    return "all weights loaded" if names <= fitting.keys() else "all weights but the head loaded"


def read_run(file: Path) -> dict[str, Any] | None:
    """The description beside a run's weights, best/model.json; None for a file that is of no run."""
    description = file.with_name("model.json")
    if not description.is_file():
        return None
    try:
        found = json.loads(description.read_text(encoding="utf-8"))
        return {name: found[name] for name in ("architecture", "class_names", "pretrained", "invert")}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"weights: {description}, beside {file.name}, is damaged: {error}") from error


def read_weights(file: Path) -> dict[str, Tensor]:
    """The tensors in a file by name, those in nested dicts by dotted names. Nothing in the file is run.

    A torch file or a .safetensors one, which their content tells apart. ValueError for a file that is damaged, or
    holds code, or tensors without values.
    """
    with open_regular(file) as opened:
        start = opened.read(9)
    if not start:
        raise ValueError(f"weights: {file} is empty")
    is_safetensors = start[8:] == b"{"  # after the length of the header, which is JSON
    try:
        content: Any = load_safetensors(file) if is_safetensors else load_torch_file(file)
    except Exception as error:  # of a damaged pickle it may be any
        raise ValueError(
            f"weights: {file} cannot be read as weights, it is damaged, no torch or .safetensors file, or holds code, "
            f"which is refused: {reason_text(error)}"
        ) from error
    tensors = dict(flatten(content, ""))
    if not tensors:
        raise ValueError(f"weights: {file} must hold a dict from names to tensors, and holds none")
    return {modern_name(name): tensor for name, tensor in tensors.items()}


def load_safetensors(file: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors file."""
    from safetensors.torch import load_file  # only such a file needs it

    return load_file(file, device="cpu")


def load_torch_file(file: Path) -> Any:
    """A torch file's content. ValueError for more than tensors and plain values, without torch's advice to run it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Detected pickle protocol")  # no use to readers of the error that follows
        warnings.filterwarnings("ignore", ".*TypedStorage is deprecated")  # of quantised tensors
        try:
            return torch.load(file, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            found = re.search(r"GLOBAL (\S+)", str(error))
            if found is None:
                raise ValueError("its pickle is damaged, or of a kind that can run code") from error
            what = f"it holds more than tensors and plain values, {found[1]}"
            raise ValueError(f"{what}; where you trust it, save its state_dict() alone in a new file") from error


def flatten(content: Any, prefix: str) -> list[tuple[str, Tensor]]:
    """(dotted name, tensor) of every tensor in nested dicts; what else they hold is left out."""
    if isinstance(content, Tensor):
        return [(prefix, content)]
    if not isinstance(content, Mapping):
        return []
    return [
        found for key, value in content.items() for found in flatten(value, f"{prefix}.{key}" if prefix else str(key))
    ]


def modern_name(name: str) -> str:
    """torchvision's DenseNet files say norm.1 and conv.2 inside a dense layer where its network says norm1."""
    return re.sub(r"((?:^|\.)features\..*denselayer\d+\.(?:norm|conv|relu))\.([12]\.)", r"\1\2", name)


def match_weights(
    model: nn.Module, architecture: Architecture, weights: dict[str, Tensor], file: Path
) -> tuple[dict[str, Tensor], str]:
    """(the weights that fit, by our names; the prefix that they had). Only the head may differ, or be absent.

    Training programs put a network into others ("module.", "model.", "_orig_mod.", "state_dict.net."), so the names of
    all its weights may begin in the same way. What lies beside them, as the state of an optimizer, is left out.
    ValueError that names what does not fit.
    """
    ours = model.state_dict()
    bodily = [name for name in ours if not name.startswith(f"{architecture.head}.")]
    prefix, body = find_prefix(bodily, weights), ""
    if prefix is None and architecture.body:  # as its library names it
        prefix, body = (
            find_prefix([name.removeprefix(architecture.body) for name in bodily], weights),
            architecture.body,
        )
    cut = {body + name.removeprefix(prefix or ""): t for name, t in weights.items() if name.startswith(prefix or "")}
    fitting, problems = compare(ours, architecture, cut)
    if problems and architecture.convert is not None:
        converted = try_to_convert(model, architecture, cut)
        found, still = compare(ours, architecture, converted)
        if len(still) < len(problems):
            fitting, problems = found, still
    if problems:
        shown = "; ".join(problems[:NAMED]) + (f"; and {len(problems) - NAMED} more" if len(problems) > NAMED else "")
        size = f" at {architecture.fixed_image_px} px" if architecture.fixed_image_px else ""
        raise ValueError(f"weights: {file} does not fit {architecture.name}{size}: {shown}")
    for name, tensor in fitting.items():
        check_values(f"weights: {file}: {name}", tensor)
    return fitting, prefix or ""


def find_prefix(names: Sequence[str], weights: Mapping[str, Tensor]) -> str | None:
    """The prefix of our names in the file; None where none of them is there."""
    there = (name for name in names if any(f".{other}".endswith(f".{name}") for other in weights))
    tried = list(itertools.islice(there, TRIED))
    prefixes = {
        other[: len(other) - len(name)]: None for name in tried for other in weights if f".{other}".endswith(f".{name}")
    }
    hits = {prefix: sum(prefix + name in weights for name in names) for prefix in prefixes}
    return max(hits, key=lambda prefix: hits[prefix], default=None)  # the first of several


def compare(
    ours: Mapping[str, Tensor], architecture: Architecture, weights: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], list[str]]:
    """(the weights that fit, what does not fit in words). The head may be another or absent."""
    head = f"{architecture.head}."
    missing, different, fitting = [], [], {}
    for name, tensor in ours.items():
        other = weights.get(name)
        if other is not None and other.shape == tensor.shape and (is_like(other, tensor) or other.is_quantized):
            fitting[name] = other
        elif name.startswith(head) or name.endswith("num_batches_tracked"):
            continue  # older files do not count batches; the head is for other classes
        elif other is None:
            missing.append(f"{name} is missing")
        elif other.shape != tensor.shape:
            different.append(f"{name} is {list(other.shape)}, must be {list(tensor.shape)}")
        else:
            different.append(f"{name} is of {other.dtype}, must be of {tensor.dtype}")
    known = {*ours, *architecture.other_head}
    unknown = [f"{name} is unknown" for name in weights if name not in known and not name.startswith(head)]
    return fitting, missing + different + unknown


def is_like(other: Tensor, tensor: Tensor) -> bool:
    """Whether both hold real numbers, or both integers."""
    return other.is_floating_point() == tensor.is_floating_point() and other.is_complex() == tensor.is_complex()


def check_values(name: str, tensor: Tensor) -> None:
    """ValueError for a tensor whose numbers cannot be used."""
    if tensor.is_quantized:
        raise ValueError(f"{name} is quantised ({tensor.dtype}): give the weights from before")
    if tensor.is_meta:
        raise ValueError(f"{name} has a shape and no values (it was saved from torch's device 'meta')")
    if tensor.layout != torch.strided:
        raise ValueError(f"{name} is sparse: give dense weights")
    if tensor.is_floating_point() and not torch.isfinite(tensor.float()).all():
        raise ValueError(f"{name} holds values that are not finite")


def try_to_convert(model: nn.Module, architecture: Architecture, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights by the present names of the network's library; unchanged where it cannot read them."""
    assert architecture.convert is not None
    try:
        converted = architecture.convert({n.removeprefix(architecture.body): t for n, t in weights.items()}, model)
    except (KeyError, RuntimeError, ValueError, TypeError, AttributeError, IndexError, AssertionError):
        return weights  # compared as they are, the message names what does not fit
    return {architecture.body + name: tensor for name, tensor in converted.items()}

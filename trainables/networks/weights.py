"""Finds, checks and loads the weights that a training starts from: ImageNet's, a file's, or none."""

import hashlib
import http.client
import os
import pickle
import re
import sys
import threading
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tune_sketch.trainables.networks.architecture import Architecture, known_architecture

CHOICES = ("auto", "imagenet", "none")  # anything else is a path
CONNECT_SECONDS = 8.0  # without a network the search must not wait longer than this
STALL_SECONDS = 8.0  # longest silence in the middle of a download


@dataclass(frozen=True)
class ResolvedWeights:
    """path: a file for `build_model`, or None for new weights. pretrained: for `fit`, normalisation and spaces.

    description: one line for the screen, the records and the report.
    """

    path: str | None
    description: str
    pretrained: bool


def resolve_weights(model: str, choice: str) -> ResolvedWeights:
    """Decide once, before the trials, where the weights of `model` come from.

    "none": new weights. "imagenet": torchvision's, from torch's cache or downloaded into it; ValueError if
    they cannot be had. "auto": the same, but new weights if they cannot be had (the description says why).
    Else the path of a file of weights, checked here against the network's names and shapes.
    """
    architecture = known_architecture(model)
    if choice == "none":
        return ResolvedWeights(None, f"{model}: trained from scratch, as asked", False)
    if choice not in CHOICES:
        return resolve_file(architecture, choice)
    if architecture.imagenet is None:
        if choice == "imagenet":
            raise ValueError(f"weights: there are no ImageNet weights for {model}; use 'auto', 'none' or a path")
        return ResolvedWeights(None, f"{model}: trained from scratch, it has no ImageNet weights", False)
    try:
        path = find_imagenet_file(architecture.imagenet)
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = f"ImageNet weights could not be had ({error})"
        if choice == "imagenet":
            raise ValueError(f"weights: {model}: {reason}; use 'auto', 'none' or a path") from error
        return ResolvedWeights(None, f"{model}: trained FROM SCRATCH, because {reason}", False)
    return ResolvedWeights(str(path), f"{model}: ImageNet weights {architecture.imagenet} ({path.name})", True)


def resolve_file(architecture: Architecture, path: str) -> ResolvedWeights:
    """Check a user's file against the network without keeping it."""
    file = Path(path).expanduser()
    if not file.is_file():
        raise ValueError(f"weights must be one of {', '.join(CHOICES)} or an existing file, got {path!r}")
    with torch.device("meta"):  # names and shapes alone, in milliseconds
        model = architecture.build(2, 0.0)
    match_weights(model, architecture, read_weights(file), file)
    # Whether the head fits depends on the number of classes, which only the trial knows.
    text = f"{architecture.name}: weights of {file} (its head only where the number of classes is the same"
    text += "; drawings normalised as for ImageNet)" if architecture.imagenet else ")"
    return ResolvedWeights(str(file.resolve()), text, True)


def load_weights(model: nn.Module, path: str) -> str:
    """Copy a file's weights into a model of `build_model`; return what was done, in a few words."""
    architecture = model.architecture
    assert isinstance(architecture, Architecture)
    fitting, note = match_weights(model, architecture, read_weights(Path(path)), Path(path))
    model.load_state_dict(fitting, strict=False)  # match_weights has been stricter
    return note


def read_weights(file: Path) -> dict[str, Tensor]:
    """The tensors in a file by name. Nothing in the file is run: a pickle with code is a ValueError."""
    try:
        content: Any = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(f"weights: {file} holds more than tensors (code, or no torch file) and is refused") from error
    except (RuntimeError, EOFError, OSError) as error:
        raise ValueError(f"weights: {file} cannot be read as a torch file: {error}") from error
    for key in ("model", "state_dict"):  # a whole training state
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise ValueError(f"weights: {file} must hold a dict from names to tensors")
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
    if problems:
        shown = "; ".join(problems[:4]) + (f"; and {len(problems) - 4} more" if len(problems) > 4 else "")
        raise ValueError(f"weights: {file} does not fit {architecture.name}: {shown}")
    head_names = [name for name in ours if name.startswith(head)]
    if all(name in fitting for name in head_names):
        return fitting, "all weights loaded"
    for name in head_names:
        fitting.pop(name, None)  # a head is loaded whole or not at all
    return fitting, "all weights but the head loaded"


def find_imagenet_file(weights_name: str) -> Path:
    """torchvision's weights file in torch's cache, downloaded if it is not there or damaged.

    The file's name ends in the first digits of its sha256, which is checked, in the cache too.
    Raises OSError or HTTPException when it cannot be downloaded, ValueError for a wrong hash.
    """
    url = imagenet_url(weights_name)
    file = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[1]
    digits = re.search(r"-([0-9a-f]{8,})\.", file.name)
    assert digits is not None
    if file.is_file():
        with file.open("rb") as opened:
            if hashlib.file_digest(opened, "sha256").hexdigest().startswith(digits[1]):
                return file
    file.parent.mkdir(parents=True, exist_ok=True)
    download(url, file, sha256_starts=digits[1])
    return file


def imagenet_url(weights_name: str) -> str:
    import torchvision

    return torchvision.models.get_weight(weights_name).url


def download(url: str, file: Path, *, sha256_starts: str) -> None:
    """Fetch a URL into a file, which appears whole and checked or not at all."""
    part = file.with_name(f"{file.name}.{os.getpid()}.part")
    digest = hashlib.sha256()
    try:
        with open_url(url) as response, part.open("wb") as out:
            print(f"downloading {url}", file=sys.stderr)
            while block := response.read(1 << 20):
                digest.update(block)
                out.write(block)
        if not digest.hexdigest().startswith(sha256_starts):
            raise ValueError(f"{url}: the sha256 must start with {sha256_starts}, got {digest.hexdigest()}")
        os.replace(part, file)
    finally:
        part.unlink(missing_ok=True)


def open_url(url: str) -> Any:
    """The open response, or TimeoutError after CONNECT_SECONDS at most.

    In a thread, because looking up a name without a network can hang for minutes and knows no timeout.
    """
    result: list[Any] = []

    def connect() -> None:
        try:
            result.append(urllib.request.urlopen(url, timeout=STALL_SECONDS))
        except (OSError, http.client.HTTPException) as error:
            result.append(error)

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(CONNECT_SECONDS)
    if not result:
        raise TimeoutError(f"{url}: no answer within {CONNECT_SECONDS:.0f} s")
    if isinstance(result[0], Exception):
        raise result[0]
    return result[0]

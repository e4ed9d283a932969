"""Finds the weights that a training starts from: ImageNet's, a file's, or none. Torch waits until it is needed."""

import contextlib
import hashlib
import http.client
import os
import re
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tune_sketch.trainables.networks.architecture import Architecture, ImageNetWeights
from tune_sketch.trainables.networks.registry import known_architecture

CHOICES = ("auto", "imagenet", "none")  # anything else is a path
SILENCE_SECONDS = 8.0  # the longest that a server may say nothing: a search without a network waits no longer


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
    Else the path of a file of weights, checked here against the network's names and shapes. Only a download and
    such a check import torch.
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
    return ResolvedWeights(str(path), f"{model}: ImageNet weights {architecture.imagenet.name} ({path.name})", True)


def resolve_file(architecture: Architecture, path: str) -> ResolvedWeights:
    """Check a user's file against the network without keeping it."""
    file = Path(path)
    if not file.is_file():
        raise ValueError(f"weights must be one of {', '.join(CHOICES)} or an existing file, got {path!r}")
    from tune_sketch.trainables.networks.weights import check_weights_file

    check_weights_file(architecture, file)
    # Whether the head fits depends on the number of classes, which only the trial knows.
    text = f"{architecture.name}: weights of {file} (its head only where the number of classes is the same"
    text += "; drawings normalised as for ImageNet)" if architecture.imagenet else ")"
    return ResolvedWeights(str(file.resolve()), text, True)


def find_imagenet_file(weights: ImageNetWeights) -> Path:
    """torchvision's weights file in torch's cache, downloaded if it is not there or damaged.

    The first digits of its SHA-256, in which the file's name ends, are checked, in the cache too.
    Raises OSError or HTTPException when it cannot be downloaded, ValueError for a wrong hash.
    """
    file = torch_cache_dir() / weights.url.rsplit("/", 1)[1]
    digits = re.search(r"-([0-9a-f]{8,})\.", file.name)
    assert digits is not None
    if file.is_file():
        with file.open("rb") as opened:
            if hashlib.file_digest(opened, "sha256").hexdigest().startswith(digits[1]):
                return file
    file.parent.mkdir(parents=True, exist_ok=True)
    download(weights.url, file, sha256_starts=digits[1])
    return file


def torch_cache_dir() -> Path:
    """The folder in which torch.hub and torchvision keep downloaded weights."""
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    try:
        return Path(os.environ.get("TORCH_HOME", f"{cache}/torch")).expanduser() / "hub" / "checkpoints"
    except RuntimeError as error:
        raise OSError(f"{error}: set TORCH_HOME to a folder for them") from None


def download(url: str, file: Path, *, sha256_starts: str) -> None:
    """Fetch a URL into a file, which appears whole and checked or not at all."""
    from torch.hub import download_url_to_file

    print(f"downloading {url}", file=sys.stderr)
    try:
        with socket_timeout(SILENCE_SECONDS):
            download_url_to_file(url, str(file), hash_prefix=sha256_starts, progress=False)
    except RuntimeError as error:
        raise ValueError(f"{url}: the sha256 must start with {sha256_starts}: {error}") from error


@contextlib.contextmanager
def socket_timeout(seconds: float) -> Iterator[None]:
    """Let no new socket of this process wait longer, as torch's download sets no timeout of its own."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)

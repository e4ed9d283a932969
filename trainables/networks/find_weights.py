"""Finds the weights that a training starts from: ImageNet's, a file's, or none. Torch waits until it is needed."""

import contextlib
import hashlib
import http.client
import os
import re
import socket
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tune_sketch.trainables.networks.architecture import Architecture, HubWeights, ImageNetWeights
from tune_sketch.trainables.networks.registry import known_architecture

CHOICES = ("auto", "imagenet", "none")  # anything else is a path
RUN_WEIGHTS = "weights.safetensors"  # in a run's best/
SILENCE_SECONDS = 8.0  # the longest that a server may say nothing: a search without a network waits no longer


@dataclass(frozen=True)
class ResolvedWeights:
    """path: a file for `build_model`, or None for new weights. pretrained: there are weights, for the search spaces.

    description: one line for the screen, the records and the report. scaled_as_new: the drawings are to be normalised
    as for new weights all the same, because these are of a run that began with such.
    """

    path: str | None
    description: str
    pretrained: bool
    scaled_as_new: bool = False


def resolve_weights(model: str, choice: str, image_px: int | None = None) -> ResolvedWeights:
    """Decide once, before the trials, where the weights of `model` come from.

    "none": new weights. "imagenet": the published ones, torchvision's or timm's, from the cache of torch or of the
    Hugging Face Hub or downloaded into it; ValueError if they cannot be had. "auto": the same, but new weights if they
    cannot be had (the description says why). Else the path of a file of weights or of an earlier run, checked here
    against the network's names and shapes. Only a download, such a check and a network of timm import torch.
    """
    architecture = known_architecture(model, image_px)
    if choice == "none":
        return ResolvedWeights(None, f"{model}: trained from scratch, as asked", False)
    if choice not in CHOICES:
        return resolve_path(architecture, Path(choice))
    if architecture.imagenet is None:
        if choice == "imagenet":
            raise ValueError(f"weights: there are no ImageNet weights for {model}; use 'auto', 'none' or a path")
        return ResolvedWeights(None, f"{model}: trained from scratch, it has no ImageNet weights", False)
    try:
        path = find_published_file(architecture.imagenet)
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = f"ImageNet weights could not be had ({error})"
        if choice == "imagenet":
            raise ValueError(f"weights: {model}: {reason}; use 'auto', 'none' or a path") from error
        return ResolvedWeights(None, f"{model}: trained FROM SCRATCH, because {reason}", False)
    if architecture.body:  # another library's: only now is it known that they fit
        from tune_sketch.trainables.networks.weights import check_weights_file

        check_weights_file(architecture, path)
    kind = "published" if architecture.body else "ImageNet"
    return ResolvedWeights(str(path), f"{model}: {kind} weights {architecture.imagenet.name} ({path.name})", True)


def weights_file_of(best: Path) -> Path:
    """The weights in a run's best/; of an earlier version in torch's own format."""
    older = best / "weights.pt"
    return older if older.is_file() and not (best / RUN_WEIGHTS).is_file() else best / RUN_WEIGHTS


def resolve_path(architecture: Architecture, path: Path) -> ResolvedWeights:
    """Check a user's file, or the network that a run has chosen, against the network without keeping it."""
    is_run = (path / "search.json").is_file()
    file = weights_file_of(path / "best") if is_run else path
    if is_run and not file.is_file():
        raise ValueError(f"weights: {path} has no network yet: its search or its retraining has not ended")
    if not file.is_file():
        raise ValueError(
            f"weights must be one of {', '.join(CHOICES)} or an existing file or run directory, got {str(path)!r}"
        )
    from tune_sketch.trainables.networks.weights import check_weights_file, read_run

    of_run = read_run(file)
    if of_run is not None and of_run["architecture"] != architecture.name:
        raise ValueError(f"weights: {path} is a run of {of_run['architecture']}, and {architecture.name} was asked for")
    note = check_weights_file(architecture, file)
    scaled_as_new = of_run is not None and architecture.normalisation is not None and not of_run["pretrained"]
    # Whether the head fits depends on the classes, which only the trial knows.
    what = "the number of classes is" if of_run is None else "the classes are"
    notes = [note, f"its head only where {what} the same"]
    if scaled_as_new:
        notes.append("drawings scaled as in that run, for it began with new weights")
    elif architecture.normalisation is not None:
        notes.append(
            "drawings normalised as for ImageNet" if not architecture.body else "drawings normalised as timm's"
        )
    if of_run is not None and not of_run["invert"]:
        notes.append("that run learned from dark ink on light paper: --no-invert")
    text = f"{architecture.name}: weights of {path} ({'; '.join(filter(None, notes))})"
    return ResolvedWeights(str(file.resolve()), text, True, scaled_as_new)


def find_published_file(weights: ImageNetWeights | HubWeights) -> Path:
    """The file with a library's weights. Raises OSError, HTTPException or ValueError where it cannot be had."""
    return find_hub_file(weights) if isinstance(weights, HubWeights) else find_imagenet_file(weights)


def find_hub_file(weights: HubWeights) -> Path:
    """A file in the cache of the Hugging Face Hub, downloaded if it is not there or damaged.

    Where the cache names it by its SHA-256, that is checked. Raises OSError when it cannot be downloaded.
    """
    from huggingface_hub import hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    repository, _, revision = weights.repository.partition("@")
    for name in weights.files:
        cached = try_to_load_from_cache(repository, name, revision=revision or None)
        if isinstance(cached, str) and is_whole(Path(cached)):
            return Path(cached)
    reach_hub()
    print(f"downloading {weights.name} from the Hugging Face Hub", file=sys.stderr)
    for name in weights.files:
        try:
            with socket_timeout(SILENCE_SECONDS):
                is_damaged = isinstance(try_to_load_from_cache(repository, name, revision=revision or None), str)
                return Path(
                    hf_hub_download(
                        repository,
                        name,
                        revision=revision or None,
                        etag_timeout=SILENCE_SECONDS,
                        force_download=is_damaged,
                    )
                )
        except LocalEntryNotFoundError as error:  # the server cannot be reached
            raise OSError(f"the Hugging Face Hub could not be reached for {repository}") from error
        except EntryNotFoundError:
            continue  # the next kind of file
        except OSError as error:
            raise OSError(f"{repository}: {(str(error).strip().splitlines() or [type(error).__name__])[0]}") from error
    raise OSError(f"{repository} holds none of {', '.join(weights.files)}")


def reach_hub() -> None:
    """OSError within seconds where the hub cannot be reached, for its own library tries for most of a minute.

    Behind a proxy that library alone knows the way.
    """
    import huggingface_hub.constants

    address = urllib.parse.urlsplit(huggingface_hub.constants.ENDPOINT)
    if address.hostname is None or urllib.request.getproxies() or huggingface_hub.constants.HF_HUB_OFFLINE:
        return
    port = address.port or (80 if address.scheme == "http" else 443)
    try:
        socket.create_connection((address.hostname, port), timeout=SILENCE_SECONDS).close()
    except OSError as error:
        raise OSError(f"the Hugging Face Hub at {address.hostname} could not be reached: {error}") from error


def is_whole(file: Path) -> bool:
    """Whether a cached file's content is what its name says, where that is a SHA-256."""
    digest = file.resolve().name
    if re.fullmatch(r"[0-9a-f]{64}", digest) is None:
        return True
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest() == digest


def find_imagenet_file(weights: ImageNetWeights) -> Path:
    """A published file of weights in torch's cache, downloaded if it is not there or damaged.

    The first digits of its SHA-256, in which the file's name ends, are checked, in the cache too. Some of timm's have
    a name without.
    Raises OSError or HTTPException when it cannot be downloaded, ValueError for a wrong hash.
    """
    file = torch_cache_dir() / weights.url.rsplit("/", 1)[1]
    digits = re.search(r"-([0-9a-f]{8,})\.", file.name)
    starts = digits[1] if digits is not None else ""
    if file.is_file():
        with file.open("rb") as opened:
            if hashlib.file_digest(opened, "sha256").hexdigest().startswith(starts):
                return file
    file.parent.mkdir(parents=True, exist_ok=True)
    download(weights.url, file, sha256_starts=starts)
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
            download_url_to_file(url, str(file), hash_prefix=sha256_starts or None, progress=False)
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

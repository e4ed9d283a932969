"""Weights: what is found, what fits, what is refused; no network is touched."""

import argparse
import hashlib
import os
import pickle
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision

from tests.support.damage import RunsCode
from tune_sketch.trainables.networks import find_weights
from tune_sketch.trainables.networks.architecture import ImageNetWeights
from tune_sketch.trainables.networks.build import build_model
from tune_sketch.trainables.networks.find_weights import resolve_weights, torch_cache_dir
from tune_sketch.trainables.networks.registry import ARCHITECTURES
from tune_sketch.trainables.networks.weights import load_weights, modern_name


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """torch's cache in an empty folder."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "torch" / "hub" / "checkpoints"


@pytest.fixture
def publish_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Say where SqueezeNet's weights are published."""

    def publish(url: str) -> None:
        weights = ImageNetWeights("SqueezeNet1_1_Weights.IMAGENET1K_V1", url)
        architecture = replace(ARCHITECTURES["squeezenet1_1"], imagenet=weights)
        monkeypatch.setitem(ARCHITECTURES, "squeezenet1_1", architecture)

    return publish


def published(folder: Path, content: bytes) -> Path:
    """A file named as torchvision names its own, with the start of its hash."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"squeezenet1_1-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    file.write_bytes(content)
    return file


def imagenet_like_file(folder: Path) -> Path:
    """SqueezeNet weights as torchvision publishes them: 1,000 classes, another head."""
    torch.manual_seed(3)
    state = build_model("squeezenet1_1", 1000).state_dict()
    state["classifier.1.weight"] = state.pop("classifier.linear.weight")[:, :, None, None]
    state["classifier.1.bias"] = state.pop("classifier.linear.bias")
    torch.save(state, folder / "file.pth")
    return published(folder / "published", (folder / "file.pth").read_bytes())


def test_none_is_from_scratch() -> None:
    resolved = resolve_weights("resnet50", "none")
    assert resolved.path is None
    assert not resolved.pretrained
    assert "from scratch" in resolved.description


def test_a_network_without_imagenet_weights() -> None:
    assert not resolve_weights("baseline", "auto").pretrained
    with pytest.raises(ValueError, match="no ImageNet weights for baseline"):
        resolve_weights("baseline", "imagenet")


def test_torchvision_knows_every_weights_name() -> None:
    for architecture in ARCHITECTURES.values():
        if architecture.imagenet is not None:
            assert architecture.imagenet.url == torchvision.models.get_weight(architecture.imagenet.name).url


def test_unreachable_server(cache: Path, publish_at: Callable[[str], None]) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/squeezenet1_1-12345678.pth"
    publish_at(url)
    resolved = resolve_weights("squeezenet1_1", "auto")
    assert (resolved.path, resolved.pretrained) == (None, False)
    assert "FROM SCRATCH, because ImageNet weights could not be had" in resolved.description
    with pytest.raises(ValueError, match=r"squeezenet1_1: ImageNet weights could not be had.*'none' or a path"):
        resolve_weights("squeezenet1_1", "imagenet")


def test_a_silent_server_costs_seconds_not_minutes(
    cache: Path, publish_at: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_weights.SILENCE_SECONDS <= 8
    monkeypatch.setattr(find_weights, "SILENCE_SECONDS", 0.3)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/squeezenet1_1-12345678.pth"
        publish_at(url)
        start = time.perf_counter()
        assert not resolve_weights("squeezenet1_1", "auto").pretrained
        assert time.perf_counter() - start < 3
    assert socket.getdefaulttimeout() is None, "as it was"
    assert list(cache.iterdir()) == []


def test_a_download_that_breaks_off_leaves_no_file(cache: Path, publish_at: Callable[[str], None]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly the beginning")

        thread = threading.Thread(target=answer)
        thread.start()
        publish_at(f"http://127.0.0.1:{server.getsockname()[1]}/squeezenet1_1-12345678.pth")
        resolved = resolve_weights("squeezenet1_1", "auto")
        thread.join()
    assert not resolved.pretrained
    assert list(cache.iterdir()) == []


def test_the_cache_is_torchs(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert torch_cache_dir() == Path(torch.hub.get_dir()) / "checkpoints" == cache
    monkeypatch.delenv("TORCH_HOME")
    assert torch_cache_dir() == Path(torch.hub.get_dir()) / "checkpoints"


def test_the_driver_finds_weights_without_torch(tmp_path: Path) -> None:
    """Neither "none" nor a file in the cache needs it, nor do the descriptions of all networks."""
    file = published(tmp_path / "torch" / "hub" / "checkpoints", b"weights")
    code = f"""
import sys
from dataclasses import replace
from tune_sketch.trainables.networks.architecture import ImageNetWeights
from tune_sketch.trainables.networks.find_weights import resolve_weights
from tune_sketch.trainables.networks.registry import ARCHITECTURES

assert all(architecture.min_image_px <= 32 for architecture in ARCHITECTURES.values())
assert not resolve_weights("resnet50", "none").pretrained
weights = ImageNetWeights("any", "https://nowhere.invalid/{file.name}")
ARCHITECTURES["squeezenet1_1"] = replace(ARCHITECTURES["squeezenet1_1"], imagenet=weights)
assert resolve_weights("squeezenet1_1", "imagenet").path == {str(file)!r}
print([name for name in ("torch", "torchvision", "ray") if name in sys.modules])
"""
    environment = os.environ | {"TORCH_HOME": str(tmp_path / "torch")}
    answer = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
        env=environment,
    )
    assert answer.stdout.strip() == "[]"


def test_download_then_cache_then_a_damaged_cache(
    cache: Path, tmp_path: Path, publish_at: Callable[[str], None]
) -> None:
    source = imagenet_like_file(tmp_path)
    publish_at(source.as_uri())
    first = resolve_weights("squeezenet1_1", "auto")
    assert first.pretrained
    assert first.path == str(cache / source.name)
    content = source.read_bytes()
    source.write_bytes(b"gone")  # now the cache must do
    assert resolve_weights("squeezenet1_1", "imagenet") == first
    model = build_model("squeezenet1_1", 7, weights_path=first.path)
    expected = torch.load(first.path, weights_only=True)["features.0.weight"]
    assert torch.equal(model.state_dict()["features.0.weight"], expected)
    source.write_bytes(content)
    (cache / source.name).write_bytes(content[:-1] + b"x")  # a damaged cache is fetched again
    assert resolve_weights("squeezenet1_1", "auto").pretrained
    assert (cache / source.name).read_bytes() == content


def test_a_wrong_hash_is_not_kept(cache: Path, tmp_path: Path, publish_at: Callable[[str], None]) -> None:
    file = tmp_path / "squeezenet1_1-00000000.pth"
    file.write_bytes(b"something else")
    publish_at(file.as_uri())
    with pytest.raises(ValueError, match="sha256 must start with 00000000"):
        resolve_weights("squeezenet1_1", "imagenet")
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_file_of_our_own(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    trained = build_model(name, 5)
    file = tmp_path / "weights.pt"
    torch.save(trained.state_dict(), file)
    resolved = resolve_weights(name, str(file))
    assert resolved.pretrained
    assert resolved.path == str(file)
    other = build_model(name, 6)
    head = {n: t.clone() for n, t in other.state_dict().items() if n.startswith(ARCHITECTURES[name].head + ".")}
    assert load_weights(other, str(file)) == "all weights but the head loaded"
    for n, tensor in other.state_dict().items():
        assert torch.equal(tensor, head[n] if n in head else trained.state_dict()[n])


def test_the_head_comes_along_where_the_classes_are_as_many(tmp_path: Path) -> None:
    file = tmp_path / "weights.pt"
    trained, same = build_model("baseline", 5), build_model("baseline", 5)
    torch.save(trained.state_dict(), file)
    assert load_weights(same, str(file)) == "all weights loaded"
    assert all(torch.equal(tensor, same.state_dict()[n]) for n, tensor in trained.state_dict().items())


def test_a_whole_training_state(tmp_path: Path) -> None:
    torch.save({"epoch": 3, "model": build_model("baseline", 5).state_dict()}, tmp_path / "state.pt")
    assert resolve_weights("baseline", str(tmp_path / "state.pt")).pretrained


def test_old_densenet_names() -> None:
    old = "features.denseblock1.denselayer1.norm.1.weight"
    assert modern_name(old) == "features.denseblock1.denselayer1.norm1.weight"
    assert modern_name("features.norm5.weight") == "features.norm5.weight"
    names = build_model("densenet121", 5).state_dict()
    assert all(modern_name(name) == name for name in names)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda state: state.pop("conv2.bias"), "does not fit baseline: conv2.bias is missing"),
        (
            lambda state: state.update({"conv2.bias": torch.zeros(31)}),
            r"conv2.bias is \[31\], must be \[32\]",
        ),
        (lambda state: state.update({"conv9.bias": torch.zeros(1)}), "conv9.bias is unknown"),
        (lambda state: state.clear(), "must hold a dict from names to tensors"),
    ],
)
def test_weights_that_do_not_fit(change: Any, match: str, tmp_path: Path) -> None:
    state = build_model("baseline", 5).state_dict()
    change(state)
    torch.save(state, tmp_path / "weights.pt")
    with pytest.raises(ValueError, match=match):
        resolve_weights("baseline", str(tmp_path / "weights.pt"))


def test_a_file_of_another_network(tmp_path: Path) -> None:
    torch.save(build_model("baseline", 5).state_dict(), tmp_path / "weights.pt")
    with pytest.raises(ValueError, match=r"does not fit squeezenet1_1: .* and \d+ more"):
        resolve_weights("squeezenet1_1", str(tmp_path / "weights.pt"))


def test_no_such_file() -> None:
    with pytest.raises(ValueError, match=r"must be one of auto, imagenet, none or an existing .* got 'imagnet'"):
        resolve_weights("resnet50", "imagnet")


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("plain_pickle", [False, True])
def test_code_in_a_file_is_refused(tmp_path: Path, plain_pickle: bool) -> None:
    file = tmp_path / "weights.pt"
    if plain_pickle:
        file.write_bytes(pickle.dumps(RunsCode(tmp_path / "ran")))
    else:
        torch.save({"conv1.weight": RunsCode(tmp_path / "ran")}, file)
    with pytest.raises(ValueError, match="refused") as caught:
        resolve_weights("baseline", str(file))
    assert not (tmp_path / "ran").exists()
    assert "weights_only" not in str(caught.value), "torch's advice is to run it"


def test_what_else_a_file_holds_is_named(tmp_path: Path) -> None:
    """Checkpoints of Lightning often keep what the command line said."""
    torch.save({"conv1.weight": torch.zeros(1), "args": argparse.Namespace(lr=0.1)}, tmp_path / "weights.pt")
    with pytest.raises(ValueError, match=r"plain values, argparse.Namespace; .* its state_dict\(\) alone"):
        resolve_weights("baseline", str(tmp_path / "weights.pt"))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 broken", b"plain text"])
def test_a_file_that_is_no_torch_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "weights.pt").write_bytes(content)
    with pytest.raises(ValueError, match=r"weights: .*weights.pt"):
        resolve_weights("baseline", str(tmp_path / "weights.pt"))

"""Files of weights in every usual form, and damaged ones: what is loaded, and what the message says."""

import hashlib
import json
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tests.support.damage import RunsCode
from tune_sketch.trainables.networks.build import build_model
from tune_sketch.trainables.networks.find_weights import resolve_weights
from tune_sketch.trainables.networks.weights import load_weights

VIT, PX = "timm:test_vit", 64
Weights = dict[str, Tensor]


def trained(name: str = "baseline", num_classes: int = 5, seed: int = 3, **options: Any) -> nn.Module:
    torch.manual_seed(seed)
    return build_model(name, num_classes, image_px=PX, **options)


def under(prefix: str) -> Callable[[Weights], Weights]:
    return lambda weights: {f"{prefix}{name}": tensor for name, tensor in weights.items()}


FORMS: dict[str, Callable[[Weights], Any]] = {
    "plain": dict,
    "DistributedDataParallel": under("module."),
    "compiled": under("_orig_mod."),
    "compiled, distributed": under("module._orig_mod."),
    "net": under("net."),
    "nested": lambda weights: {
        "epoch": 3,
        "model": dict(weights),
        "optimizer": {"state": {0: {"step": torch.ones(1)}}},
    },
    "Lightning": lambda weights: {
        "state_dict": under("model.")(weights) | {"loss.weight": torch.ones(5)},
        "optimizer_states": [],
        "hyper_parameters": {"lr": 0.1},
        "pytorch-lightning_version": "2.5",
    },
    "Fabric": lambda weights: {"state_dict": under("_forward_module.module.net.backbone.")(weights)},
    "with its epoch": lambda weights: dict(weights) | {"epoch": 3},
}


@pytest.mark.parametrize("name", ["baseline", VIT])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("safetensors", [False, True])
def test_every_usual_form(name: str, form: str, safetensors: bool, tmp_path: Path) -> None:
    model = trained(name)
    content = FORMS[form](model.state_dict())
    file = tmp_path / "weights.bin"  # the content tells what it is
    if safetensors and all(isinstance(value, Tensor) for value in content.values()):
        save_file({key: value.contiguous() for key, value in content.items()}, file)
    else:
        torch.save(content, file)
    assert resolve_weights(name, str(file), PX).pretrained
    new = trained(name, seed=4)
    assert load_weights(new, str(file)) == "all weights loaded"
    assert all(torch.equal(tensor, new.state_dict()[key]) for key, tensor in model.state_dict().items())


def test_the_prefix_is_said(tmp_path: Path) -> None:
    torch.save({"state_dict": under("model.net.")(trained().state_dict())}, tmp_path / "last.ckpt")
    assert (
        "(those under 'state_dict.model.net';" in resolve_weights("baseline", str(tmp_path / "last.ckpt")).description
    )


def test_timms_own_file_with_another_size_and_classifier(tmp_path: Path) -> None:
    torch.manual_seed(1)
    theirs = timm.create_model("test_vit", num_classes=1000, img_size=160)
    save_file(theirs.state_dict(), tmp_path / "model.safetensors")
    model = trained(VIT, head="normalised")
    assert load_weights(model, str(tmp_path / "model.safetensors")) == "all weights but the head loaded"
    assert torch.equal(model.body.blocks[3].attn.qkv.weight, theirs.blocks[3].attn.qkv.weight)
    assert model.body.pos_embed.shape[1] == 17 < theirs.pos_embed.shape[1], "resampled, by timm's own conversion"
    assert model.body.pos_embed.mean().item() == pytest.approx(theirs.pos_embed.mean().item(), abs=5e-3)


def save_truncated(weights: Weights, file: Path) -> None:
    torch.save(weights, file)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def save_truncated_safetensors(weights: Weights, file: Path) -> None:
    save_file(weights, file)
    file.write_bytes(file.read_bytes()[:-100])


def changed(name: str, change: Callable[[Tensor], Any]) -> Callable[[Weights, Path], None]:
    return lambda weights, file: torch.save(weights | {name: change(weights[name])}, file)


def quantised(tensor: Tensor) -> Tensor:
    return torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8)


READ, HOLD = "cannot be read as weights", "must hold a dict from names to tensors"
DAMAGED: dict[str, tuple[Callable[[Weights, Path], Any], str]] = {
    "zero bytes": (lambda weights, file: file.write_bytes(b""), "is empty"),
    "text": (lambda weights, file: file.write_text("epoch,loss\n1,2\n"), READ),
    "JSON": (lambda weights, file: file.write_text(json.dumps({"a": 1, "b": [2]})), READ),
    "truncated": (save_truncated, READ),
    "truncated .safetensors": (save_truncated_safetensors, READ),
    "noise": (lambda weights, file: file.write_bytes(hashlib.sha512(b"x").digest() * 40), READ),
    "a list": (lambda weights, file: torch.save([1, 2], file), HOLD),
    "a number": (lambda weights, file: torch.save({"epoch": 3}, file), HOLD),
    "meta": (changed("conv2.weight", lambda t: t.to("meta")), "conv2.weight has a shape and no values"),
    "quantised": (changed("conv2.weight", quantised), r"conv2.weight is quantised \(torch.qint8\)"),
    "integers": (
        changed("conv2.weight", lambda t: t.to(torch.int8)),
        "conv2.weight is of torch.int8, must be of torch",
    ),
    "sparse": (changed("conv2.weight", lambda t: t.to_sparse()), "conv2.weight is sparse"),
    "not finite": (changed("conv2.bias", lambda t: t * float("nan")), "conv2.bias holds values that are not finite"),
    "complex": (changed("conv2.bias", lambda t: t.to(torch.complex64)), "conv2.bias is of torch.complex64"),
    "another shape": (changed("conv2.bias", lambda t: t[:3]), r"conv2.bias is \[3\], must be \[32\]"),
    "another network": (
        lambda weights, file: torch.save(trained("sketch_a_net").state_dict(), file),
        r"does not fit baseline: hidden.weight is missing; .*; and \d+ more",
    ),
    "code beside the weights": (
        lambda weights, file: torch.save({"state_dict": weights, "callback": RunsCode(file.parent / "ran")}, file),
        "holds code, which is refused",
    ),
}


@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning", "ignore:.*:UserWarning")  # torch's, of quantised and sparse
@pytest.mark.parametrize("damage", DAMAGED)
def test_what_cannot_be_used_is_a_named_error(damage: str, tmp_path: Path) -> None:
    write, message = DAMAGED[damage]
    file = tmp_path / "weights.pt"
    write(trained().state_dict(), file)
    with pytest.raises(ValueError, match=message) as raised:
        resolve_weights("baseline", str(file))
    assert str(raised.value).startswith(f"weights: {file}")
    assert not (tmp_path / "ran").exists()


# a run of ours


def write_run(folder: Path, name: str, class_names: list[str], *, pretrained: bool, **options: Any) -> nn.Module:
    """The part of a run directory that `--weights RUN` reads."""
    model = trained(name, len(class_names), **options)
    (folder / "best").mkdir(parents=True)
    (folder / "search.json").write_text("{}")
    torch.save(model.state_dict(), folder / "best" / "weights.pt")
    facts = {"architecture": name, "class_names": class_names, "pretrained": pretrained, "invert": True}
    (folder / "best" / "model.json").write_text(json.dumps(facts))
    return model


@pytest.mark.parametrize(("name", "head"), [("squeezenet1_1", "classifier.linear"), (VIT, "head.linear")])
def test_a_run_gives_its_head_for_its_own_classes_alone(name: str, head: str, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", name, ["cat", "dog", "sun"], pretrained=True, head="normalised")
    resolved = resolve_weights(name, str(tmp_path / "run"), PX)
    assert resolved.path == str(tmp_path / "run" / "best" / "weights.pt")
    assert (resolved.pretrained, resolved.scaled_as_new) == (True, False)
    expected = {("cat", "dog", "sun"): True, ("cat", "dog", "tree"): False, ("cat", "dog"): False}
    for class_names, takes_head in expected.items():
        new = trained(name, len(class_names), seed=9, head="normalised")
        note = load_weights(new, resolved.path, class_names)
        assert note == ("all weights loaded" if takes_head else "all weights but the head loaded")
        same = {key for key, tensor in new.state_dict().items() if torch.equal(tensor, run.state_dict()[key])}
        assert {key for key in new.state_dict() if not key.startswith(head.split(".")[0] + ".")} <= same
        assert (f"{head}.weight" in same) == takes_head


def test_a_runs_weights_are_found_in_either_format(tmp_path: Path) -> None:
    model = write_run(tmp_path / "run", "baseline", ["a", "b"], pretrained=False)
    new = tmp_path / "run" / "best" / "weights.safetensors"
    save_file(model.state_dict(), new)
    assert resolve_weights("baseline", str(tmp_path / "run")).path == str(new)
    (tmp_path / "run" / "best" / "weights.pt").unlink()
    assert resolve_weights("baseline", str(tmp_path / "run")).path == str(new)


def test_drawings_are_scaled_as_the_run_saw_them(tmp_path: Path) -> None:
    write_run(tmp_path / "new", "squeezenet1_1", ["a", "b"], pretrained=False)
    resolved = resolve_weights("squeezenet1_1", str(tmp_path / "new"))
    assert (resolved.pretrained, resolved.scaled_as_new) == (True, True)
    assert "drawings scaled as in that run" in resolved.description
    direct = resolve_weights("squeezenet1_1", str(tmp_path / "new" / "best" / "weights.pt"))
    assert direct.scaled_as_new, "its file alone says the same"
    write_run(tmp_path / "baseline", "baseline", ["a", "b"], pretrained=False)
    assert not resolve_weights("baseline", str(tmp_path / "baseline")).scaled_as_new, "it has one scale"


def test_a_run_that_cannot_be_used(tmp_path: Path) -> None:
    write_run(tmp_path / "run", "baseline", ["a", "b"], pretrained=False)
    with pytest.raises(ValueError, match="is a run of baseline, and squeezenet1_1 was asked for"):
        resolve_weights("squeezenet1_1", str(tmp_path / "run"))
    (tmp_path / "run" / "best" / "weights.pt").unlink()
    with pytest.raises(ValueError, match="has no network yet: its search or its retraining has not ended"):
        resolve_weights("baseline", str(tmp_path / "run"))
    with pytest.raises(ValueError, match="existing file or run directory"):
        resolve_weights("baseline", str(tmp_path))


# the cache of the Hugging Face Hub, in which timm's weights are


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub" / "models--timm--test_vit.r160_in1k"


def publish(repository: Path, weights: Weights) -> Path:
    """Weights as the hub's cache keeps them: a blob by its SHA-256, and a link to it."""
    snapshot = repository / "snapshots" / "0123abcd"
    for folder in (repository / "blobs", repository / "refs", snapshot):
        folder.mkdir(parents=True)
    save_file(weights, repository / "file")
    content = (repository / "file").read_bytes()
    blob = repository / "blobs" / hashlib.sha256(content).hexdigest()
    blob.write_bytes(content)
    (repository / "refs" / "main").write_text("0123abcd")
    (snapshot / "model.safetensors").symlink_to(blob)
    return blob


def test_weights_in_the_hubs_cache_are_found_and_checked(hub: Path) -> None:
    theirs = timm.create_model("test_vit", num_classes=1000, img_size=160)
    blob = publish(hub, theirs.state_dict())
    for choice in ("auto", "imagenet"):
        resolved = resolve_weights(VIT, choice, PX)
        assert resolved.pretrained
        assert resolved.description == f"{VIT}: published weights test_vit.r160_in1k (model.safetensors)"
    model = trained(VIT, weights_path=resolved.path)
    assert torch.equal(model.body.norm.weight, theirs.norm.weight)
    blob.write_bytes(blob.read_bytes()[:-1] + b"x")  # damaged, and there is no network to fetch it again
    assert not resolve_weights(VIT, "auto", PX).pretrained
    with pytest.raises(ValueError, match="could not be had"):
        resolve_weights(VIT, "imagenet", PX)


def test_without_a_network_or_a_cache_training_is_from_scratch(hub: Path) -> None:
    resolved = resolve_weights(VIT, "auto", PX)
    assert (resolved.path, resolved.pretrained) == (None, False)
    assert "FROM SCRATCH, because ImageNet weights could not be had" in resolved.description
    assert len(resolved.description.splitlines()) == 1
    assert not resolve_weights(VIT, "none", PX).pretrained


def test_a_hub_that_cannot_be_reached_costs_seconds(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", f"http://127.0.0.1:{closed.getsockname()[1]}")
        for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.delenv(variable, raising=False)
        start = time.perf_counter()
        resolved = resolve_weights(VIT, "auto", PX)
    assert time.perf_counter() - start < 8
    assert "the Hugging Face Hub at 127.0.0.1 could not be reached" in resolved.description


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"architecture": "baseline", "class_names": 3, "pretrained": false, "invert": true}',
        b'{"architecture": "baseline", "class_names": ["a"], "pretrained": "no", "invert": true}',
    ],
    ids=lambda content: content[:60].decode("latin-1"),
)
def test_a_damaged_description_of_a_run_is_named(content: bytes, tmp_path: Path) -> None:
    model = write_run(tmp_path / "run", "baseline", ["a", "b"], pretrained=False)
    (tmp_path / "run" / "best" / "model.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"model\.json, beside weights\.pt, is damaged"):
        resolve_weights("baseline", str(tmp_path / "run"))
    with pytest.raises(ValueError, match=r"model\.json, beside weights\.pt, is damaged"):
        load_weights(model, str(tmp_path / "run" / "best" / "weights.pt"))

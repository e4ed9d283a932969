"""Checkpoints: whole or not at all, two kept, and a damaged or malicious one never used."""

import json
import os
import pickle
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.damage import RunsCode, vouch_for
from tune_sketch.trainables.checkpoints import read_newest_checkpoint, write_checkpoint


def payload(epoch: int) -> dict[str, Any]:
    return {
        "metrics": {"epoch": epoch, "val_top1": 0.5},
        "state": {"weights": torch.full((1000,), float(epoch)), "betas": (0.9, 0.999)},
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with checkpoints of epochs 1 to 3."""
    for epoch in (1, 2, 3):
        write_checkpoint(tmp_path / "checkpoints", epoch, payload(epoch))
    return tmp_path / "checkpoints"


def assert_falls_back(folder: Path, match: str) -> None:
    with pytest.warns(UserWarning, match=match):
        found = read_newest_checkpoint(folder)
    assert found is not None
    epoch, content = found
    assert epoch == 2
    assert torch.equal(content["state"]["weights"], torch.full((1000,), 2.0))


def test_the_newest_comes_back_and_two_are_kept(folder: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = read_newest_checkpoint(folder)
    assert found is not None
    assert found[0] == 3
    assert found[1]["metrics"] == {"epoch": 3, "val_top1": 0.5}
    assert found[1]["state"]["betas"] == (0.9, 0.999)
    assert sorted(file.name for file in folder.iterdir()) == [
        "epoch_0002.json",
        "epoch_0002.pt",
        "epoch_0003.json",
        "epoch_0003.pt",
    ]


def test_order_is_by_number_not_by_name(tmp_path: Path) -> None:
    for epoch in (9999, 10000):
        write_checkpoint(tmp_path, epoch, payload(epoch))
    found = read_newest_checkpoint(tmp_path)
    assert found is not None
    assert found[0] == 10000


def test_an_epoch_can_be_written_again(folder: Path) -> None:
    write_checkpoint(folder, 3, payload(7))
    found = read_newest_checkpoint(folder)
    assert found is not None
    assert found[1]["metrics"]["epoch"] == 7


def test_no_folder_or_an_empty_one_is_none(tmp_path: Path) -> None:
    assert read_newest_checkpoint(tmp_path / "absent") is None
    assert read_newest_checkpoint(tmp_path) is None


def test_truncated(folder: Path) -> None:
    file = folder / "epoch_0003.pt"
    os.truncate(file, file.stat().st_size // 2)
    assert_falls_back(folder, "must have .* bytes")


def test_one_flipped_bit(folder: Path) -> None:
    file = folder / "epoch_0003.pt"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    assert_falls_back(folder, "sha256")


def test_wrong_hash_in_the_manifest(folder: Path) -> None:
    manifest = json.loads((folder / "epoch_0003.json").read_text())
    (folder / "epoch_0003.json").write_text(json.dumps(manifest | {"sha256": "0" * 64}))
    assert_falls_back(folder, "sha256")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"epoch": null, "bytes": 1, "sha256": ""}'])
def test_damaged_manifest(folder: Path, text: str) -> None:
    (folder / "epoch_0003.json").write_text(text)
    assert_falls_back(folder, "manifest")


def test_missing_manifest(folder: Path) -> None:
    (folder / "epoch_0003.json").unlink()
    assert_falls_back(folder, "no manifest")


def test_garbage_with_a_manifest_that_fits(folder: Path) -> None:
    (folder / "epoch_0003.pt").write_bytes(b"not a torch file")
    vouch_for(folder / "epoch_0003.pt")
    assert_falls_back(folder, "not a checkpoint")


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("plain_pickle", [False, True])
def test_malicious_pickle_is_not_run(folder: Path, tmp_path: Path, plain_pickle: bool) -> None:
    file = folder / "epoch_0003.pt"
    bomb = {"state": RunsCode(tmp_path / "ran")}
    if plain_pickle:
        file.write_bytes(pickle.dumps(bomb))
    else:
        torch.save(bomb, file)
    vouch_for(file)
    assert_falls_back(folder, "not a checkpoint")
    assert not (tmp_path / "ran").exists()


def test_all_damaged_is_none_with_a_warning_each(folder: Path) -> None:
    for file in folder.glob("*.pt"):
        file.write_bytes(b"")
    with pytest.warns(UserWarning, match="damaged checkpoint") as caught:
        assert read_newest_checkpoint(folder) is None
    assert len(caught) == 2


def test_a_crash_while_writing_leaves_the_old_ones(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> None:
        raise OSError("disk full")

    for name in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, fail)
            with pytest.raises(OSError, match="disk full"):
                write_checkpoint(folder, 4, payload(4))
        found = read_newest_checkpoint(folder)
        assert found is not None
        assert found[0] == 3
    (folder / "epoch_0004.pt.0a1b2c3d.part").write_bytes(b"left by a kill")
    write_checkpoint(folder, 4, payload(4))  # the leftovers are in nobody's way
    assert not list(folder.glob("*.part"))


def test_what_is_no_trouble_of_the_disk_is_not_called_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> None:
        raise RuntimeError("device-side assert")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(RuntimeError, match="device-side assert"):
        write_checkpoint(folder, 4, payload(4))

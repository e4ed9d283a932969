"""Checkpoints that survive a crash at any moment: written whole or not at all, checked when read."""

import contextlib
import hashlib
import json
import os
import re
import secrets
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from tune_sketch.data.bounds import parsing, read_regular

# Tensors, numbers, strings, dicts and lists: what `torch.load(weights_only=True)` reads.
Payload = dict[str, Any]

KEPT_CHECKPOINTS = 2  # the newest, and one to fall back on


class CheckpointNotWrittenError(OSError):
    """The disk is full or cannot be written; the checkpoints before it are whole."""


def write_checkpoint(folder: Path, epoch: int, payload: Payload) -> Path:
    """Write `epoch_0007.pt` and its manifest `epoch_0007.json`; keep the newest before it; return the .pt path.

    Each file is written aside, forced to the disk and then renamed, the manifest last: a checkpoint without
    a manifest was never finished. One process writes into a folder at a time; if two ever do (the first lost
    its search, and has not noticed yet), each writes files of its own aside.
    """
    file = folder / f"epoch_{epoch:04d}.pt"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(file, epoch, payload)
        sync_folder(folder)
    except (OSError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not isinstance(error.__context__, OSError):
            raise  # torch makes a RuntimeError of a full disk too, but not every one is that
        with contextlib.suppress(OSError):  # the journal may need the space
            for part in folder.glob("*.part"):
                part.unlink()
        reason = error if isinstance(error, OSError) else error.__context__
        raise CheckpointNotWrittenError(f"{file} cannot be written: {reason}") from error
    for left in folder.glob("*.part"):  # by a process that was killed while it wrote
        left.unlink(missing_ok=True)
    # Later ones are of another time, or were passed over: the journal knows nothing of them.
    files = checkpoint_files(folder)
    for old in set(files) - set(files[files.index(file) :][:KEPT_CHECKPOINTS]):
        manifest_file(old).unlink(missing_ok=True)
        old.unlink()
    return file


def write_whole(file: Path, epoch: int, payload: Payload) -> None:
    """Write the .pt file, then its manifest, each aside and renamed when it is on the disk."""
    aside = secrets.token_hex(4)
    part = file.with_suffix(f".pt.{aside}.part")
    with part.open("wb") as out:
        torch.save(payload, out)
        out.flush()
        os.fsync(out.fileno())
    manifest = {"epoch": epoch, "bytes": part.stat().st_size, "sha256": sha256_of(part)}
    manifest_file(file).unlink(missing_ok=True)  # an older manifest must not vouch for the new file
    os.replace(part, file)
    part = file.with_suffix(f".json.{aside}.part")
    with part.open("w") as out:
        json.dump(manifest, out)
        out.flush()
        os.fsync(out.fileno())
    os.replace(part, manifest_file(file))


def read_newest_checkpoint(
    folder: Path, objection: Callable[[int, Payload], str] = lambda epoch, payload: ""
) -> tuple[int, Payload] | None:
    """(epoch, payload) of the newest checkpoint that is whole and wanted, or None.

    objection: why one is not wanted, or nothing. A damaged or unwanted one is passed over with a warning, and the one
    before it is read. Nothing in a file is run.
    """
    for file in checkpoint_files(folder):
        try:
            epoch, payload = read_checkpoint(file)
        except (ValueError, OSError) as error:
            warnings.warn(f"passing over a damaged checkpoint: {error}", stacklevel=2)
            continue
        reason = objection(epoch, payload)
        if not reason:
            return epoch, payload
        warnings.warn(f"passing over the checkpoint {file}: {reason}", stacklevel=2)
    return None


def read_checkpoint(file: Path) -> tuple[int, Payload]:
    """(epoch, payload) of one checkpoint; ValueError if it is not exactly what was written."""
    try:
        with parsing(f"the manifest of {file}"):
            manifest = json.loads(read_regular(manifest_file(file)))
            epoch, num_bytes, sha256 = int(manifest["epoch"]), manifest["bytes"], manifest["sha256"]
    except FileNotFoundError as error:
        raise ValueError(f"{file} has no manifest: writing it was not finished") from error
    if file.stat().st_size != num_bytes:
        raise ValueError(f"{file} must have {num_bytes} bytes, has {file.stat().st_size}")
    if sha256_of(file) != sha256:
        raise ValueError(f"{file} does not have the sha256 of its manifest")
    try:
        payload = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch's own reader of pickles raises almost anything on damaged bytes
        raise ValueError(f"{file} is not a checkpoint of tensors and plain values") from error
    if not isinstance(payload, dict):
        raise ValueError(f"{file} is not a checkpoint: it holds a {type(payload).__name__}")
    return epoch, payload


def checkpoint_files(folder: Path) -> list[Path]:
    """The .pt files of a folder, newest epoch first; empty where there is no folder."""
    if not folder.is_dir():
        return []
    files = [file for file in folder.iterdir() if re.fullmatch(r"epoch_\d{4,}\.pt", file.name)]
    return sorted(files, key=lambda file: int(file.stem.removeprefix("epoch_")), reverse=True)


def manifest_file(file: Path) -> Path:
    return file.with_suffix(".json")


def sha256_of(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def sync_folder(folder: Path) -> None:
    """Force the renames to the disk (a folder is a file with its own buffers)."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

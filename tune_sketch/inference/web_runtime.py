"""Brings the runtime that a browser runs ONNX files with: two files of the npm package onnxruntime-web, pinned."""

import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from tune_sketch.data.request import default_cache_dir, make_cache_dir

PACKAGE, VERSION = "onnxruntime-web", "1.30.0"
SCRIPT, BINARY = "ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"
SHA256 = {
    SCRIPT: "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
    BINARY: "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
}
PATIENCE_SECONDS = 300


def find_runtime(given: Path | None = None) -> Path:
    """A folder with the two files, checked against their hashes: the given one, or the cache, filled by npm if empty.

    given: the package's folder as npm unpacks it, or its dist/. Raises ValueError where they cannot be had.
    """
    if given is not None:
        for folder in (given, given / "dist", given / "package" / "dist"):
            if (folder / SCRIPT).is_file():
                check_files(folder)
                return folder
        raise ValueError(f"--runtime {given} has no {SCRIPT}: it must be the npm package {PACKAGE} {VERSION}, unpacked")
    folder = default_cache_dir() / f"{PACKAGE}-{VERSION}"
    if not all((folder / name).is_file() for name in SHA256):
        make_cache_dir(folder.parent)
        download(folder)
    check_files(folder)
    return folder


def check_files(folder: Path) -> None:
    """Raises ValueError for files of another version."""
    for name, expected in SHA256.items():
        file = folder / name
        found = hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else "no file"
        if found != expected:
            raise ValueError(
                f"{file} is not that of {PACKAGE} {VERSION}: its SHA-256 must be {expected}, got {found}. "
                "Give the right package with --runtime, or delete that folder"
            )


def download(folder: Path) -> None:
    """Fetch the package with npm, from wherever npm is set up to fetch, and keep the two files."""
    npm = shutil.which("npm")
    by_hand = f"get the npm package {PACKAGE} {VERSION} elsewhere, unpack it, and give its folder: --runtime FOLDER"
    if npm is None:
        raise ValueError(f"--to site needs the program npm, which fetches {PACKAGE}. Install it, or {by_hand}")
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        command = [npm, "pack", f"{PACKAGE}@{VERSION}", "--silent", "--pack-destination", scratch]
        try:
            answer = subprocess.run(command, cwd=scratch, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            raise ValueError(
                f"npm did not fetch {PACKAGE} within {PATIENCE_SECONDS} s. Try again, or {by_hand}"
            ) from None
        packed = next(Path(scratch).glob("*.tgz"), None)
        if answer.returncode or packed is None:
            reason = (answer.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise ValueError(f"npm could not fetch {PACKAGE} {VERSION} ({reason}). Mend that, or {by_hand}")
        with tarfile.open(packed) as archive:
            archive.extractall(scratch, filter="data")
        folder.mkdir(exist_ok=True)
        for name in SHA256:
            shutil.move(Path(scratch) / "package" / "dist" / name, folder / name)

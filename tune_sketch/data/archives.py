"""Unpacks a .zip or .tar into the cache without letting it write anywhere else."""

import hashlib
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from tune_sketch.data.bounds import reason_text
from tune_sketch.data.locks import hold_lock
from tune_sketch.data.progress import Progress

MAX_UNPACKED_BYTES = 200 * 2**30  # all of Sketchy is 6 GB, TU-Berlin 0.6 GB
MAX_RATIO = 200  # unpacked to packed bytes, of what is larger than any folder of pictures that pack so well
PLAIN_BYTES = 20 * 2**30  # unpacked, whatever the ratio: line drawings in BMP or TIFF pack 300 times smaller
MAX_FOLDERS = 60  # above a member: what is removed again, and looked through, goes that deep
_TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")


class RefusedError(ValueError):
    """The archive is whole, and not to be unpacked."""


def is_archive(path: Path) -> bool:
    """Whether the file's name ends like an archive that `unpack_archive` reads."""
    return path.name.lower().endswith((".zip", *_TAR_SUFFIXES))


def unpack_archive(path: Path, into: Path, progress: bool) -> Path:
    """Unpack once into a folder below `into` and return it; a second call finds it there.

    Raises ValueError for a damaged archive, a member that would land outside, a link, a device, and a size that is
    implausible for the archive or too large for the disk.
    """
    seen = path.stat()
    key = hashlib.sha256(f"{path.resolve()}\n{seen.st_size}\n{seen.st_mtime_ns}".encode()).hexdigest()[:32]
    folder = into / key
    into.mkdir(parents=True, exist_ok=True)
    with hold_lock(into / f"{key}.lock"):
        if folder.exists():
            return folder
        building = into / f".{key}.building"
        shutil.rmtree(building, ignore_errors=True)  # left behind by a process that was killed
        building.mkdir()
        try:
            _unpack(path, building, progress)
        except BaseException as error:
            shutil.rmtree(building, ignore_errors=True)
            if isinstance(error, RefusedError) or not isinstance(error, Exception):
                raise
            # The readers of archives and their packings raise almost anything on damaged bytes.
            raise ValueError(f"{path} is damaged or cannot be unpacked: {reason_text(error)}") from error
        building.rename(folder)
    return folder


def _unpack(path: Path, folder: Path, progress: bool) -> None:
    is_zip = path.name.lower().endswith(".zip")
    with zipfile.ZipFile(path) if is_zip else tarfile.open(path) as archive:
        members = list(_list_zip(archive) if isinstance(archive, zipfile.ZipFile) else _list_tar(archive))
        for member in members:
            _check_member(path, member)
        _check_size(path, sum(member.num_bytes for member in members), folder)
        bar = Progress(f"unpacking {path.name}", len(members), progress)
        for done, member in enumerate(members, start=1):
            member.extract(folder)
            bar.show(done)
        bar.close()


class _Member(NamedTuple):
    """A file in an archive. problem: why it must not be unpacked, or nothing. extract: writes at most num_bytes."""

    name: str
    num_bytes: int  # unpacked
    problem: str
    extract: Callable[[Path], object]


def _list_zip(archive: zipfile.ZipFile) -> Iterator[_Member]:
    for info in archive.infolist():
        if not info.is_dir():
            is_link = stat.S_ISLNK(info.external_attr >> 16)
            problem = "is a link" if is_link else "is encrypted" if info.flag_bits & 1 else ""
            info.filename = info.filename.replace("\\", "/")  # some programs for Windows write it so
            yield _Member(info.filename, info.file_size, problem, partial(archive.extract, info))


def _list_tar(archive: tarfile.TarFile) -> Iterator[_Member]:
    for info in archive:
        if not info.isdir():
            problem = "" if info.isfile() else "is a link or a device"
            info.name = info.name.replace("\\", "/")
            yield _Member(info.name, info.size, problem, partial(archive.extract, info, filter="data"))


def _check_member(path: Path, member: _Member) -> None:
    """Raises ValueError. Names that lead outside are refused, where zipfile and tarfile would only shorten them."""
    problem = member.problem
    parts = PurePosixPath(member.name).parts or ("",)
    if not problem and (member.name.startswith("/") or ".." in parts or ":" in parts[0]):
        problem = "would be written outside of its folder"
    if not problem and len(parts) > MAX_FOLDERS:
        problem = f"lies {len(parts) - 1:,} folders deep, more than {MAX_FOLDERS}"
    if problem:
        raise RefusedError(f"{path} is refused: its member {member.name[:200]!r} {problem}")


def _check_size(path: Path, num_bytes: int, folder: Path) -> None:
    """Raises ValueError when an archive's unpacked size cannot be meant, or does not fit the disk."""
    for most, rule in (
        (MAX_UNPACKED_BYTES, "the most that is unpacked"),
        (max(MAX_RATIO * path.stat().st_size, PLAIN_BYTES), f"{MAX_RATIO} times its own size"),
        (shutil.disk_usage(folder).free, f"what is free in {folder.parent}"),
    ):
        if num_bytes > most:
            raise RefusedError(f"{path} is refused: {num_bytes:,} bytes unpacked are more than {most:,}, {rule}")

"""Unpack a .zip or .tar into the cache without letting it write anywhere else."""

import hashlib
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from tune_sketch.data.locks import hold_lock
from tune_sketch.data.progress import Progress

MAX_UNPACKED_BYTES = 200 * 2**30  # all of Sketchy is 6 GB, TU-Berlin 0.6 GB
MAX_RATIO = 200  # unpacked to packed bytes; drawings are compressed already, an archive bomb is far above it
_TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")


def is_archive(path: Path) -> bool:
    """Whether the file's name ends like an archive that `unpack_archive` reads."""
    return path.name.lower().endswith((".zip", *_TAR_SUFFIXES))


def unpack_archive(path: Path, into: Path, progress: bool) -> Path:
    """Unpack once into a folder below `into` and return it; a second call finds it there.

    Raises ValueError for a damaged archive, a member that would land outside, a link, a device, and a size that does
    not fit the archive or the disk.
    """
    stat = path.stat()
    key = hashlib.sha256(f"{path.resolve()}\n{stat.st_size}\n{stat.st_mtime_ns}".encode()).hexdigest()[:32]
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
        except (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, OSError, NotImplementedError) as error:
            shutil.rmtree(building, ignore_errors=True)
            raise ValueError(f"{path} is damaged or cannot be unpacked: {error}") from error
        except BaseException:
            shutil.rmtree(building, ignore_errors=True)
            raise
        building.rename(folder)
    return folder


def _unpack(path: Path, folder: Path, progress: bool) -> None:
    is_zip = path.name.lower().endswith(".zip")
    with zipfile.ZipFile(path) if is_zip else tarfile.open(path) as archive:
        members = list(_list_zip(archive) if isinstance(archive, zipfile.ZipFile) else _list_tar(archive))
        num_bytes = sum(size for _, size, _ in members)
        for name, _, trouble in members:
            parts = PurePosixPath(name.replace("\\", "/")).parts
            if not trouble and (name.startswith(("/", "\\")) or ".." in parts or ":" in (parts or ("",))[0]):
                trouble = "would be written outside of its folder"
            if trouble:
                raise ValueError(f"{path} is refused: its member {name!r} {trouble}")
        free_bytes = shutil.disk_usage(folder).free
        for most, rule in (
            (MAX_UNPACKED_BYTES, "the most that is unpacked"),
            (max(MAX_RATIO * path.stat().st_size, 2**20), f"{MAX_RATIO} times its own size"),
            (free_bytes, f"what is free in {folder.parent}"),
        ):
            if num_bytes > most:
                raise ValueError(f"{path} is refused: {num_bytes:,} bytes unpacked are more than {most:,}, {rule}")
        bar = Progress(f"unpacking {path.name}", len(members), progress)
        for done, (name, size, _) in enumerate(members, start=1):
            _write_member(archive, name, folder / PurePosixPath(name.replace("\\", "/")), size)
            bar.show(done)
        bar.close()


def _list_zip(archive: zipfile.ZipFile) -> Iterator[tuple[str, int, str]]:
    """Name, unpacked bytes and what is wrong with each file."""
    for info in archive.infolist():
        if info.is_dir():
            continue
        is_link = (info.external_attr >> 16) & 0o170000 == 0o120000
        trouble = "is a link" if is_link else "is encrypted" if info.flag_bits & 1 else ""
        yield info.filename, info.file_size, trouble


def _list_tar(archive: tarfile.TarFile) -> Iterator[tuple[str, int, str]]:
    for info in archive:
        if not info.isdir():
            yield info.name, info.size, "" if info.isfile() else "is a link or a device"


def _write_member(archive: zipfile.ZipFile | tarfile.TarFile, name: str, target: Path, size: int) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    source: IO[bytes] | None
    source = archive.open(name) if isinstance(archive, zipfile.ZipFile) else archive.extractfile(name)
    assert source is not None  # only regular files are asked for
    with source, target.open("wb") as file:
        left = size
        while chunk := source.read(min(1 << 20, left + 1)):
            left -= len(chunk)
            if left < 0:
                raise ValueError(f"the archive's member {name!r} is larger than the {size:,} bytes it says")
            file.write(chunk)

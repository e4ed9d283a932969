"""Fetch the first drawings of each Quick, Draw! class from the official public address."""

import hashlib
import http.client
import json
import os
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

from tune_sketch.data.locks import hold_lock
from tune_sketch.data.progress import Progress
from tune_sketch.data.quickdraw_classes import QUICKDRAW_CLASSES
from tune_sketch.data.request import DataRequest

# Quick, Draw! by Google, CC BY 4.0; the address its authors publish.
QUICKDRAW_URL = "https://storage.googleapis.com/quickdraw_dataset/full/simplified"
URL_VARIABLE = "TUNE_SKETCH_QUICKDRAW_URL"
DEFAULT_PER_CLASS = 160  # as many as the study had of each class
MAX_ATTEMPTS = 6
FIRST_WAIT_SECONDS = 1.0  # doubles from one attempt to the next
TIMEOUT_SECONDS = 30.0
_NUM_CONNECTIONS = 4
_MAX_LINE_BYTES = 1 << 24

SelectClasses = Callable[[Iterable[str], "tuple[str, ...] | int | None"], list[str]]


class _Broken(Exception):
    """A transfer that broke off, or a server that asks to come back; trying again may help."""


def find_quickdraw_files(
    request: DataRequest, cache_dir: Path, progress: bool, select_classes: SelectClasses
) -> tuple[Path, dict[str, list[str]]]:
    """The folder of downloaded files, and the file of each class. Raises ValueError for what is missing."""
    url = os.environ.get(URL_VARIABLE) or QUICKDRAW_URL
    folder = cache_dir / "quickdraw" / hashlib.sha256(url.encode()).hexdigest()[:12]
    folder.mkdir(parents=True, exist_ok=True)
    if request.download:
        names = select_classes(QUICKDRAW_CLASSES, request.classes)
        download_quickdraw(folder, names, request.per_class or DEFAULT_PER_CLASS, url=url, progress=progress)
        return folder, {name: [f"{name}.ndjson"] for name in names}
    present = sorted(path.stem for path in folder.glob("*.ndjson"))
    wanted = present if request.classes is None else select_classes(QUICKDRAW_CLASSES, request.classes)
    missing = [name for name in wanted if name not in present]
    if missing or not wanted:
        raise ValueError(
            f"quickdraw is not downloaded yet ({', '.join(missing[:20]) or 'no class'}"
            f"{' ...' if len(missing) > 20 else ''}): add --download"
        )
    return folder, {name: [f"{name}.ndjson"] for name in wanted}


def download_quickdraw(
    folder: Path,
    class_names: Iterable[str],
    num_drawings: int,
    *,
    url: str = QUICKDRAW_URL,
    progress: bool = True,
    first_wait_seconds: float = FIRST_WAIT_SECONDS,
) -> None:
    """Make folder/<class>.ndjson hold the first `num_drawings` drawings of each class, or all where there are fewer.

    What is there is kept and only the rest is fetched. Raises ValueError for a class that cannot be had, after the
    others were fetched; a second call goes on from there.
    """
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise ValueError(f"the address of quickdraw must begin with http:// or https://, got {url!r}")
    names = list(class_names)
    bar = Progress(f"downloading {num_drawings} drawings of each class", len(names), progress)
    counting = threading.Lock()
    failures: list[str] = []

    def fetch(name: str) -> None:
        try:
            _download_class(folder, name, num_drawings, url, first_wait_seconds)
        except ValueError as error:
            failures.append(str(error))
        with counting:
            bar.show(bar.done + 1)

    with hold_lock(folder / ".lock"), ThreadPoolExecutor(_NUM_CONNECTIONS) as pool:
        list(pool.map(fetch, names))
    bar.close()
    if failures:
        raise ValueError(
            f"{len(failures)} of {len(names)} classes could not be downloaded; the same command goes on from here:\n  "
            + "\n  ".join(sorted(failures)[:50])
        )


def _download_class(folder: Path, name: str, num_drawings: int, url: str, wait_seconds: float) -> None:
    target = folder / f"{name}.ndjson"
    part = folder / f"{name}.ndjson.part"
    if target.exists():
        if _keep_whole_lines(target, name)[0] >= num_drawings:
            return
        target.replace(part)  # more drawings than last time: go on behind the last one
    part.touch()
    address = f"{url.rstrip('/')}/{urllib.parse.quote(name)}.ndjson"
    failed_attempts = 0
    while True:
        num_lines, num_bytes = _keep_whole_lines(part, name)
        if num_lines >= num_drawings:
            break
        try:
            with part.open("r+b") as file:
                file.seek(num_bytes)
                _append_lines(file, address, name, num_lines, num_drawings)
            if _keep_whole_lines(part, name)[0] == 0:
                raise ValueError(f"{address} holds no drawing")
            break  # all that was wanted, or all that the server has
        except _Broken as error:
            has_progressed = _keep_whole_lines(part, name)[0] > num_lines
            failed_attempts = 0 if has_progressed else failed_attempts + 1
            if failed_attempts >= MAX_ATTEMPTS:
                raise ValueError(f"{address} failed {MAX_ATTEMPTS} times, at last: {error}") from error
            time.sleep(wait_seconds * 2 ** max(failed_attempts - 1, 0))
    with part.open("rb") as whole:
        os.fsync(whole.fileno())
    part.replace(target)


def _append_lines(file: IO[bytes], address: str, name: str, num_lines: int, num_drawings: int) -> None:
    """Stream lines behind the file's position and stop after enough; a server without ranges starts it over."""
    offset = file.tell()
    request = urllib.request.Request(address, headers={"Range": f"bytes={offset}-"} if offset else {})
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # nothing lies behind what we have
            return
        if error.code in (408, 429) or error.code >= 500:
            raise _Broken(f"the server answered {error.code} {error.reason}") from error
        raise ValueError(f"{address} cannot be had: the server answered {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        raise _Broken(str(error)) from error
    with response:
        if offset and response.status != 206:
            file.seek(0)
            file.truncate()
            num_lines = 0
        length = response.headers.get("Content-Length")
        num_received = 0
        while num_lines < num_drawings:
            try:
                line = response.readline(_MAX_LINE_BYTES)
            except (OSError, http.client.HTTPException) as error:
                raise _Broken(str(error)) from error
            num_received += len(line)
            if not line.endswith(b"\n"):
                is_end = length is None or num_received >= int(length)
                if line and is_end and _is_drawing(line, name):
                    file.write(line + b"\n")  # a last line without its line break
                elif line or not is_end:
                    raise _Broken(f"the connection broke off after {num_received:,} bytes")
                return
            if not _is_drawing(line, name):
                raise ValueError(f"{address}: line {num_lines + 1} is not a drawing of {name!r}: {line[:80]!r}")
            file.write(line)
            num_lines += 1


def _keep_whole_lines(path: Path, name: str) -> tuple[int, int]:
    """Cut a file behind its last whole and valid line; returns its number of lines and of bytes."""
    num_lines, num_bytes = 0, 0
    keys: set[object] = set()
    with path.open("r+b") as file:
        for line in file:
            key = _is_drawing(line, name) if line.endswith(b"\n") else None
            if not key or key in keys:
                break
            keys.add(key)
            num_lines += 1
            num_bytes += len(line)
        file.truncate(num_bytes)
    return num_lines, num_bytes


def _is_drawing(line: bytes, name: str) -> str | None:
    """The key of a drawing of this class; None when the line is something else."""
    try:
        values = json.loads(line)
    except ValueError:
        return None
    if not isinstance(values, dict) or values.get("word") != name or not isinstance(values.get("drawing"), list):
        return None
    return str(values["key_id"]) if values.get("key_id") else None

"""Fetches the first drawings of each Quick, Draw! class from the official public address."""

import hashlib
import http.client
import json
import os
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tune_sketch.data.locks import hold_lock
from tune_sketch.data.progress import Progress
from tune_sketch.data.quickdraw_classes import QUICKDRAW_CLASSES
from tune_sketch.data.request import DataRequest

# Quick, Draw! by Google, CC BY 4.0; the address its authors publish.
QUICKDRAW_URL = "https://storage.googleapis.com/quickdraw_dataset/full/simplified"
URL_VARIABLE = "TUNE_SKETCH_QUICKDRAW_URL"
DEFAULT_PER_CLASS = 160  # as in the paper
MAX_ATTEMPTS = 6
FIRST_WAIT_SECONDS = 1.0  # doubles from one attempt to the next
TIMEOUT_SECONDS = 30.0
_NUM_CONNECTIONS = 4
_MAX_LINE_BYTES = 1 << 24

SelectClasses = Callable[[Iterable[str], "tuple[str, ...] | int | None"], list[str]]


class _BrokenTransferError(Exception):
    """A transfer broke off, or the server is busy; another attempt may help."""


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

    Drawings in the folder are kept and only the rest is fetched. Raises ValueError for a class that is not available,
    after the others were fetched; a second call resumes there.
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
        if len(_keep_whole_lines(target, name)) >= num_drawings:
            return
        target.replace(part)  # more drawings than last time: append them
    part.touch()
    address = f"{url.rstrip('/')}/{urllib.parse.quote(name)}.ndjson"
    failed_attempts = 0
    while len(keys := _keep_whole_lines(part, name)) < num_drawings:
        try:
            with part.open("r+b") as file:
                file.seek(0, os.SEEK_END)
                _append_lines(file, address, name, keys, num_drawings)
        except _BrokenTransferError as error:
            has_progressed = len(_keep_whole_lines(part, name)) > len(keys)
            failed_attempts = 0 if has_progressed else failed_attempts + 1
            if failed_attempts >= MAX_ATTEMPTS:
                raise ValueError(f"{address} failed {MAX_ATTEMPTS} times, at last: {error}") from error
            time.sleep(wait_seconds * 2 ** max(failed_attempts - 1, 0))
            continue
        break  # all that is wanted, or all that the server has
    if not part.stat().st_size:
        raise ValueError(f"{address} holds no drawing")
    with part.open("rb") as whole:
        os.fsync(whole.fileno())
    part.replace(target)


def _append_lines(file: IO[bytes], address: str, name: str, known_keys: set[str], num_drawings: int) -> None:
    """Append lines to the file until it holds enough; from a server without ranges it is fetched from its start."""
    offset = file.tell()
    keys = set(known_keys)
    with _open_address(address, offset) as response:
        if response is None:
            return
        if offset and response.status != 206:
            _empty(file, keys)
        length = response.headers.get("Content-Length")
        num_received = 0
        while len(keys) < num_drawings:
            try:
                line = response.readline(_MAX_LINE_BYTES)
            except (OSError, http.client.HTTPException) as error:
                raise _BrokenTransferError(str(error)) from error
            num_received += len(line)
            is_end = not line.endswith(b"\n")
            if is_end and length is not None and num_received < int(length):
                raise _BrokenTransferError(f"the connection broke off after {num_received:,} bytes")
            if not line:
                return
            key = _read_key(line, name)
            if key is None or key in keys:
                if is_end:
                    raise _BrokenTransferError(f"the connection broke off after {num_received:,} bytes")
                if known_keys:  # our lines are not the beginning of the present file
                    _empty(file, keys)
                    raise _BrokenTransferError("the file there has changed")
                raise ValueError(f"{address}: line {len(keys) + 1} is not a new drawing of {name!r}: {line[:80]!r}")
            file.write(line.rstrip(b"\r\n") + b"\n" if is_end else line)
            keys.add(key)


@contextmanager
def _open_address(address: str, offset: int) -> Iterator[http.client.HTTPResponse | None]:
    """The answer from byte `offset` on; None when the file ends before.

    Raises _BrokenTransferError when another attempt may help, ValueError when not.
    """
    request = urllib.request.Request(address, headers={"Range": f"bytes={offset}-"} if offset else {})
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 416:
                yield None
                return
            answer = f"the server answered {error.code} {error.reason}"
            if error.code in (408, 429) or error.code >= 500:
                raise _BrokenTransferError(answer) from error
            raise ValueError(f"{address} cannot be had: {answer}") from error
    except (OSError, http.client.HTTPException) as error:
        raise _BrokenTransferError(str(error)) from error
    with response:
        yield response


def _empty(file: IO[bytes], keys: set[str]) -> None:
    file.seek(0)
    file.truncate()
    keys.clear()


def _keep_whole_lines(path: Path, name: str) -> set[str]:
    """Truncate a file after its last valid line; returns the keys of the drawings that stay."""
    keys: set[str] = set()
    num_bytes = 0
    with path.open("r+b") as file:
        for line in file:
            key = _read_key(line, name)
            if not line.endswith(b"\n") or key is None or key in keys:
                break
            keys.add(key)
            num_bytes += len(line)
        file.truncate(num_bytes)
    return keys


def _read_key(line: bytes, name: str) -> str | None:
    """The key of a drawing of this class; None when the line is something else."""
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(values, dict) or values.get("word") != name or not isinstance(values.get("drawing"), list):
        return None
    return str(values["key_id"]) if values.get("key_id") else None

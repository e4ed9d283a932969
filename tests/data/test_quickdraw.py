"""Quick, Draw!: strokes, bitmaps, and a download from a server that breaks off."""

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest

from tests.support.drawings import make_stroke_folder, make_stroke_line
from tune_sketch.data import DataError, DataRequest, open_data, prepare_data
from tune_sketch.data.download import MAX_ATTEMPTS, download_quickdraw
from tune_sketch.data.quickdraw_classes import QUICKDRAW_CLASSES

SIMPLIFIED = Path(__file__).parents[3] / "shared" / "data" / "quickdraw-344x25-simplified"
needs_quickdraw = pytest.mark.skipif(not SIMPLIFIED.is_dir(), reason=f"{SIMPLIFIED} is not there")


def prepare(root: Path | str, image_px: int = 32, **choices):
    request = DataRequest(str(root), image_px, **choices)
    return open_data(prepare_data(request, progress=False))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNE_SKETCH_CACHE", str(tmp_path / "cache"))


def test_strokes_are_rendered(tmp_path):
    data = prepare(make_stroke_folder(tmp_path / "set"))
    assert data.class_names == ["cat", "ice cream"]
    assert data.names[:2] == ["cat.ndjson:1", "cat.ndjson:2"]
    assert data.original_px is None
    assert len(data.images) == 12
    assert (data.images.reshape(12, -1).max(axis=1) == 255).all()
    assert (data.images[:, 0, -1] == 0).all()
    thick = prepare(tmp_path / "set", pen_width_px=6)
    assert thick.images.mean() > 2 * data.images.mean()
    assert prepare(tmp_path / "set", 224).images.shape == (12, 224, 224)
    light = prepare(tmp_path / "set", invert=False)
    assert (light.images == 255 - data.images).all()


def test_raw_strokes_with_times_look_like_simplified_ones(tmp_path):
    simplified = prepare(make_stroke_folder(tmp_path / "simplified")).images.astype(int)
    raw = prepare(make_stroke_folder(tmp_path / "raw", raw=True)).images.astype(int)
    assert np.abs(simplified - raw).max() <= 2


def test_names_of_files_downloaded_by_hand(tmp_path):
    root = make_stroke_folder(tmp_path / "set")
    for path in list(root.iterdir()):
        path.rename(root / f"full_simplified_{path.name}")
    assert prepare(root).class_names == ["cat", "ice cream"]


def test_bad_lines_are_listed_and_left_out(tmp_path):
    root = make_stroke_folder(tmp_path / "set", count=9)
    path = root / "cat.ndjson"
    lines = path.read_text().splitlines()
    lines[1] = lines[1][:40]
    lines[2] = make_stroke_line("dog", 1)
    lines[3] = json.dumps(json.loads(lines[3]) | {"drawing": []})
    lines[4] = json.dumps(json.loads(lines[4]) | {"drawing": [[[1, 2], [3]]]})
    lines[5] = "[1, 2]"
    path.write_text("\n".join(lines) + "\n\n")
    (root / "empty.ndjson").write_text("")
    with pytest.raises(DataError) as caught:
        prepare(root)
    reasons = {problem.name: problem.reason for problem in caught.value.problems}
    assert sorted(reasons) == [*(f"cat.ndjson:{number}" for number in (2, 3, 4, 5, 6)), "empty"]
    assert "not a Quick, Draw! drawing" in reasons["cat.ndjson:2"]
    assert reasons["cat.ndjson:3"] == "its word is 'dog', its file is of 'cat'"
    assert reasons["cat.ndjson:4"].startswith("blank")
    assert reasons["empty"].startswith("empty class")
    data = prepare(root, skip_bad_images=True)
    assert np.bincount(data.labels).tolist() == [4, 9]
    assert len(data.skipped) == 6


def test_bitmaps(tmp_path):
    root = tmp_path / "set"
    root.mkdir()
    rng = np.random.default_rng(0)
    rows = {}
    for name in ("cat", "dog"):
        rows[name] = np.zeros((5, 28, 28), np.uint8)
        rows[name][:, 4:24, 12:15] = 255
        rows[name][:, 20, 5:20] = rng.integers(100, 255, (5, 15))
        np.save(root / f"{name}.npy", rows[name].reshape(5, 784))
    data = prepare(root, 28)
    assert (data.images == np.concatenate([rows["cat"], rows["dog"]])).all()
    assert data.original_px == (28, 28)
    assert data.names[5] == "dog.npy:1"
    assert prepare(root, 64).images[0, 30, 30] > 240
    np.save(root / "fox.npy", np.zeros((5, 700), np.float32))
    np.save(root / "pig.npy", np.array([{}], dtype=object), allow_pickle=True)  # must never be unpickled
    with pytest.raises(DataError) as caught:
        prepare(root, 28)
    assert {problem.name for problem in caught.value.problems} == {"fox.npy", "pig.npy"}
    assert prepare(root, 28, skip_bad_images=True).class_names == ["cat", "dog"]


class Server(http.server.ThreadingHTTPServer):
    """Serves lines as the public bucket does, with the faults that a test asks for."""

    files: dict[str, bytes]
    break_after: list[int]  # bytes after which each next answer breaks off
    answers: list[int]  # status codes to answer with before anything else
    has_ranges = True
    requests: list[tuple[str, str | None]]
    num_sent = 0


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        path, wanted = unquote(self.path), self.headers.get("Range")
        self.server.requests.append((path, wanted))
        if self.server.answers:
            self.send_error(self.server.answers.pop(0))
            return
        content = self.server.files.get(path)
        if content is None:
            self.send_error(404)
            return
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.server.has_ranges else 0
        if start and start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        end = start + self.server.break_after.pop(0) if self.server.break_after else len(content)
        try:
            for position in range(start, min(end, len(content)), 512):
                piece = content[position : min(position + 512, end)]
                self.wfile.write(piece)
                self.server.num_sent += len(piece)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the client has enough
        self.close_connection = True

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server(monkeypatch) -> Iterator[Server]:
    server = Server(("127.0.0.1", 0), Handler)
    server.files = {
        f"/full/{word}.ndjson": "".join(make_stroke_line(word, number) + "\n" for number in range(count)).encode()
        for word, count in (("cat", 400), ("dog", 400), ("ice cream", 12))
    }
    server.break_after, server.answers, server.requests = [], [], []
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    monkeypatch.setenv("TUNE_SKETCH_QUICKDRAW_URL", f"http://127.0.0.1:{server.server_port}/full")
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def fetch(server: Server, folder: Path, names: list[str], num_drawings: int) -> None:
    folder.mkdir(exist_ok=True)
    url = f"http://127.0.0.1:{server.server_port}/full/"
    download_quickdraw(folder, names, num_drawings, url=url, progress=False, first_wait_seconds=0.001)


def test_download_takes_the_first_drawings_and_no_more(server, tmp_path):
    server.files["/full/cat.ndjson"] = b"".join(make_stroke_line("cat", n).encode() + b"\n" for n in range(40_000))
    fetch(server, tmp_path / "out", ["cat", "ice cream"], 20)
    first = server.files["/full/cat.ndjson"].splitlines(keepends=True)[:20]
    assert (tmp_path / "out" / "cat.ndjson").read_bytes() == b"".join(first)
    assert (tmp_path / "out" / "ice cream.ndjson").read_bytes() == server.files["/full/ice cream.ndjson"]  # has 12
    assert server.num_sent < len(server.files["/full/cat.ndjson"]) / 2
    assert not list((tmp_path / "out").glob("*.part"))


def test_download_goes_on_after_breaks(server, tmp_path):
    server.break_after = [5_000, 100, 9_000]
    fetch(server, tmp_path / "out", ["cat"], 300)
    lines = server.files["/full/cat.ndjson"].splitlines(keepends=True)
    assert (tmp_path / "out" / "cat.ndjson").read_bytes() == b"".join(lines[:300])
    ranges = [wanted for _, wanted in server.requests]
    assert len(ranges) == 4
    assert ranges[0] is None
    starts = [int(str(wanted).removeprefix("bytes=").rstrip("-")) for wanted in ranges[1:]]
    line_ends = set(np.cumsum([len(line) for line in lines]).tolist())
    assert set(starts) <= line_ends  # goes on behind the last whole line
    assert starts == sorted(starts)


def test_download_from_a_server_without_ranges_starts_over(server, tmp_path):
    server.has_ranges = False
    server.break_after = [20_000]
    fetch(server, tmp_path / "out", ["cat"], 300)
    lines = server.files["/full/cat.ndjson"].splitlines(keepends=True)
    assert (tmp_path / "out" / "cat.ndjson").read_bytes() == b"".join(lines[:300])


def test_download_asks_again_when_the_server_is_busy(server, tmp_path):
    server.answers = [503, 429, 500]
    fetch(server, tmp_path / "out", ["dog"], 5)
    assert len((tmp_path / "out" / "dog.ndjson").read_text().splitlines()) == 5


def test_download_gives_up_and_a_second_call_goes_on(server, tmp_path):
    server.break_after = [5_000] + [0] * MAX_ATTEMPTS
    with pytest.raises(ValueError, match=rf"failed {MAX_ATTEMPTS} times.*broke off"):
        fetch(server, tmp_path / "out", ["cat"], 100)
    assert not (tmp_path / "out" / "cat.ndjson").exists()
    assert (tmp_path / "out" / "cat.ndjson.part").stat().st_size > 4_000
    server.requests.clear()
    fetch(server, tmp_path / "out", ["cat"], 100)
    assert server.requests[0][1] is not None
    assert len((tmp_path / "out" / "cat.ndjson").read_text().splitlines()) == 100


def test_more_drawings_are_fetched_behind_the_old_ones(server, tmp_path):
    fetch(server, tmp_path / "out", ["cat"], 10)
    size = (tmp_path / "out" / "cat.ndjson").stat().st_size
    server.requests.clear()
    fetch(server, tmp_path / "out", ["cat"], 10)
    assert server.requests == []
    fetch(server, tmp_path / "out", ["cat"], 25)
    assert server.requests == [("/full/cat.ndjson", f"bytes={size}-")]
    assert len((tmp_path / "out" / "cat.ndjson").read_text().splitlines()) == 25


def test_a_file_that_changed_at_the_server_is_fetched_anew(server, tmp_path):
    fetch(server, tmp_path / "out", ["cat"], 10)
    lines = [make_stroke_line("cat", number + 1_000) + " " * (number % 7) for number in range(400)]
    server.files["/full/cat.ndjson"] = ("\n".join(lines) + "\n").encode()
    fetch(server, tmp_path / "out", ["cat"], 50)
    assert (tmp_path / "out" / "cat.ndjson").read_text().splitlines() == lines[:50]


def test_wrong_content_is_refused(server, tmp_path):
    lines = server.files["/full/cat.ndjson"].splitlines(keepends=True)
    for position, wrong in [(2, make_stroke_line("dog", 3).encode() + b"\n"), (3, b"<html>\n"), (4, lines[1])]:
        server.files["/full/cat.ndjson"] = b"".join([*lines[:position], wrong, *lines[position:]])
        with pytest.raises(ValueError, match=rf"line {position + 1} is not a new drawing of 'cat'"):
            fetch(server, tmp_path / f"out{position}", ["cat"], 10)
    with pytest.raises(ValueError, match=r"1 of 2 classes could not.*\n.*zebra\.ndjson cannot be had.*404"):
        fetch(server, tmp_path / "out", ["dog", "zebra"], 10)
    assert (tmp_path / "out" / "dog.ndjson").exists()
    with pytest.raises(ValueError, match="must begin with http"):
        download_quickdraw(tmp_path, ["cat"], 5, url="file:///etc", progress=False)


def test_quickdraw_by_name(server):
    with pytest.raises(ValueError, match=r"not downloaded yet \(cat, dog\): add --download"):
        prepare("quickdraw", classes=("dog", "cat"))
    data = prepare("quickdraw", classes=("dog", "cat"), per_class=15, download=True)
    assert data.class_names == ["cat", "dog"]
    assert len(data.images) == 30
    assert data.names[0] == "cat.ndjson:1"
    server.requests.clear()
    again = prepare("quickdraw", classes=("dog", "cat"), per_class=15)
    assert again.fingerprint == data.fingerprint
    prepare("quickdraw", classes=("dog", "cat"), per_class=40, download=True)
    # What a later call has fetched must not change what an earlier one chose.
    assert prepare("quickdraw", classes=("dog", "cat"), per_class=15).fingerprint == data.fingerprint
    with pytest.raises(ValueError, match=r"unknown name 'icecream' \(did you mean 'ice cream'\?\); known: The Eiffel"):
        prepare("quickdraw", classes=("icecream", "cat"), download=True)
    assert len(QUICKDRAW_CLASSES) == 345


@needs_quickdraw
def test_real_drawings():
    data = prepare(SIMPLIFIED, 48, classes=6)
    assert len(data.images) == 150
    share = data.images.reshape(150, -1).mean(axis=1) / 255
    assert share.min() > 0.01
    assert share.max() < 0.6

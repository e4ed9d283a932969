"""Decoding in processes of their own: as one process does, once for several builders, nothing left after a kill."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.support.drawings import make_image_folder
from tune_sketch.data import DataRequest, SketchData, open_data, prepare_data

pytestmark = pytest.mark.real


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNE_SKETCH_CACHE", str(tmp_path / "cache"))


def prepare(root: Path, image_px: int = 20, **choices) -> SketchData:
    return open_data(prepare_data(DataRequest(str(root), image_px, **choices), progress=False))


BUILD = """
import sys
from tune_sketch.data import DataRequest, prepare_data
print(prepare_data(DataRequest(sys.argv[1], 24), progress=True))
"""


def test_two_builders_at_once_decode_once(tmp_path):
    root = make_image_folder(tmp_path / "set", ("cat", "dog"), per_class=30)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", BUILD, str(root)]
    builders = [
        subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    results = [builder.communicate(timeout=120) for builder in builders]
    assert [builder.returncode for builder in builders] == [0] * 4
    assert len({out for out, _ in results}) == 1
    assert sum("decoding" in err for _, err in results) == 1
    assert len(open_data(results[0][0].strip()).images) == 60


def test_a_killed_builder_leaves_nothing_in_the_way(tmp_path):
    root = make_image_folder(tmp_path / "set", ("cat", "dog"), per_class=600)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    builder = subprocess.Popen([sys.executable, "-c", BUILD, str(root)], env=environment, stderr=subprocess.DEVNULL)
    decoded = tmp_path / "cache" / "decoded"
    deadline = time.monotonic() + 60
    while not list(decoded.glob(".*.building/images.npy")) and time.monotonic() < deadline:
        time.sleep(0.005)
    builder.kill()
    builder.wait()
    data = prepare(root, 24)
    assert len(data.images) == 1_200
    assert (data.images.reshape(1_200, -1).max(axis=1) > 200).all()
    assert not list(decoded.glob(".*.building"))


def test_workers_decode_as_one_process_does(tmp_path, monkeypatch):
    root = make_image_folder(tmp_path / "set", ("cat", "dog"), per_class=300)
    (root / "dog" / "7.png").write_bytes(b"")
    monkeypatch.setattr("tune_sketch.data.workers.count_cores", lambda: 1)
    alone = prepare(root, skip_bad_images=True)
    monkeypatch.setattr("tune_sketch.data.workers.count_cores", lambda: 3)
    monkeypatch.setenv("TUNE_SKETCH_CACHE", str(tmp_path / "cache2"))
    together = prepare(root, skip_bad_images=True)
    assert (alone.images == together.images).all()
    assert alone.skipped == together.skipped
    assert alone.original_px == together.original_px == (40, 40)
    folder = prepare_data(DataRequest(str(root), 20, skip_bad_images=True), progress=False)
    assert sorted(path.name for path in folder.iterdir()) == ["groups.npy", "images.npy", "labels.npy", "meta.json"]


UNGUARDED = """
import sys
print("main module of", __name__)
from tune_sketch.data import DataRequest, prepare_data, workers
import joblib
prepare_data(DataRequest(sys.argv[1], 20), progress=False)
modules = joblib.Parallel(2, "loky")(joblib.delayed(lambda: sorted(__import__("sys").modules))() for _ in range(2))
print([name for name in ("torch", "ray", "optuna") if any(name in found for found in modules)])
"""


def test_workers_import_neither_the_main_module_nor_torch(tmp_path):
    """A caller's script needs no `if __name__ == "__main__"`, and workers start in the time of numpy."""
    root = make_image_folder(tmp_path / "set", ("cat", "dog"), per_class=300)
    script = tmp_path / "script.py"
    script.write_text(UNGUARDED.replace("workers\n", "workers\nworkers.count_cores = lambda: 2\n"))
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    answer = subprocess.run(
        [sys.executable, script, root], env=environment, capture_output=True, text=True, timeout=120
    )
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.splitlines() == ["main module of __main__", "[]"]


@pytest.mark.parametrize("seconds", [0, 0.1, 0.2, 1])  # when they start, a lock of the parent's may be left behind
def test_workers_end_with_their_parent(tmp_path, seconds):
    root = make_image_folder(tmp_path / "set", ("cat", "dog"), per_class=1_500)
    code = BUILD.replace("\nprint", "\nfrom tune_sketch.data import workers\nworkers.count_cores = lambda: 2\nprint")
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    builder = subprocess.Popen(
        [sys.executable, "-c", code.replace(", 24)", ", 512)"), root], env=environment, stderr=subprocess.DEVNULL
    )
    workers: list[psutil.Process] = []
    deadline = time.monotonic() + 60
    while len(workers) < 2 and time.monotonic() < deadline:
        children = psutil.Process(builder.pid).children(recursive=True)
        workers = [child for child in children if "loky_posix" in " ".join(child.cmdline())]
        time.sleep(0.002)
    time.sleep(seconds)
    builder.kill()
    builder.wait()
    assert len(workers) == 2
    assert not psutil.wait_procs(workers, timeout=20)[1]

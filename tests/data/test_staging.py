"""Decoded drawings reach each machine once: slow, torn and damaged transfers, several processes, changed drawings."""

import json
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import fsspec
import numpy as np
import pytest

import tests.support.bad_storage  # noqa: F401  # registers bad://
from tests.support.jobs import make_job
from tests.support.postgres import free_port
from tests.support.small_training import CONFIG
from tune_sketch.data import DataRequest, NotStagedError, open_data, prepare_data, publish_data, stage_data, staging
from tune_sketch.events import Job

PIECE_BYTES = 4096
REQUEST = DataRequest("doodles", 16, classes=4, per_class=24)
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def decoded(tmp_path_factory) -> Path:
    return prepare_data(REQUEST, cache_dir=tmp_path_factory.mktemp("cache"), progress=False)


@pytest.fixture
def stored(decoded, tmp_path) -> Path:
    """Its copy on a bad storage, which behaves until a test says otherwise."""
    folder = shutil.copytree(decoded, tmp_path / "storage" / decoded.name)
    behave(folder)
    return folder


@pytest.fixture(autouse=True)
def _small_and_quick(monkeypatch):
    monkeypatch.delenv("TUNE_SKETCH_CACHE", raising=False)
    monkeypatch.delenv("TUNE_SKETCH_NODE_CACHE", raising=False)
    monkeypatch.setattr(staging, "PIECE_BYTES", PIECE_BYTES)
    monkeypatch.setattr(staging, "FIRST_PAUSE_SECONDS", 0.001)


@pytest.fixture
def on_node(monkeypatch, tmp_path):
    """Be on one of several machines, each with its own disk."""

    def on_node(name: str) -> Path:
        monkeypatch.setenv("TUNE_SKETCH_NODE_CACHE", str(tmp_path / name))
        return tmp_path / name

    return on_node


def behave(stored: Path, **behaviour) -> None:
    (stored / "behaviour.json").write_text(json.dumps(behaviour))


def reads(stored: Path) -> list[str]:
    """Every piece that the storage gave, "images.npy 4096", without meta.json, which is read at each start."""
    lines = (stored / "reads.txt").read_text().splitlines() if (stored / "reads.txt").exists() else []
    return [line for line in lines if not line.startswith("meta.json")]


def whole(stored: Path) -> list[str]:
    """The pieces of one whole transfer."""
    return [
        f"{name} {start}"
        for name, file in json.loads((stored / "meta.json").read_text())["files"].items()
        for start in range(0, file["bytes"], PIECE_BYTES)
    ]


def check_same(copy: Path, decoded: Path) -> None:
    one, other = open_data(copy), open_data(decoded)
    assert one.fingerprint == other.fingerprint
    assert one.names == other.names
    for name in ("images", "labels", "groups"):
        assert np.array_equal(getattr(one, name), getattr(other, name))


def test_a_path_is_read_where_it_is(decoded):
    assert stage_data(publish_data(decoded)) == decoded


def test_each_node_gets_one_copy(decoded, stored, on_node):
    for name in ("node1", "node2"):
        cache = on_node(name)
        folders = [stage_data(f"bad://{stored}") for _ in range(3)]
        assert folders == [cache / "decoded" / decoded.name] * 3
        check_same(folders[0], decoded)
    assert sorted(reads(stored)) == sorted(2 * whole(stored))


def test_a_shared_path_is_copied_to_the_nodes_own_disk_when_asked(decoded, on_node):
    cache = on_node("node1")
    folder = stage_data(publish_data(decoded))
    assert folder.is_relative_to(cache)
    check_same(folder, decoded)


def test_the_node_that_decoded_copies_nothing(tmp_path, on_node):
    cache = on_node("head")
    folder = prepare_data(REQUEST, progress=False)
    assert folder.is_relative_to(cache)
    assert stage_data(str(folder)) == folder
    assert [path.name for path in folder.parent.iterdir() if path.is_dir()] == [folder.name]


def test_a_torn_transfer_goes_on_where_it_broke_off(decoded, stored, on_node):
    on_node("node1")
    behave(stored, tear=3)  # meta.json and two of every three pieces arrive
    check_same(stage_data(f"bad://{stored}"), decoded)
    assert reads(stored) == whole(stored), "no piece was fetched twice"


def test_damage_on_the_way_is_found_and_fetched_again(decoded, stored, on_node):
    on_node("node1")
    behave(stored, damage=4)
    check_same(stage_data(f"bad://{stored}"), decoded)
    assert len(reads(stored)) > len(whole(stored))


def test_damage_in_the_storage_is_never_seen(stored, on_node):
    cache = on_node("node1")
    images = bytearray((stored / "images.npy").read_bytes())
    images[-1] ^= 1
    (stored / "images.npy").write_bytes(images)
    with pytest.raises(NotStagedError, match=rf"bad://{stored}/images.npy has SHA-256 \w+, what was decoded \w+"):
        stage_data(f"bad://{stored}")
    assert [path.name for path in (cache / "decoded").glob("[!.]*")] == [f"{stored.name}.lock"]


def test_a_storage_without_the_data_is_named(stored, on_node):
    on_node("node1")
    (stored / "labels.npy").unlink()
    with pytest.raises(NotStagedError, match=r"labels.npy could not be read in \d tries: FileNotFoundError"):
        stage_data(f"bad://{stored}")


def test_another_data_set_under_the_same_key_is_refused(stored, on_node, tmp_path):
    on_node("node1")
    other = stored.rename(stored.with_name("0" * 32))
    with pytest.raises(NotStagedError, match="holds another data set, of fingerprint"):
        stage_data(f"bad://{other}")


def test_a_full_disk_is_said_before_anything_is_copied(stored, on_node, monkeypatch):
    on_node("node1")
    monkeypatch.setattr(staging.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 9, 1))
    with pytest.raises(NotStagedError, match=r"bytes in .*, where 1 are free"):
        stage_data(f"bad://{stored}")
    assert not reads(stored)


def test_a_damaged_copy_on_the_node_is_replaced(decoded, stored, on_node):
    on_node("node1")
    folder = stage_data(f"bad://{stored}")
    (folder / "images.npy").write_bytes((folder / "images.npy").read_bytes()[:1000])
    check_same(stage_data(f"bad://{stored}"), decoded)


def test_changed_drawings_are_another_copy(decoded, on_node, tmp_path):
    on_node("node1")
    changed = prepare_data(DataRequest("doodles", 16, classes=4, per_class=24, seed=1), cache_dir=tmp_path / "cache")
    first, second = stage_data(str(decoded)), stage_data(str(changed))
    assert first != second
    check_same(first, decoded)
    check_same(second, changed)


def start_process(stored: Path, node: Path) -> subprocess.Popen:
    """Another process that stages, as a second trial of a machine would."""
    code = (
        "import sys, tests.support.bad_storage; from tune_sketch.data import stage_data, staging; "
        f"staging.PIECE_BYTES = {PIECE_BYTES}; print(stage_data(sys.argv[1]))"
    )
    environment = {"TUNE_SKETCH_NODE_CACHE": str(node), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    program = [sys.executable, "-c", code, f"bad://{stored}"]
    return subprocess.Popen(program, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_of_two_processes_on_each_of_two_nodes_one_copies(decoded, stored, tmp_path):
    behave(stored, seconds=0.1)
    nodes = [tmp_path / "node1", tmp_path / "node2"]
    processes = [start_process(stored, node) for node in nodes for _ in range(2)]
    said = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, said
    for node in nodes:
        check_same(node / "decoded" / decoded.name, decoded)
    assert sorted(reads(stored)) == sorted(2 * whole(stored))
    assert sum("waiting for another process" in errors for _, errors in said) == 2
    assert sum("copying bad://" in errors for _, errors in said) == 2


def test_a_killed_transfer_is_not_seen_and_the_next_process_goes_on_with_it(decoded, stored, on_node):
    cache = on_node("node1")
    behave(stored, seconds=0.1)
    process = start_process(stored, cache)
    deadline = time.monotonic() + 60
    while len(reads(stored)) < 4:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.kill()
    process.communicate()
    assert not (cache / "decoded" / decoded.name).exists()
    num_before = len(reads(stored))
    behave(stored)
    check_same(stage_data(f"bad://{stored}"), decoded)
    # The piece that was on its way when the process died may have to come again.
    assert len(whole(stored)) - num_before <= len(reads(stored)) - num_before <= len(whole(stored)) - num_before + 1


def test_a_url_holds_the_data_for_all_machines(decoded, on_node, monkeypatch):
    on_node("node1")
    files = fsspec.filesystem("memory")
    monkeypatch.setenv("TUNE_SKETCH_CACHE", "memory://bucket/sketches/")
    place = publish_data(decoded)
    assert place == f"memory://bucket/sketches/decoded/{decoded.name}"
    check_same(stage_data(place), decoded)
    # What is there is not copied again; without its meta.json, written last, it is not there.
    files.pipe_file(f"{place}/labels.npy", b"")
    publish_data(decoded)
    assert files.cat_file(f"{place}/labels.npy") == b""
    files.rm(f"{place}/meta.json")
    publish_data(decoded)
    on_node("node2")
    check_same(stage_data(place), decoded)


def test_a_url_that_cannot_be_used_is_an_error_of_the_user(decoded, monkeypatch):
    monkeypatch.setenv("TUNE_SKETCH_CACHE", "nowhere://bucket")
    with pytest.raises(ValueError, match=r"TUNE_SKETCH_CACHE=nowhere://bucket cannot be used: .*nowhere"):
        publish_data(decoded)


def check_bucket(cache: str, decoded: Path, on_node, monkeypatch) -> None:
    """Check that decoded drawings go to the bucket, and from there to two machines."""
    monkeypatch.setenv("TUNE_SKETCH_CACHE", cache)
    place = publish_data(decoded)
    assert place == publish_data(decoded) == f"{cache}/decoded/{decoded.name}"
    for name in ("node1", "node2"):
        on_node(name)
        check_same(stage_data(place), decoded)


def test_a_bucket_of_s3(decoded, on_node, monkeypatch):
    """S3's own protocol, spoken by s3fs to a server on this machine."""
    pytest.importorskip("s3fs", reason="needs the extra `s3`")
    server = pytest.importorskip("moto.server", reason="needs moto").ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
            monkeypatch.setenv(f"AWS_{name}", "of-nobody")
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        fsspec.filesystem("s3").mkdir("drawings")
        check_bucket("s3://drawings/cache", decoded, on_node, monkeypatch)
    finally:
        server.stop()


def test_a_bucket_of_google(decoded, on_node, monkeypatch):
    """Google's own protocol, spoken by gcsfs to a server on this machine."""
    pytest.importorskip("gcsfs", reason="needs the extra `gs`")
    emulator = pytest.importorskip("gcp_storage_emulator.server", reason="needs gcp-storage-emulator")
    port = free_port()
    server = emulator.create_server("127.0.0.1", port, in_memory=True, default_bucket="drawings")
    server.start()
    try:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
        check_bucket("gs://drawings/cache", decoded, on_node, monkeypatch)
    finally:
        server.stop()


def make_staged_job(decoded: Path, tmp_path: Path) -> Job:
    return replace(make_job(tmp_path, decoded, CONFIG), data=f"bad://{tmp_path / 'storage' / decoded.name}")


def test_trials_of_a_node_read_one_copy(decoded, stored, on_node, tmp_path):
    from tune_sketch.trainables.job import open_job

    cache, job = on_node("node1"), make_staged_job(decoded, tmp_path)
    for _ in range(2):
        _, arrays, _ = open_job(job)
        assert isinstance(arrays.train.images, np.memmap)
        assert Path(arrays.train.images.filename).is_relative_to(cache)
    assert reads(stored) == whole(stored)


def test_a_node_that_cannot_get_the_data_gives_the_trial_back(decoded, stored, on_node, tmp_path):
    """The error leaves the trial, so that Ray ends it and the searcher hands it out again, perhaps elsewhere."""
    from tune_sketch.trainables.trial import SketchTrial

    on_node("node1")
    behave(stored, tear=1)
    trial = object.__new__(SketchTrial)
    trial.setup({"job": make_staged_job(decoded, tmp_path)})
    with pytest.raises(NotStagedError, match="the line is torn"):
        trial.step()

"""The cache of decoded drawings: reused, follows the content, is built again when damaged, read across versions."""

import json
import os
import shutil

import pytest

from tests.support.drawings import draw, make_image_folder
from tune_sketch.data import DataRequest, open_data, prepare_data
from tune_sketch.data.sources.registry import list_drawings


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNE_SKETCH_CACHE", str(tmp_path / "cache"))


def test_cache_is_reused_and_follows_the_content(tmp_path, monkeypatch):
    root = make_image_folder(tmp_path / "set")
    request = DataRequest(str(root), 20)
    folder = prepare_data(request, progress=False)
    decoded_at = (folder / "images.npy").stat().st_mtime_ns

    def refuse(*_):
        raise AssertionError("the drawings were listed again")

    monkeypatch.setattr("tune_sketch.data.prepare.list_drawings", refuse)
    assert prepare_data(request, progress=False) == folder
    monkeypatch.setattr("tune_sketch.data.prepare.list_drawings", list_drawings)

    for path in root.glob("*/*.png"):  # other times, the same content: read again, decoded no more
        os.utime(path, (1_000_000_000, 1_000_000_000))
    assert prepare_data(request, progress=False) == folder
    shutil.copytree(root, tmp_path / "elsewhere")
    assert prepare_data(DataRequest(str(tmp_path / "elsewhere"), 20), progress=False) == folder
    assert (folder / "images.npy").stat().st_mtime_ns == decoded_at

    draw(30).save(root / "cat" / "0.png")
    other = prepare_data(request, progress=False)
    assert other != folder
    assert prepare_data(DataRequest(str(root), 21), progress=False) not in (folder, other)


@pytest.mark.parametrize("name", ["images.npy", "meta.json", "labels.npy"])
def test_damaged_cache_is_built_again(tmp_path, name):
    request = DataRequest(str(make_image_folder(tmp_path / "set")), 20)
    folder = prepare_data(request, progress=False)
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="not a whole decoded data set"):
        open_data(folder)
    assert prepare_data(request, progress=False) == folder
    if name != "meta.json":  # it notes how long decoding took
        assert (folder / name).read_bytes() == whole
    assert len(open_data(folder).images) == 8


def test_pixels_of_another_version_are_not_taken_for_ours(tmp_path):
    """Version 0.1 prepared pictures otherwise."""
    folder = prepare_data(DataRequest("doodles", 16, classes=2, per_class=4), progress=False)
    meta = json.loads((folder / "meta.json").read_text())
    meta["format_version"] -= 1
    (folder / "meta.json").write_text(json.dumps(meta))
    with pytest.raises(ValueError, match="its format is 1, this version reads 2"):
        open_data(folder)

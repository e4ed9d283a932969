"""Every kind of data keeps one contract: it lists its drawings, reads each one's content, and decodes it."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from tests.support.drawings import PATH_SOURCES
from tune_sketch.data import DataRequest, open_data, prepare_data
from tune_sketch.data.formats.base import DecodeSettings, Drawing
from tune_sketch.data.formats.registry import decode_drawing, read_bytes
from tune_sketch.data.pixels import BadDrawingError
from tune_sketch.data.sources.registry import find_source, list_drawings

IMAGE_PX = 28
KINDS = (*PATH_SOURCES, "doodles")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNE_SKETCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture(params=KINDS)
def data(request, tmp_path) -> str:
    """--data, for two classes, cat and dog, of six drawings each."""
    return str(PATH_SOURCES[request.param](tmp_path / "set")) if request.param in PATH_SOURCES else request.param


def make_request(data: str, **choices) -> DataRequest:
    """The request for all drawings; of doodles for as many as the other kinds have."""
    if data == "doodles":
        choices = {"classes": ("cat", "dog"), "per_class": 6} | choices
    return DataRequest(data, IMAGE_PX, **choices)


def list_all(data: str, tmp_path: Path, **choices) -> list[Drawing]:
    request = make_request(data, **choices)
    drawings, problems = list_drawings(find_source(request, tmp_path / "cache", progress=False), request)
    assert problems == []
    return drawings


def settings(**choices) -> DecodeSettings:
    return DecodeSettings(**{"image_px": IMAGE_PX, "invert": True, "pen_width_px": None, "seed": 0} | choices)


def test_it_lists_its_drawings(data, tmp_path):
    drawings = list_all(data, tmp_path)
    assert [drawing.class_name for drawing in drawings] == ["cat"] * 6 + ["dog"] * 6
    assert len({drawing.name for drawing in drawings}) == 12
    assert list_all(data, tmp_path) == drawings
    assert not any(os.path.isabs(drawing.name) for drawing in drawings), "a data set may be moved"


def test_classes_and_numbers_can_be_chosen(data, tmp_path):
    drawings = list_all(data, tmp_path)
    some = list_all(data, tmp_path, per_class=3, seed=1)
    assert [drawing.class_name for drawing in some] == ["cat"] * 3 + ["dog"] * 3
    assert {drawing.name for drawing in some} <= {drawing.name for drawing in drawings}
    assert list_all(data, tmp_path, per_class=3, seed=1) == some
    assert list_all(data, tmp_path, classes=("dog", "cat")) == drawings
    with pytest.raises(ValueError, match=r"unknown name 'dgo' \(did you mean 'dog'\?\)"):
        list_all(data, tmp_path, classes=("cat", "dgo"))


def test_it_reads_each_drawings_content(data, tmp_path):
    drawings = list_all(data, tmp_path)
    contents = [read_bytes(drawing) for drawing in drawings]
    assert all(contents)
    assert len(set(contents)) == 12
    assert [read_bytes(pickle.loads(pickle.dumps(drawing))) for drawing in drawings] == contents, "in a worker too"


def test_it_decodes_to_ink_on_zero(data, tmp_path):
    drawings = list_all(data, tmp_path)
    for drawing in drawings:
        decoded = decode_drawing(drawing, settings())
        square = decoded.square
        assert (square.shape, square.dtype) == ((IMAGE_PX, IMAGE_PX), np.uint8)
        assert np.median(square) == 0, "paper"
        assert square.max() > 150, "ink"
        assert decoded.side_px >= 0
        assert (decode_drawing(drawing, settings()).square == square).all()
        inverse = decode_drawing(drawing, settings(invert=False)).square
        assert (inverse == 255 - square).all()
        assert decode_drawing(drawing, settings(image_px=50)).square.shape == (50, 50)


def test_it_becomes_one_decoded_set(data, tmp_path):
    prepared = open_data(prepare_data(make_request(data), progress=False))
    assert prepared.class_names == ["cat", "dog"]
    assert prepared.labels.tolist() == [0] * 6 + [1] * 6
    assert prepared.names == [drawing.name for drawing in list_all(data, tmp_path)]
    assert prepared.synthetic == (data == "doodles")
    again = open_data(prepare_data(make_request(data), cache_dir=tmp_path / "other", progress=False))
    assert again.fingerprint == prepared.fingerprint
    assert (again.images == prepared.images).all()


@pytest.mark.parametrize("kind", PATH_SOURCES)
def test_a_file_that_vanished_is_a_bad_drawing(kind, tmp_path):
    for drawing in list_all(str(PATH_SOURCES[kind](tmp_path / "set")), tmp_path):
        path = Path(drawing.path)
        path.unlink(missing_ok=True)
        if kind != "bitmaps":  # an opened memory map outlives its file's name
            with pytest.raises(BadDrawingError, match="unreadable: No such file"):
                decode_drawing(drawing, settings())

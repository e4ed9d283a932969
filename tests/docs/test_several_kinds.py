"""The snippet that puts strokes of Quick, Draw! among pictures gives one data set of both."""

import json

import numpy as np

from tests.docs.pages import ROOT, blocks_of
from tests.support.drawings import make_image_folder
from tune_sketch.data import DataRequest, open_data, prepare_data
from tune_sketch.data.strokes import render_strokes

(SNIPPET,) = [block for block in blocks_of(ROOT / "docs" / "own-data.md") if "quickdraw_{number}" in block.text]
ZIGZAG = [[[0, 255, 0], [0, 100, 255]], [[30], [40]]]


def test_strokes_and_pictures_are_one_data_set(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root = make_image_folder(tmp_path / "drawings")
    before = open_data(prepare_data(DataRequest(str(root), 32), cache_dir=tmp_path / "cache", progress=False))
    (root / "cat").rename(root / "big_cat")
    (tmp_path / "quickdraw").mkdir()
    for name in ("big cat", "unknown"):
        lines = [json.dumps({"word": name, "drawing": ZIGZAG[:count]}) for count in (1, 2)]
        (tmp_path / "quickdraw" / f"{name}.ndjson").write_text("\n".join(lines))
    exec(SNIPPET.text, {})  # the page's own words
    data = open_data(prepare_data(DataRequest(str(root), 32), cache_dir=tmp_path / "cache", progress=False))
    assert len(data.names) == len(before.names) + 2
    assert "unknown" not in data.class_names
    index = data.names.index("big_cat/quickdraw_1.png")
    assert data.class_names[data.labels[index]] == "big_cat"
    expected = render_strokes([np.array(ZIGZAG[0]).T], 32)
    assert np.corrcoef(data.images[index].ravel(), expected.ravel())[0, 1] > 0.9

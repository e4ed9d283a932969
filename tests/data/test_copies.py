"""Exact copies of a drawing are never on two sides of a split, and are counted aloud."""

import shutil

import numpy as np
import pytest

from tests.support.drawings import draw
from tune_sketch.config.plan import plan_lines, prepare_inputs
from tune_sketch.config.settings import Settings
from tune_sketch.data import DataRequest, open_data, prepare_data
from tune_sketch.data.__main__ import main
from tune_sketch.data.copies import find_copies, join_groups
from tune_sketch.data.splits import make_splits


@pytest.fixture
def with_copies(tmp_path):
    """Two classes of twelve drawings, each of which is there twice under another name."""
    for kind, name in enumerate(("cat", "dog")):
        folder = tmp_path / "set" / name
        folder.mkdir(parents=True)
        for number in range(12):
            draw(20 * kind + number).save(folder / f"{number}.png")
            shutil.copy(folder / f"{number}.png", folder / f"again-{number}.png")
    return tmp_path / "set"


@pytest.mark.parametrize("split_by", ["photo", "file"])
def test_copies_are_on_one_side_of_every_split(with_copies, tmp_path, split_by):
    data = open_data(prepare_data(DataRequest(str(with_copies), 16), cache_dir=tmp_path, progress=False))
    assert len(data.copies) == 24
    for seed in range(10):
        groups = data.groups_for(split_by)
        splits = make_splits(data.labels, groups, protocol="small", split_by=split_by, seed=seed)
        sides = [
            {data.images[index].tobytes() for index in side} for side in (splits.train, splits.validation, splits.test)
        ]
        assert not sides[0] & sides[1] | sides[0] & sides[2] | sides[1] & sides[2]


def test_the_plan_and_the_data_command_count_copies(with_copies, capsys):
    settings = Settings("baseline", data=str(with_copies), image_px=16, protocol="small")
    sentence = "24 drawings are exact copies of others: copies are in the same split"
    assert f"copies    {sentence}" in plan_lines(settings, prepare_inputs(settings))
    assert main([str(with_copies), "--image-px", "16", "--protocol", "small"]) == 0
    assert sentence in capsys.readouterr().out


def test_copies_join_the_groups_of_their_photos():
    copies = find_copies([b"a", b"b", b"a", None, None, b"c", b"b"])
    assert copies == [[2, 0], [6, 1]]
    groups = join_groups(["p", "q", "r", "r", None, None, "p"], copies)
    assert groups[0] == groups[2] == groups[3] == groups[1] == groups[6]
    assert len(set(groups)) == 3
    assert join_groups([None] * 4, []).tolist() == [0, 1, 2, 3]
    assert np.array_equal(join_groups(["b", "a", "b"], []), [1, 0, 1]), "in the order of the photos' names"

"""Image folders: what the pixels become, and what is refused."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tests.support.drawings import draw, make_image_folder
from tune_sketch.data import DATASETS, DataError, DataRequest, open_data, prepare_data
from tune_sketch.data.splits import make_splits

SKETCHY = Path(__file__).parents[3] / "shared" / "data" / "sketchy-125x25"
needs_sketchy = pytest.mark.skipif(not SKETCHY.is_dir(), reason=f"{SKETCHY} is not there")


def prepare(root: Path | str, image_px: int = 20, **choices):
    request = DataRequest(str(root), image_px, **choices)
    return open_data(prepare_data(request, progress=False))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNE_SKETCH_CACHE", str(tmp_path / "cache"))


def test_folder_becomes_ink_on_zero(tmp_path):
    data = prepare(make_image_folder(tmp_path / "set"))
    assert data.images.shape == (8, 20, 20)
    assert data.images.dtype == np.uint8
    assert isinstance(data.images, np.memmap)
    assert not data.images.flags.writeable
    assert data.class_names == ["cat", "dog"]
    assert data.labels.tolist() == [0] * 4 + [1] * 4
    assert data.labels.dtype == data.groups.dtype == np.int64
    assert data.names[0] == "cat/0.png"
    assert data.original_px == (40, 40)
    assert len(set(data.groups)) == 8
    assert not data.synthetic
    assert not data.has_photos
    assert data.images[0, 10, 10] > 240  # on the line
    assert data.images[0, 10, 17] == 0  # paper
    kept = prepare(tmp_path / "set", invert=False)
    assert (kept.images == 255 - data.images).all()
    assert kept.fingerprint != data.fingerprint


def test_every_format_gives_the_same_picture(tmp_path):
    expected = prepare(make_image_folder(tmp_path / "png")).images.astype(int)
    for suffix, mode, ink, paper, tolerance in [
        ("jpg", "RGB", "black", "white", 40),
        ("jpeg", "L", 0, 255, 40),
        ("webp", "RGB", "black", "white", 40),
        ("bmp", "1", 0, 1, 0),
        ("PNG", "RGBA", (0, 0, 0, 255), (0, 0, 0, 0), 0),  # transparent black: only the alpha shows the ink
        ("png", "LA", (0, 255), (0, 0), 0),
        ("png", "P", 0, 1, 0),
        ("png", "I;16", 0, 65535, 0),
    ]:
        root = tmp_path / f"{suffix}-{mode.replace(';', '')}"
        for name, first in (("cat", 0), ("dog", 4)):
            (root / name).mkdir(parents=True)
            for number in range(4):
                image = draw(number + first, mode="L" if mode in ("P", "I;16") else mode, ink=ink, paper=paper)
                if mode == "P":
                    image = draw(number + first).convert("P")
                if mode == "I;16":
                    image = Image.fromarray(np.asarray(draw(number + first)).astype(np.uint16) * 257)
                image.save(root / name / f"{number}.{suffix}")
        images = prepare(root).images.astype(int)
        assert np.abs(images - expected).max() <= tolerance, (suffix, mode)


def test_wide_picture_is_padded_with_its_own_paper(tmp_path):
    root = make_image_folder(tmp_path / "set")
    draw(0, size=(80, 40), paper=230).save(root / "cat" / "0.png")
    data = prepare(root)
    image = data.images[0]
    assert (image[:4] == 0).all()  # above the picture: paper is 0, whatever its shade
    assert (image[16:] == 0).all()
    assert image[10, 10] > 200
    assert data.original_px == (40, 80)


def test_resampling_is_antialiased_and_keeps_the_ink(tmp_path):
    root = make_image_folder(tmp_path / "set")
    thin = Image.new("L", (1111, 1111), 255)
    ImageDraw.Draw(thin).line((100, 90, 1000, 1010), fill=0, width=5)
    thin.save(root / "cat" / "0.png")
    image = prepare(root, 64).images[0]
    share = (255 - np.asarray(thin)).mean() / 255
    assert image.mean() / 255 == pytest.approx(share, rel=0.03)
    rows = np.flatnonzero(image.max(axis=1) > 20)
    assert len(rows) >= rows.max() - rows.min() + 1  # the line has no gap


def test_light_on_dark_is_found_for_each_drawing(tmp_path):
    expected = prepare(make_image_folder(tmp_path / "usual"))
    for name, first in (("cat", 0), ("dog", 4)):
        (tmp_path / "dark" / name).mkdir(parents=True)
        for number in range(4):
            draw(number + first, ink=255, paper=0).save(tmp_path / "dark" / name / f"{number}.png")
    data = prepare(tmp_path / "dark")
    assert np.abs(data.images.astype(int) - expected.images).max() <= 1  # rounding
    assert (data.num_light_on_dark, expected.num_light_on_dark) == (8, 0)


def break_in_every_way(root: Path) -> dict[str, str]:
    """Damage a folder; returns what must be said about each name."""
    make_image_folder(root, ("ape", "bee", "cat", "dog"), per_class=8)
    (root / "ape" / "0.png").write_bytes(b"")
    whole = (root / "ape" / "1.png").read_bytes()
    (root / "ape" / "1.png").write_bytes(whole[: len(whole) // 2])
    (root / "bee" / "2.png").write_bytes(b"these are words")
    Image.new("L", (40, 40), 255).save(root / "bee" / "3.png")
    Image.new("RGBA", (40, 40), (0, 0, 0, 0)).save(root / "bee" / "4.png")
    shutil.copy(root / "cat" / "5.png", root / "dog" / "copy.png")
    (root / "eel").mkdir()
    (root / "fox").mkdir()
    draw(33).save(root / "fox" / "0.png")
    draw(34).save(root / "fox" / "1.png")
    (root / "cat" / "gone.png").symlink_to(root / "nowhere.png")
    return {
        "ape/0.png": "zero bytes",
        "ape/1.png": "damaged",
        "bee/2.png": "not an image",
        "bee/3.png": "blank",
        "bee/4.png": "blank",
        "cat/5.png": "same content as dog/copy.png of another class",
        "dog/copy.png": "same content as cat/5.png of another class",
        "eel": "empty class",
        "fox": "2 usable drawings",
        "cat/gone.png": "unreadable",
    }


def test_one_message_lists_everything_that_is_bad(tmp_path):
    root = tmp_path / "set"
    expected = break_in_every_way(root)
    with pytest.raises(DataError) as caught:
        prepare(root)
    found = {problem.name: problem.reason for problem in caught.value.problems}
    assert found.keys() == expected.keys()
    for name, reason in expected.items():
        assert found[name].startswith(reason)
        assert f"{root / name}: {reason}" in str(caught.value)
    assert "10 problems" in str(caught.value)
    assert "--skip-bad-images" in str(caught.value)
    assert not [path for path in (tmp_path / "cache" / "decoded").iterdir() if path.is_dir()]


def test_skip_bad_images_goes_on_and_records_them(tmp_path):
    root = tmp_path / "set"
    expected = break_in_every_way(root)
    data = prepare(root, skip_bad_images=True)
    assert data.class_names == ["ape", "bee", "cat", "dog"]
    assert np.bincount(data.labels).tolist() == [6, 5, 7, 8]
    assert {entry["name"] for entry in data.skipped} == expected.keys()
    assert not set(data.names) & expected.keys()
    assert len(data.images) == 26
    for index, name in enumerate(data.names):
        assert (data.images[index] > 200).any(), name
    # The rows that stay are the right ones.
    picture = np.asarray(Image.open(root / data.names[-1]).resize((20, 20), Image.Resampling.HAMMING, reducing_gap=3))
    assert np.abs((255 - picture).astype(int) - data.images[-1]).max() <= 1
    with pytest.raises(DataError, match="10 problems"):  # the cached set must not hide them
        prepare(root)


def test_long_lists_are_cut(tmp_path):
    root = make_image_folder(tmp_path / "set", per_class=70)
    for number in range(60):
        (root / "cat" / f"{number}.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"60 problems(?s:.*)\.\.\. and 10 more") as caught:
        prepare(root)
    assert len(caught.value.problems) == 60
    assert str(caught.value).count("zero bytes") == 50


def test_one_class_only_cannot_be_skipped(tmp_path):
    root = make_image_folder(tmp_path / "set", ("cat",))
    (root / "cat" / "0.png").write_bytes(b"")
    for skip in (False, True):
        with pytest.raises(DataError, match=r"zero bytes(?s:.*)one class only"):
            prepare(root, skip_bad_images=skip)


def test_impossible_requests_name_rule_and_value(tmp_path):
    root = make_image_folder(tmp_path / "set", ("cat", "dog", "fox"))
    for choices, message in [
        ({"classes": ("cat", "dgo")}, r"unknown name 'dgo' \(did you mean 'dog'\?\); known: cat, dog, fox"),
        ({"classes": 4}, "classes must be at most 3, the number there is, got 4"),
        ({"classes": 1}, "at least two classes"),
        ({"classes": ("cat", "cat")}, "at least two classes"),
        ({"per_class": 0}, "per_class must be at least 1, got 0"),
        ({"download": True}, "download is only for the data set quickdraw"),
        ({"pen_width_px": -1.0}, "pen_width_px must be a positive number, got -1"),
        ({"image_px": 4}, "image_px must be from 8 to 4096, got 4"),
        ({"seed": -1}, "seed must be 0 or more"),
    ]:
        with pytest.raises(ValueError, match=message):
            prepare(root, **choices)
    with pytest.raises(ValueError, match=r"one of doodles, quickdraw, got 'doodle' \(did you mean 'doodles'\?\)"):
        prepare("doodle")
    (tmp_path / "void").mkdir()
    with pytest.raises(ValueError, match="it has neither"):
        prepare(tmp_path / "void")
    (tmp_path / "notes.txt").write_text("words")
    with pytest.raises(ValueError, match=r"a folder or a \.zip or \.tar archive, got the file"):
        prepare(tmp_path / "notes.txt")


def test_subsets_by_class_and_number(tmp_path):
    root = make_image_folder(tmp_path / "set", ("cat", "dog", "fox"), per_class=6)
    assert prepare(root, classes=2).class_names == ["cat", "dog"]
    data = prepare(root, classes=("fox", "cat"), per_class=4, seed=1)
    assert data.class_names == ["cat", "fox"]
    assert np.bincount(data.labels).tolist() == [4, 4]
    assert prepare(root, classes=("cat", "fox"), per_class=4, seed=1).names == data.names
    assert any(prepare(root, per_class=4, seed=s, classes=("cat", "fox")).names != data.names for s in range(2, 6))
    assert set(data.names) <= set(prepare(root).names)


def test_request_survives_json():
    request = DataRequest("doodles", 64, classes=("a", "b"), per_class=3, invert=False, seed=4)
    values = json.loads(json.dumps(request.to_json()))
    assert DataRequest(**values | {"classes": tuple(values["classes"])}) == request


def test_nested_folder_as_tu_berlin_has_it(tmp_path):
    make_image_folder(tmp_path / "set" / "png", ("alarm clock", "airplane"))
    (tmp_path / "set" / "png" / "filelist.txt").write_text("airplane/1.png\n")
    (tmp_path / "set" / "__MACOSX").mkdir()
    data = prepare(tmp_path / "set")
    assert data.class_names == ["airplane", "alarm clock"]
    assert data.names[0] == "airplane/0.png"


def test_svg_needs_its_extra_or_is_drawn(tmp_path):
    root = make_image_folder(tmp_path / "set")
    (root / "cat" / "line.svg").write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" width="80" height="80">'
        '<line x1="40" y1="0" x2="40" y2="80" stroke="black" stroke-width="12"/></svg>'
    )
    try:
        import cairosvg  # noqa: F401
    except (ImportError, OSError):
        with pytest.raises(ValueError, match=r"1 drawings are \.svg files.*pip install 'tune_sketch\[svg\]'"):
            prepare(root)
        return
    image = prepare(root).images[4]
    assert image[10, 10] > 240
    assert image[10, 3] == 0
    (root / "cat" / "other.svg").write_text("<svg")
    with pytest.raises(DataError, match=r"other\.svg: damaged"):
        prepare(root)


def test_doodles_are_marked_as_synthetic():
    data = prepare("doodles", 32, classes=3, per_class=5)
    assert data.synthetic
    assert data.images.shape == (15, 32, 32)
    assert data.original_px is None
    assert data.names[0] == f"doodles/{data.class_names[0]}/0"
    assert (data.images[0] != prepare("doodles", 32, classes=3, per_class=5, seed=1).images[0]).any()
    assert set(DATASETS) == {"doodles", "quickdraw"}
    counts = np.bincount(prepare("doodles", 16, classes=2).labels)
    assert counts.tolist() == [60, 60]


def test_the_package_imports_neither_torch_nor_ray():
    code = "import sys, tune_sketch.data, tune_sketch.data.__main__; print(sorted({'torch', 'ray', 'matplotlib'} & "
    code += "sys.modules.keys()))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    )
    assert result.stdout.strip() == "[]"


@needs_sketchy
def test_sketchy_is_split_by_photo():
    data = prepare(SKETCHY, 32, classes=12)
    assert data.has_photos
    assert len(data.images) == 300
    assert data.original_px == (256, 256)
    assert 36 <= len(set(data.groups)) <= 60
    for index, name in enumerate(data.names):
        same = np.flatnonzero(data.groups == data.groups[index])
        assert {re.sub(r"-\d+\.png$", "", data.names[i]) for i in same} == {re.sub(r"-\d+\.png$", "", name)}
    splits = make_splits(data.labels, data.groups, protocol="standard", split_by="photo", seed=0)
    assert not set(data.groups[splits.train]) & set(data.groups[splits.test])
    assert not set(data.groups[splits.train]) & set(data.groups[splits.validation])
    assert set(data.labels[splits.test]) == set(data.labels[splits.validation]) == set(range(12))

"""Near copies: resized, re-encoded or moved drawings are found among sketches that are mostly paper, and named."""

import csv
import io
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tests.support.fake_runs import make_finished_run
from tune_sketch.analysis.report import write_report
from tune_sketch.config.plan import plan_lines, prepare_inputs
from tune_sketch.config.settings import Settings
from tune_sketch.data import DataRequest, open_data, prepare_data
from tune_sketch.data.__main__ import main
from tune_sketch.data.near_copies import LEAST_IMAGE_PX, MOST_BITS_APART, NUM_BYTES, find_near_copies, hash_ink
from tune_sketch.data.pixels import prepare_ink
from tune_sketch.storage.facts import read_facts
from tune_sketch.storage.files import read_csv

SKETCHY = Path(__file__).parents[3] / "shared" / "data" / "sketchy-125x25"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNE_SKETCH_CACHE", str(tmp_path / "cache"))


def sketch(seed: int, size: int = 200) -> Image.Image:
    """A few random curves in thin ink on much paper."""
    random = np.random.default_rng(seed)
    image = Image.new("L", (4 * size, 4 * size), 255)
    pen = ImageDraw.Draw(image)
    for _ in range(5):
        points = np.cumsum(random.normal(0, 0.12, (7, 2)), axis=0) + random.uniform(0.3, 0.7, 2)
        pen.line(
            [tuple(point) for point in (points.clip(0.06, 0.94) * 4 * size).tolist()], fill=0, width=4 * size // 50
        )
    return image.resize((size, size), Image.Resampling.LANCZOS)


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    content = io.BytesIO()
    image.save(content, "JPEG", quality=quality)
    return Image.open(content).convert("L")


def moved(image: Image.Image, x: int, y: int) -> Image.Image:
    paper = Image.new("L", image.size, 255)
    paper.paste(image, (x, y))
    return paper


CHANGES = {
    "half": lambda image: image.resize((100, 100), Image.Resampling.LANCZOS),
    "double": lambda image: image.resize((400, 400), Image.Resampling.BICUBIC),
    "jpeg60": lambda image: jpeg(image, 60),
    "half-jpeg60": lambda image: jpeg(image.resize((100, 100)), 60),
    "moved": lambda image: moved(image, 4, 3),
    "inverted": lambda image: Image.eval(image, lambda value: 255 - value),
}


@pytest.fixture
def with_near_copies(tmp_path):
    """Two classes of twenty sketches; the first of each are there again in each of the changes."""
    for kind, name in enumerate(("cat", "dog")):
        folder = tmp_path / "set" / name
        folder.mkdir(parents=True)
        for number in range(20):
            sketch(100 * kind + number).save(folder / f"{number:02d}.png")
        for number, (change, make) in enumerate(CHANGES.items()):
            make(sketch(100 * kind + number)).save(folder / f"{number:02d}-{change}.png")
    return tmp_path / "set"


@pytest.mark.parametrize("image_px", [48, 128])
def test_changed_copies_are_found_and_nothing_else(with_near_copies, image_px):
    data = open_data(prepare_data(DataRequest(str(with_near_copies), image_px), progress=False))
    found = {frozenset((data.names[copy], data.names[original])) for copy, original, _ in data.near_copies}
    expected = {
        frozenset((f"{name}/{number:02d}.png", f"{name}/{number:02d}-{change}.png"))
        for name in ("cat", "dog")
        for number, change in enumerate(CHANGES)
        if image_px > 100 or change != "moved"  # of a tiny picture a move is another picture
    }
    assert found - expected <= {frozenset((f"{c}/04.png", f"{c}/04-moved.png")) for c in ("cat", "dog")}
    assert expected <= found
    assert all(original < copy for copy, original, _ in data.near_copies)
    assert not data.copies


def test_dark_ink_kept_as_it_is_gives_the_same(with_near_copies):
    light, dark = (
        open_data(prepare_data(DataRequest(str(with_near_copies), 64, invert=invert), progress=False))
        for invert in (True, False)
    )
    assert light.near_copies == dark.near_copies
    assert light.near_copies


def test_the_plan_the_data_command_and_the_report_name_them(with_near_copies, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    choices = {"data": str(with_near_copies), "image_px": 128, "protocol": "small"}
    settings = Settings("baseline", **choices)
    inputs = prepare_inputs(settings)
    lines = plan_lines(settings, inputs)
    split_of = {}
    for name in ("train", "validation", "test"):
        split_of |= {inputs.data.names[index]: name for index in getattr(inputs.splits, name)}
    pairs = [(inputs.data.names[a], inputs.data.names[b]) for a, b, _ in inputs.data.near_copies]
    across = [pair for pair in pairs if split_of[pair[0]] != split_of[pair[1]]]
    assert across, "else this test says nothing"
    text = (
        f"{len(pairs)} drawings look like copies of others (resized, moved or saved again), "
        f"{len(across)} of them in another split: the result may be too good"
    )
    assert f"WARNING   {text}" in lines
    assert f"  {across[0][0]} ({split_of[across[0][0]]}) looks like {across[0][1]} ({split_of[across[0][1]]})" in lines
    assert main([str(with_near_copies), "--image-px", "128", "--protocol", "small", "--out", "out"]) == 0
    printed = capsys.readouterr().out
    assert text in printed
    assert "near_copies.csv in out" in printed
    with open("out/near_copies.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {(row["image"], row["looks_like"]) for row in rows} == set(pairs)
    assert [row["across_splits"] for row in rows] == ["True"] * len(across) + ["False"] * (len(rows) - len(across))
    run = make_finished_run(tmp_path / "run", num_trials=4, classes=None, per_class=None, **choices)
    assert read_facts(run).data.num_near_copies == len(pairs)
    page = write_report([run.path], run.report_html).read_text()
    assert text in page
    assert f"{across[0][0]} ({split_of[across[0][0]]}) looks like" in page
    rows = [row for row in read_csv(run.path / "figures" / "data.csv") if row["fact"] == "near copy"]
    assert len(rows) == len(pairs) < 20


def test_the_report_states_exact_copies(tmp_path):
    root = tmp_path / "set"
    for kind, name in enumerate(("cat", "dog")):
        (root / name).mkdir(parents=True)
        for number in range(8):
            sketch(100 * kind + number).save(root / name / f"{number}.png")
        sketch(100 * kind).save(root / name / "again.png")
    choices = {"data": str(root), "image_px": 64, "protocol": "small", "classes": None, "per_class": None}
    run = make_finished_run(tmp_path / "run", num_trials=4, **choices)
    assert read_facts(run).data.num_copies == 2
    assert read_facts(run).data.num_near_copies == 0
    page = write_report([run.path], run.report_html).read_text()
    assert "2 drawings are exact copies of others: copies are in the same split" in page
    assert "no near copies found" in page


@pytest.mark.parametrize(("data", "image_px"), [("doodles", 32), (None, LEAST_IMAGE_PX - 1)])
def test_where_hashes_say_nothing_that_is_said(with_near_copies, data, image_px, capsys):
    choices = ["--per-class", "6", "--protocol", "small"] if data else ["--protocol", "small"]
    assert main([data or str(with_near_copies), "--image-px", str(image_px), *choices]) == 0
    assert "near copies were not looked for" in capsys.readouterr().out


def test_real_sketches_are_not_taken_for_each_other(sketchy_pictures):
    inks = [prepare_ink(picture, 128).ink for picture in sketchy_pictures]
    hashes = np.stack([hash_ink(ink) for ink in inks])
    assert find_near_copies(hashes, []) == []
    for change in ("half", "jpeg60", "half-jpeg60"):
        again = np.stack([hash_ink(prepare_ink(CHANGES[change](p), 128).ink) for p in sketchy_pictures[:50]])
        found = find_near_copies(np.concatenate([hashes, again]), [])
        assert {(copy, original) for copy, original, _ in found} == {(len(inks) + i, i) for i in range(50)}, change


@pytest.fixture(scope="module")
def sketchy_pictures():
    if not SKETCHY.is_dir():
        pytest.skip(f"{SKETCHY} is not there")
    return [Image.open(path).convert("L") for path in sorted(SKETCHY.rglob("*.png"))[::8]]


def random_hashes(number: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (number, NUM_BYTES), np.uint8)


def flip(hashes: np.ndarray, num_bits: int, seed: int = 1) -> np.ndarray:
    """The hashes with that many other bits in each of their two parts."""
    bits, random = np.unpackbits(hashes, axis=1), np.random.default_rng(seed)
    for row in bits:
        for part in (0, 256):
            row[part + random.choice(256, num_bits, replace=False)] ^= 1
    return np.packbits(bits, axis=1)


def test_each_of_many_that_look_alike_hangs_together_with_the_others():
    hashes = random_hashes(300)
    hashes[[5, 50, 100, 200]] = flip(hashes[[5]].repeat(4, axis=0), 6)
    hashes[250] = hashes[7]
    found = find_near_copies(hashes, [[250, 7]])
    assert len(found) == 3, "a tree over the four; the exact copy is left out"
    joined = {5, 50, 100, 200}
    assert {index for copy, original, _ in found for index in (copy, original)} == joined
    assert all(0 < bits <= 12 for _, _, bits in found)
    assert find_near_copies(flip(hashes[:1].repeat(2, axis=0), 0), []) == [[1, 0, 0]]
    assert find_near_copies(hashes[:1], []) == find_near_copies(hashes[:0], []) == []


def test_the_limit_is_the_limit():
    hashes = random_hashes(2)
    hashes[1] = flip(hashes[:1], MOST_BITS_APART)[0]
    assert find_near_copies(hashes, []) == [[1, 0, MOST_BITS_APART]]
    hashes[1] = flip(hashes[:1], MOST_BITS_APART + 1)[0]
    assert find_near_copies(hashes, []) == []


def test_twenty_thousand_drawings_take_seconds_and_none_is_missed():
    hashes = random_hashes(20_000)
    originals = np.arange(0, 20_000, 100)
    start = time.process_time()
    found = find_near_copies(np.concatenate([hashes, flip(hashes[originals], 20)]), [])
    assert time.process_time() - start < 20
    assert {(copy, original) for copy, original, _ in found} == {(20_000 + i, o) for i, o in enumerate(originals)}


def test_thousands_that_are_all_alike_do_not_take_the_square_of_their_number():
    hashes = flip(random_hashes(1).repeat(3_000, axis=0), 4)
    start = time.process_time()
    assert len(find_near_copies(hashes, [])) == 2_999
    assert time.process_time() - start < 60

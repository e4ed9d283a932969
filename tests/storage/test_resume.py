"""Before a run is resumed: what cannot change is refused, and its drawings are those that it began with."""

import shutil
from pathlib import Path

import pytest
from PIL import Image

from tune_sketch.config.plan import prepare_inputs
from tune_sketch.config.settings import Settings
from tune_sketch.run import create_run
from tune_sketch.storage.facts import read_facts
from tune_sketch.storage.resume import change_run, check_data


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNE_SKETCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def drawings(tmp_path):
    return draw_folder(tmp_path / "drawings")


@pytest.fixture
def run(tmp_path, cache, drawings):
    choices = {"data": str(drawings), "protocol": "small", "image_px": 32, "weights": "none"}
    settings = Settings("baseline", num_samples=12, max_epochs=9, **choices)
    return create_run(tmp_path / "run", settings, prepare_inputs(settings), None)


def draw_folder(folder: Path) -> Path:
    for label, name in enumerate(("cat", "dog")):
        (folder / name).mkdir(parents=True)
        for number in range(5):
            image = Image.new("L", (32, 32), 255)
            image.paste(0, (number, 4 + 8 * label, number + 12, 12 + 8 * label))
            image.save(folder / name / f"{number}.png")
    return folder


def test_changed_settings_are_written_and_refused_ones_change_nothing(run):
    before = run.search_json.read_text()
    change_run(run, {"num_samples": 12, "seed": 0})
    assert run.search_json.read_text() == before
    with pytest.raises(ValueError, match=r"--image-px \(is 32, got 48\)"):
        change_run(run, {"image_px": 48, "num_samples": 99})
    assert run.search_json.read_text() == before, "nothing is changed by a refused command"
    change_run(run, {"num_samples": 20, "max_epochs": 27})
    settings = read_facts(run).settings
    assert (settings.num_samples, settings.max_epochs, settings.grace_epochs) == (20, 27, 1)


def test_a_lost_cache_is_made_again(run, cache):
    before = read_facts(run)
    check_data(run)
    assert read_facts(run) == before
    shutil.rmtree(cache)
    check_data(run)  # decoded again
    assert Path(read_facts(run).data.cache).is_dir()
    assert read_facts(run) == before


def test_a_split_from_a_file_survives_a_lost_cache(tmp_path, cache, drawings):
    table = tmp_path / "folds.csv"
    parts = ["train", "train", "val", "test"] * 2
    names = [f"{name}/{number}.png" for name in ("cat", "dog") for number in range(4)]
    table.write_text("image,split\n" + "".join(f"{n},{part}\n" for n, part in zip(names, parts, strict=True)))
    choices = {"data": str(drawings), "splits": str(table), "group_by": r"(\d)\.", "image_px": 32, "weights": "none"}
    settings = Settings("baseline", num_samples=12, max_epochs=9, **choices)
    run = create_run(tmp_path / "run", settings, prepare_inputs(settings), None)
    before = read_facts(run)
    assert before.data.split_origin.startswith("splits file folds.csv (sha256 ")
    assert (before.data.num_train, before.data.num_validation, before.data.num_test) == (4, 2, 2)
    shutil.rmtree(cache)
    check_data(run)
    assert read_facts(run) == before
    shutil.rmtree(cache)
    table.write_text(table.read_text().replace("cat/3.png,test", "cat/3.png,train"))
    with pytest.raises(ValueError, match="the drawings have changed since the search began"):
        check_data(run)


def test_a_cache_at_another_place_is_noted(run, tmp_path, cache, monkeypatch):
    shutil.rmtree(cache)
    monkeypatch.setenv("TUNE_SKETCH_CACHE", str(tmp_path / "elsewhere"))
    check_data(run)
    data = read_facts(run).data
    assert data.cache.startswith(str(tmp_path / "elsewhere"))
    assert data.published == data.cache


def test_changed_drawings_are_refused(run, cache, drawings):
    shutil.rmtree(cache)
    before = run.search_json.read_text()
    Image.linear_gradient("L").resize((32, 32)).save(drawings / "cat" / "0.png")
    with pytest.raises(ValueError, match="the drawings have changed since the search began"):
        check_data(run)
    assert run.search_json.read_text() == before

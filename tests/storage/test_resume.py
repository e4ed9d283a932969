"""Before a run is resumed: what cannot change is refused, and its drawings are those that it began with."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from tune_sketch.config.plan import prepare_inputs
from tune_sketch.config.settings import Settings
from tune_sketch.confirm import main as confirm
from tune_sketch.data import prepare as preparing
from tune_sketch.new_run import create_run
from tune_sketch.storage.facts import read_facts, write_facts
from tune_sketch.storage.resume import prepare_resume
from tune_sketch.trainables.networks.build import build_model


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
    prepare_resume(run, {"num_samples": 12, "seed": 0})
    assert run.search_json.read_text() == before
    with pytest.raises(ValueError, match=r"--image-px \(is 32, got 48\)"):
        prepare_resume(run, {"image_px": 48, "num_samples": 99})
    assert run.search_json.read_text() == before, "nothing is changed by a refused command"
    prepare_resume(run, {"num_samples": 20, "max_epochs": 27})
    settings = read_facts(run).settings
    assert (settings.num_samples, settings.max_epochs, settings.grace_epochs) == (20, 27, 1)


def test_a_lost_cache_is_made_again(run, cache):
    before = read_facts(run)
    prepare_resume(run, {})
    assert read_facts(run) == before
    shutil.rmtree(cache)
    prepare_resume(run, {})  # decoded again
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
    prepare_resume(run, {})
    assert read_facts(run) == before
    shutil.rmtree(cache)
    (tmp_path / "lists").mkdir()
    moved = table.rename(tmp_path / "lists" / "folds.csv")
    with pytest.raises(ValueError, match=r"its table of the drawings is no longer in .*: --splits PLACE"):
        prepare_resume(run, {})
    prepare_resume(run, {"splits": str(moved)})
    assert read_facts(run).settings.splits == str(moved)
    assert read_facts(run).data.fingerprint == before.data.fingerprint
    other = tmp_path / "other.csv"
    other.write_text(moved.read_text().replace("cat/3.png,test", "cat/3.png,train"))
    with pytest.raises(ValueError, match=r"those in .* by .*other\.csv are others"):
        prepare_resume(run, {"splits": str(other)})
    shutil.rmtree(cache)
    moved.write_text(other.read_text())
    with pytest.raises(ValueError, match="they have changed since the search began"):
        prepare_resume(run, {})


def test_a_cache_at_another_place_is_noted(run, tmp_path, cache, monkeypatch):
    shutil.rmtree(cache)
    monkeypatch.setenv("TUNE_SKETCH_CACHE", str(tmp_path / "elsewhere"))
    prepare_resume(run, {})
    data = read_facts(run).data
    assert data.cache.startswith(str(tmp_path / "elsewhere"))
    assert data.published == data.cache


def test_changed_drawings_are_refused(run, cache, drawings):
    shutil.rmtree(cache)
    before = run.search_json.read_text()
    Image.linear_gradient("L").resize((32, 32)).save(drawings / "cat" / "0.png")
    with pytest.raises(ValueError, match="they have changed since the search began"):
        prepare_resume(run, {})
    assert run.search_json.read_text() == before


@pytest.mark.parametrize("how", ["changed", "empty", "gone"])
@pytest.mark.parametrize("skip_bad_images", [False, True])
def test_a_drawing_that_changes_while_it_is_decoded_again_is_named(
    tmp_path, cache, drawings, monkeypatch, how, skip_bad_images
):
    """Nor is it left out: what was decoded would not be what the fingerprint says, in every later resume too."""
    choices = {"protocol": "small", "image_px": 32, "weights": "none", "skip_bad_images": skip_bad_images}
    settings = Settings("baseline", data=str(drawings), num_samples=12, max_epochs=9, **choices)
    run = create_run(tmp_path / "run", settings, prepare_inputs(settings), None)
    before, path = run.search_json.read_text(), drawings / "cat" / "0.png"
    content, real = path.read_bytes(), preparing.decode_all

    def change_and_decode(*arguments, **more):
        if how == "changed":
            Image.linear_gradient("L").resize((32, 32)).save(path)
        elif how == "empty":
            path.write_bytes(b"")
        else:
            path.unlink()
        return real(*arguments, **more)

    shutil.rmtree(cache)
    with monkeypatch.context() as patch:
        patch.setattr(preparing, "decode_all", change_and_decode)
        with pytest.raises(ValueError, match=r"cat/0\.png: .*changed while the drawings were read"):
            prepare_resume(run, {"num_samples": 20})
    assert run.search_json.read_text() == before
    path.write_bytes(content)
    prepare_resume(run, {})
    assert run.search_json.read_text() == before, "as it was"


def move(run, drawings, tmp_path) -> Path:
    """The drawings at another place, and no decoded copy."""
    place = tmp_path / "else where#1"
    shutil.move(drawings, place)
    shutil.rmtree(tmp_path / "cache")
    return place


@pytest.mark.parametrize("form", ["absolute", "relative", "dotted", "home", "link"])
def test_the_same_place_may_be_given_in_any_form(run, drawings, tmp_path, monkeypatch, form):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "link").symlink_to(drawings)
    forms = {"absolute": str(drawings), "relative": "drawings", "dotted": "./x/../drawings/", "home": "~/drawings"}
    (tmp_path / "x").mkdir()
    before = read_facts(run)
    prepare_resume(run, {"data": forms.get(form, "link")})
    assert read_facts(run) == before


@pytest.mark.parametrize("keep_cache", [True, False])
def test_drawings_that_have_moved_are_recognised_by_their_content(run, drawings, tmp_path, keep_cache):
    before = read_facts(run)
    place = tmp_path / "else where#1"
    shutil.move(drawings, place)
    if not keep_cache:
        shutil.rmtree(tmp_path / "cache")
    prepare_resume(run, {"data": str(place), "num_samples": 20})
    after = read_facts(run)
    assert after.settings.data == str(place)
    assert after.settings.num_samples == 20
    assert after.data.fingerprint == before.data.fingerprint
    assert Path(after.data.cache).is_dir()
    shutil.rmtree(tmp_path / "cache")
    prepare_resume(run, {})  # the new place is known from now on


def test_drawings_that_have_moved_into_an_archive_are_the_same(run, drawings, tmp_path):
    archive = shutil.make_archive(str(tmp_path / "packed"), "zip", drawings)
    prepare_resume(run, {"data": archive})
    assert read_facts(run).settings.data == archive


def test_a_lost_place_asks_for_the_new_one(run, drawings, tmp_path):
    move(run, drawings, tmp_path)
    before = run.search_json.read_text()
    with pytest.raises(ValueError, match=r"no longer in .*/drawings, .* give the new place: --data PLACE"):
        prepare_resume(run, {})
    assert run.search_json.read_text() == before


def change_one(folder):
    Image.linear_gradient("L").resize((32, 32)).save(folder / "cat" / "0.png")


def rename_one(folder):
    (folder / "cat" / "0.png").rename(folder / "cat" / "new.png")


def rename_class(folder):
    (folder / "cat").rename(folder / "tiger")


def add_class(folder):
    shutil.copytree(folder / "cat", folder / "ant")
    for path in (folder / "ant").iterdir():
        Image.open(path).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (change_one, "they have the same names, but other content"),
        (rename_one, "2 are in one of both only, for example cat/0.png"),
        (rename_class, "they lack the class cat"),
        (add_class, "they have another class, ant"),
    ],
)
def test_other_drawings_are_refused_with_both_fingerprints_and_the_reason(run, drawings, tmp_path, change, reason):
    place = shutil.copytree(drawings, tmp_path / "other")
    change(place)
    before = run.search_json.read_text()
    with pytest.raises(ValueError, match="its drawings cannot be replaced") as caught:
        prepare_resume(run, {"data": str(place), "num_samples": 20})
    wanted = read_facts(run).data.fingerprint
    assert f"was {wanted[:12]})" in str(caught.value)
    assert f": {reason}" in str(caught.value)
    assert run.search_json.read_text() == before, "nothing is changed by a refused command"


def save_weights(path: Path, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    torch.save(build_model("baseline", 2).state_dict(), path)
    return path


@pytest.fixture
def weighted(tmp_path, cache, drawings):
    """A run that begins with the weights of a file."""
    weights = save_weights(tmp_path / "w.pt")
    choices = {"data": str(drawings), "protocol": "small", "image_px": 64, "weights": str(weights)}
    settings = Settings("baseline", num_samples=12, max_epochs=9, **choices)
    return create_run(tmp_path / "weighted", settings, prepare_inputs(settings), None)


@pytest.mark.parametrize("form", ["same", "relative", "moved"])
def test_weights_are_recognised_by_their_content(weighted, tmp_path, monkeypatch, form):
    monkeypatch.chdir(tmp_path)
    before = read_facts(weighted)
    place = {"same": "w.pt", "relative": "./w.pt", "moved": "new.pt"}[form]
    if form == "moved":
        (tmp_path / "w.pt").rename(tmp_path / place)
        with pytest.raises(ValueError, match=r"its weights are no longer in .*w.pt.*: --weights FILE"):
            prepare_resume(weighted, {})
    prepare_resume(weighted, {"weights": place})
    after = read_facts(weighted)
    assert after.weights.path == after.settings.weights == str((tmp_path / place).resolve())
    assert after.weights.sha256 == before.weights.sha256 is not None
    prepare_resume(weighted, {})


@pytest.mark.parametrize("other", ["other.pt", "none"])
def test_other_weights_are_refused(weighted, tmp_path, other):
    save_weights(tmp_path / "other.pt", seed=1)
    before = weighted.search_json.read_text()
    digest = read_facts(weighted).weights.sha256
    choice = other if other == "none" else str(tmp_path / other)
    with pytest.raises(
        ValueError, match=rf"initial weights cannot be replaced, .* are others \(SHA-256 .*{digest[:12]}"
    ):
        prepare_resume(weighted, {"weights": choice})
    save_weights(tmp_path / "w.pt", seed=2)  # the file itself has changed
    with pytest.raises(ValueError, match="initial weights cannot be replaced"):
        prepare_resume(weighted, {})
    assert weighted.search_json.read_text() == before


def test_weights_of_an_older_run_without_a_hash_are_compared_while_both_are_there(weighted, tmp_path):
    facts = read_facts(weighted)
    write_facts(weighted, replace(facts, weights=replace(facts.weights, sha256=None)))
    shutil.copy(tmp_path / "w.pt", tmp_path / "new.pt")
    prepare_resume(weighted, {"weights": str(tmp_path / "new.pt")})
    assert read_facts(weighted).weights.sha256 == facts.weights.sha256
    write_facts(weighted, replace(facts, weights=replace(facts.weights, sha256=None)))
    (tmp_path / "w.pt").unlink()
    with pytest.raises(ValueError, match="initial weights cannot be replaced"):
        prepare_resume(weighted, {"weights": str(tmp_path / "new.pt")})


def test_a_run_from_scratch_takes_no_weights(run, tmp_path):
    with pytest.raises(ValueError, match=r"initial weights cannot be replaced.* was none"):
        prepare_resume(run, {"weights": str(save_weights(tmp_path / "w.pt"))})
    prepare_resume(run, {"weights": "none"})


def test_confirm_takes_the_new_place_too(run, drawings, tmp_path, capsys):
    place = move(run, drawings, tmp_path)
    assert confirm([str(run.path), "--data", str(place)]) == 2
    assert "has no trained trial to confirm" in capsys.readouterr().err, "it has come as far as that"
    assert read_facts(run).settings.data == str(place)

"""Data that are divided already: their own split is used as it is, what it lacks is made, what is unclear is named."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.support.drawings import draw, make_image_folder, make_split_folder, make_stroke_folder
from tests.support.prepared import prepare_small as prepare
from tune_sketch.config.plan import Inputs, plan_lines, prepare_inputs
from tune_sketch.config.plan import describe_data as describe_facts
from tune_sketch.config.settings import Settings
from tune_sketch.data import DataRequest, open_data, prepare_data
from tune_sketch.data.__main__ import main
from tune_sketch.data.splits import SPLIT_NAMES, read_splits, split_data, write_splits


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNE_SKETCH_CACHE", str(tmp_path / "cache"))


def names_of(inputs: Inputs) -> dict[str, set[str]]:
    """The drawings in each split."""
    return {name: {inputs.data.names[index] for index in getattr(inputs.splits, name)} for name in SPLIT_NAMES}


def files_in(root: Path, part: str) -> set[str]:
    return {path.relative_to(root).as_posix() for path in (root / part).rglob("*.png")}


@pytest.mark.parametrize(
    ("train", "validation", "test"),
    [
        ("train", "val", "test"),
        ("train", "valid", "test"),
        ("Train", "Validation", "Test"),
        ("TRAINING", "dev", "testing"),
        ("training_set", "val_set", "test_set"),
        ("train-images", "val2017", "Test Images"),
    ],
)
def test_folders_of_a_split_are_used_as_they_are(tmp_path, train, validation, test):
    root = make_split_folder(tmp_path / "set", {train: 4, validation: 1, test: 2})
    inputs = prepare(root)
    assert inputs.data.class_names == ["cat", "dog"]
    assert names_of(inputs) == {
        "train": files_in(root, train),
        "validation": files_in(root, validation),
        "test": files_in(root, test),
    }
    assert inputs.splits.origin == f"folders {train}, {validation}, {test}"
    plan = "\n".join(plan_lines(Settings("baseline", data=str(root), image_px=16), inputs))
    assert f"8 train, 2 validation, 4 test (folders {train}, {validation}, {test})" in plan
    for seed in (1, 2):
        assert names_of(prepare(root, seed=seed)) == names_of(inputs), "chance has no part in it"


@pytest.mark.parametrize("packing", ["folder", "zip", "tar", "gztar"])
@pytest.mark.parametrize("above", ["", "dataset", "data/sketches"])
def test_at_any_depth_and_in_any_archive_among_other_things(tmp_path, packing, above):
    top = tmp_path / "top"
    root = make_split_folder(top / above, {"train": 3, "val": 1, "test": 2})
    (top / "__MACOSX" / "train" / "cat").mkdir(parents=True)
    (top / "__MACOSX" / "train" / "cat" / "._0.png").write_bytes(b"a system's")
    (root / "annotations").mkdir()
    (root / "annotations" / "cat.xml").write_text("<boxes/>")
    (root / "README.md").write_text("about it")
    draw(500).save(root / "cover.png")
    data = top if packing == "folder" else shutil.make_archive(str(tmp_path / "packed"), packing, top)
    inputs = prepare(data)
    assert names_of(inputs) == {
        "train": files_in(root, "train"),
        "validation": files_in(root, "val"),
        "test": files_in(root, "test"),
    }


def test_what_lies_beside_a_split_is_named(tmp_path, capsys):
    root = make_split_folder(tmp_path / "set", {"train": 3, "val": 1, "test": 2})
    make_image_folder(root / "extra", per_class=2)
    (root / "annotations").mkdir()
    (root / "annotations" / "cat.xml").write_text("<boxes/>")
    draw(500).save(root / "cover.png")
    draw(501).save(root / "train" / "loose.png")
    (root / "train" / "cat" / "notes.txt").write_text("drawn on Monday")
    assert main([str(root), "--image-px", "16", "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "left out: the folder extra beside the split, with 4 pictures without classes" in said
    assert "2 picture beside the class folders" in said
    assert "1 .txt" in said
    assert "1 .xml" in said
    assert "split: folders train, val, test" in said
    assert "train 6 (50.0%), validation 2 (16.7%), test 4 (33.3%)" in said


def test_validation_that_is_lacking_comes_out_of_train(tmp_path):
    root = make_split_folder(tmp_path / "set", {"train": 10, "test": 3})
    inputs = prepare(root)
    found = names_of(inputs)
    assert found["test"] == files_in(root, "test")
    assert found["train"] | found["validation"] == files_in(root, "train")
    assert len(found["validation"]) == 4, "a fifth of 20, both classes alike"
    assert {name.split("/")[1] for name in found["validation"]} == {"cat", "dog"}
    assert "validation taken out of train (small, no photos known, seed 0)" in inputs.splits.origin
    assert names_of(prepare(root, seed=1))["validation"] != found["validation"]


def test_a_test_part_that_is_lacking_comes_out_of_train_and_the_plan_says_so(tmp_path):
    root = make_split_folder(tmp_path / "set", {"train": 10, "val": 3})
    inputs = prepare(root)
    found = names_of(inputs)
    assert found["validation"] == files_in(root, "val")
    assert len(found["test"]) == 4
    assert found["test"] < files_in(root, "train")
    plan = "\n".join(plan_lines(Settings("baseline", data=str(root), image_px=16), inputs))
    assert "(folders train, val; test taken out of train (small, no photos known, seed 0))" in plan


def test_a_part_that_is_made_keeps_photos_and_copies_together(tmp_path):
    root = tmp_path / "set"
    for offset, name in enumerate(("cat", "dog")):
        for part, first, photos in (("train", 0, 8), ("test", 100, 2)):
            (root / part / name).mkdir(parents=True)
            for number in range(3 * photos):
                path = root / part / name / f"n0212304{offset}_{first + number // 3}-{number % 3 + 1}.png"
                draw(1000 * offset + first + number).save(path)
    inputs = prepare(root)
    photos = {name: {image.rpartition("-")[0] for image in images} for name, images in names_of(inputs).items()}
    assert not photos["train"] & photos["validation"]
    assert len(photos["validation"]) >= 2
    assert {photo.split("/")[1] for photo in photos["validation"]} == {"cat", "dog"}
    assert "by photo" in inputs.splits.origin


def test_one_folder_of_a_split_alone_is_the_data(tmp_path):
    root = make_split_folder(tmp_path / "set", {"train": 5})
    inputs = prepare(root)
    assert inputs.data.class_names == ["cat", "dog"]
    assert inputs.data.given_split is None
    assert {len(names) for names in names_of(inputs).values()} == {6, 2}


def test_an_unlabelled_test_folder_is_named_and_left_out(tmp_path, capsys):
    root = make_split_folder(tmp_path / "set", {"train": 5})
    (root / "test").mkdir()
    for number in range(7):
        draw(900 + number).save(root / "test" / f"{number}.png")
    inputs = prepare(root)
    assert inputs.data.class_names == ["cat", "dog"]
    assert not any(name.startswith("test") for name in inputs.data.names)
    assert "left out: the folder test beside the split, with 7 pictures without classes" in capsys.readouterr().err
    (root / "test" / "unknown").mkdir()  # as loaders that want one folder per class make people do
    for path in (root / "test").glob("*.png"):
        path.rename(root / "test" / "unknown" / path.name)
    assert prepare(root).data.class_names == ["cat", "dog"]
    assert "left out: the folder test without class folders, with 7 pictures" in capsys.readouterr().err


def test_a_class_without_drawings_to_learn_from_is_an_error_by_name(tmp_path):
    root = make_split_folder(tmp_path / "set", {"train": 4, "val": 2, "test": 2}, classes=("cat", "dog", "owl"))
    shutil.rmtree(root / "train" / "owl")
    with pytest.raises(
        ValueError, match=r"1 of 3 classes have no drawings in train \(folders .*\).*: owl\. .*--classes"
    ):
        prepare(root)
    assert prepare(root, classes=("cat", "dog")).data.class_names == ["cat", "dog"]
    assert len(prepare(root, split_by="photo").data.class_names) == 3, "divided anew there is enough"


def test_a_class_that_validation_or_test_lacks_is_named(tmp_path, capsys):
    root = make_split_folder(tmp_path / "set", {"train": 4, "val": 2, "test": 2}, classes=("cat", "dog", "owl"))
    shutil.rmtree(root / "val" / "owl")
    shutil.rmtree(root / "test" / "dog")
    settings = Settings("baseline", data=str(root), image_px=16)
    inputs = prepare_inputs(settings)
    plan = "\n".join(plan_lines(settings, inputs))
    assert "WARNING   1 class has no drawings in validation: owl" in plan
    assert "WARNING   1 class has no drawings in test: dog" in plan
    assert main([str(root), "--image-px", "16", "--out", str(tmp_path / "out")]) == 0
    assert "WARNING: 1 class has no drawings in test: dog" in capsys.readouterr().out
    facts = describe_facts(settings, inputs)
    assert facts.split_warnings == (
        "1 class has no drawings in validation: owl",
        "1 class has no drawings in test: dog",
    )


def test_copies_in_train_and_test_are_counted_by_name_and_not_moved(tmp_path):
    root = make_split_folder(tmp_path / "set", {"train": 4, "val": 1, "test": 2})
    shutil.copy(root / "train" / "cat" / "0.png", root / "test" / "cat" / "again.png")
    shutil.copy(root / "train" / "dog" / "1.png", root / "train" / "dog" / "again.png")
    settings = Settings("baseline", data=str(root), image_px=16)
    inputs = prepare_inputs(settings)
    assert "test/cat/again.png" in names_of(inputs)["test"]
    plan = "\n".join(plan_lines(settings, inputs))
    assert "2 drawings are exact copies of others; 1 of them in another split than the original" in plan
    assert "WARNING   1 exact copy is in another split" in plan
    assert "train/cat/0.png = test/cat/again.png" in plan
    facts = describe_facts(settings, inputs)
    assert (facts.num_copies, facts.num_copies_across) == (2, 1)
    for seed in range(5):
        again = prepare(root, split_by="file", seed=seed)
        assert not [
            name
            for name, names in names_of(again).items()
            if len({"train/cat/0.png", "test/cat/again.png"} & names) == 1
        ]


def test_split_by_divides_anew(tmp_path):
    root = make_split_folder(tmp_path / "set", {"train": 6, "val": 2, "test": 2})
    own, anew = prepare(root, split_by="own"), prepare(root, split_by="photo")
    assert own.splits.origin == "folders train, val, test"
    assert anew.splits.origin == "small, no photos known, seed 0"
    assert set().union(*names_of(own).values()) == set().union(*names_of(anew).values())
    assert names_of(own) != names_of(anew)
    with pytest.raises(ValueError, match="--split-by own needs data that are divided already"):
        prepare(make_image_folder(tmp_path / "plain"), split_by="own")


def test_a_class_called_train_stays_a_class(tmp_path):
    """As in TU-Berlin: pictures to train with would lie in folders of their class."""
    root = make_image_folder(tmp_path / "set", classes=("bus", "train", "tree"))
    assert prepare(root).data.class_names == ["bus", "train", "tree"]


def test_a_folder_test_beside_class_folders_is_refused_with_a_way_on(tmp_path):
    root = make_image_folder(tmp_path / "set", classes=("cat", "dog"))
    make_image_folder(root / "test", classes=("cat", "dog"), per_class=2)
    with pytest.raises(
        ValueError, match=r"the folder test beside the class folders.*move the class folders into a fol"
    ):
        prepare(root)
    assert prepare(root, classes=("cat", "dog")).data.names[0] == "cat/0.png"


def test_folders_of_a_split_within_the_classes(tmp_path):
    root = tmp_path / "set"
    for offset, name in enumerate(("cat", "dog", "owl")):
        for index, (part, count) in enumerate((("train", 4), ("test", 2))):
            (root / name / part).mkdir(parents=True)
            for number in range(count):
                draw(100 * offset + 10 * index + number).save(root / name / part / f"{number}.png")
    inputs = prepare(root)
    assert inputs.data.class_names == ["cat", "dog", "owl"]
    assert all("/test/" in name for name in names_of(inputs)["test"])
    assert len(names_of(inputs)["test"]) == 6


def test_files_of_classes_are_divided_by_folders_too(tmp_path):
    (tmp_path / "set").mkdir()
    for part, count in (("train", 6), ("test", 3)):
        make_stroke_folder(tmp_path / "set" / part, count=count)
    for path in (tmp_path / "set" / "test").iterdir():
        lines = path.read_text().replace("[10, ", "[30, ")
        path.write_text(lines)
    inputs = prepare(tmp_path / "set")
    assert inputs.data.class_names == ["cat", "ice cream"]
    assert {name.split(":")[0] for name in names_of(inputs)["test"]} == {"test/cat.ndjson", "test/ice cream.ndjson"}
    assert len(names_of(inputs)["test"]) == 6


def test_a_stray_array_above_the_data_takes_nothing_over(tmp_path, capsys):
    root = make_split_folder(tmp_path / "set" / "dataset", {"train": 4, "val": 1, "test": 2}).parent
    np.save(root / "mean.npy", np.ones((3, 784), np.uint8))
    np.save(root / "dataset" / "mean.npy", np.ones((3, 784), np.uint8))
    assert prepare(root).splits.origin == "folders train, val, test"
    assert "2 .npy" in capsys.readouterr().err


def test_a_class_may_have_fewer_than_three_drawings_where_the_split_is_given(tmp_path):
    root = make_split_folder(tmp_path / "set", {"train": 4, "val": 2, "test": 2})
    (root / "train" / "owl").mkdir()
    draw(700).save(root / "train" / "owl" / "0.png")
    assert prepare(root).data.class_names == ["cat", "dog", "owl"]


def test_per_class_takes_of_each_part_its_share(tmp_path):
    root = make_split_folder(tmp_path / "set", {"train": 12, "val": 1, "test": 6})
    found = names_of(prepare(root, per_class=6))
    assert {name: len(names) for name, names in found.items()} == {"train": 6, "validation": 2, "test": 4}
    assert {name: len(names) for name, names in names_of(prepare(root, per_class=3)).items()} == dict.fromkeys(
        SPLIT_NAMES, 2
    )


def test_the_given_split_is_part_of_the_fingerprint(tmp_path):
    root = make_split_folder(tmp_path / "set", {"train": 4, "val": 2, "test": 2})
    before = prepare(root).data
    again = prepare(root).data
    assert before.fingerprint == again.fingerprint
    (root / "val").rename(root / "old")
    (root / "test").rename(root / "val")
    (root / "old").rename(root / "test")
    assert prepare(root).data.fingerprint != before.fingerprint


def test_a_written_split_gives_the_same_one_again(tmp_path):
    """The run's own splits.csv can be given to another search over the same data."""
    root = make_image_folder(tmp_path / "set", per_class=8)
    inputs = prepare(root, seed=3)
    path = tmp_path / "splits.csv"
    write_splits(path, inputs.data, inputs.splits)
    again = prepare(root, splits=str(path))
    assert names_of(again) == names_of(inputs)
    assert again.splits.origin.startswith("splits file splits.csv (sha256 ")
    read = read_splits(path, again.data)
    assert (read.test == again.splits.test).all()
    request = DataRequest(str(root), 16, splits=str(path))
    data = open_data(prepare_data(request, progress=False))
    assert (split_data(data, protocol="small", split_by=None, seed=9).test == again.splits.test).all()


def test_an_empty_part_is_named_and_made(tmp_path, capsys):
    root = make_split_folder(tmp_path / "set", {"train": 8, "val": 0, "test": 3})
    inputs = prepare(root)
    assert "no drawings in val" in capsys.readouterr().err
    assert len(inputs.splits.validation) == 3, "a fifth of 16, rounded"
    assert inputs.splits.origin.startswith("folders train, test; validation taken out of train")


def test_a_class_in_another_spelling_is_named_beside_the_one_that_train_has(tmp_path):
    root = make_split_folder(tmp_path / "set", {"train": 4, "val": 2})
    (root / "val" / "cat").rename(root / "val" / "CAT")
    with pytest.raises(ValueError, match=r"cannot be learned: CAT \(train has 'cat'\)"):
        prepare(root)

"""Levels above the classes: recognised, or refused with the folders' names and a way on that works."""

import re

import pytest

from tests.support.drawings import draw, make_flat_folder, make_image_folder, make_split_folder
from tests.support.prepared import prepare_small
from tune_sketch.data import SketchData
from tune_sketch.data.__main__ import main


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNE_SKETCH_CACHE", str(tmp_path / "cache"))


def prepare(root, **choices) -> SketchData:
    return prepare_small(root, **choices).data


def refusal(root) -> str:
    with pytest.raises(ValueError, match="level above the classes") as caught:
        prepare(root)
    return str(caught.value)


def numbered(root, folders):
    """The same four pictures' names in each folder, all pictures different."""
    return make_flat_folder(root, [f"{folder}/{number}.png" for folder in folders for number in range(4)])


@pytest.mark.parametrize(
    ("above", "below"),
    [
        (("photo", "sketch"), ("cat", "dog", "owl")),
        (("art_painting", "cartoon", "photo", "sketch"), ("cat", "dog")),
        (("clipart", "Infograph", "quickdraw", "real", "sketch"), ("cat", "dog")),
        (("images", "masks"), ("cat", "dog")),
        (("monday", "tuesday"), ("cat", "dog")),
    ],
)
def test_domains_are_refused_and_both_ways_on_work(tmp_path, above, below):
    root = numbered(tmp_path / "set", [f"{domain}/{name}" for domain in above for name in below])
    said = refusal(root)
    assert f"{', '.join(sorted(above))} each hold" in said
    assert f"({', '.join(below)})" in said
    one = re.search(r"such as --data (\S+),", said)
    assert prepare(one[1]).class_names == list(below)
    expression = re.search(r"--class-from '(\S+)'", said)
    data = prepare(root, class_from=expression[1])
    assert data.class_names == list(below)
    assert len(data.names) == 4 * len(above) * len(below)


def test_alphabets_above_characters(tmp_path):
    """Omniglot: the characters of an alphabet are its classes, and every alphabet has a first character."""
    folders = [
        f"{a}/character{n:02}"
        for a, count in (("Greek", 3), ("Latin", 2), ("Tifinagh", 2))
        for n in range(1, count + 1)
    ]
    root = numbered(tmp_path / "set" / "images_background", folders).parent
    said = refusal(root)
    assert "Greek, Latin, Tifinagh each hold" in said
    assert "--class-from '(.+)/'" in said
    assert prepare(root, class_from="(.+)/").class_names == folders
    assert prepare(root / "images_background" / "Greek").class_names == ["character01", "character02", "character03"]


def test_images_beside_annotations(tmp_path, capsys):
    root = make_image_folder(tmp_path / "set" / "images").parent
    for name in ("cat", "dog"):
        (root / "annotations" / name).mkdir(parents=True)
        (root / "annotations" / name / "0.xml").write_text("<box/>")
    (root / "empty").mkdir()
    assert prepare(root).class_names == ["cat", "dog"]
    assert "left out, since they are no pictures that can be read: 2 .xml" in capsys.readouterr().err


def test_annotations_beside_class_folders(tmp_path, capsys):
    root = make_image_folder(tmp_path / "set")
    (root / "annotations").mkdir()
    (root / "annotations" / "boxes.json").write_text("{}")
    assert prepare(root).class_names == ["cat", "dog"]
    said = capsys.readouterr().err
    assert "the folder annotations holds no drawings and is left out" in said
    assert "1 .json" in said


def test_classes_with_folders_of_days_are_classes_and_it_is_said(tmp_path, capsys):
    folders = [f"{name}/{day}" for name in ("ant", "bee", "cow") for day in ("monday", "tuesday")]
    assert prepare(numbered(tmp_path / "set", folders)).class_names == ["ant", "bee", "cow"]
    assert "folders within the classes are not told apart: monday, tuesday" in capsys.readouterr().err


def test_a_split_below_domains(tmp_path):
    for domain in ("photo", "sketch"):
        make_split_folder(tmp_path / "set" / domain, {"train": 4, "test": 2})
    assert "photo, sketch each hold" in refusal(tmp_path / "set")
    assert prepare(tmp_path / "set" / "photo").given_split is not None


def test_domains_below_a_split(tmp_path):
    folders = [f"{p}/{d}/{c}" for p in ("train", "test") for d in ("photo", "sketch") for c in ("cat", "dog")]
    root = numbered(tmp_path / "set", folders)
    assert "train has a level above the classes: photo, sketch" in refusal(root)
    assert prepare(root, class_from=".+/(.+)/").given_split is not None


def test_files_beside_the_folder_of_the_data_are_counted(tmp_path, capsys):
    root = make_image_folder(tmp_path / "set" / "dataset").parent
    draw(90).save(root / "cover.png")
    draw(91).save(root / "dataset" / "also.png")
    (root / "licence").write_text("do as you like")
    assert prepare(root).class_names == ["cat", "dog"]
    said = capsys.readouterr().err
    assert "2 picture beside the class folders" in said
    assert "1 without suffix" in said


def test_lists_of_several_domains_are_refused(tmp_path):
    root = tmp_path / "set"
    for domain in ("clipart", "sketch"):
        make_image_folder(root / domain)
        for part in ("train", "test"):
            number = 0 if part == "train" else 3
            (root / f"{domain}_{part}.txt").write_text(f"{domain}/cat/{number}.png 0\n{domain}/dog/{number}.png 1\n")
    with pytest.raises(ValueError, match=r"several tables or lists of drawings \(clipart_test.txt, clipart_train.txt"):
        prepare(root)
    assert prepare(root / "sketch").class_names == ["cat", "dog"]


def test_a_file_list_without_a_split_changes_nothing(tmp_path):
    root = make_image_folder(tmp_path / "set")
    before = prepare(root)
    (root / "filelist.txt").write_text("".join(f"{name}\n" for name in before.names))
    assert prepare(root).fingerprint == before.fingerprint


def test_the_data_command_says_when_nothing_was_left_out(tmp_path, capsys):
    root = make_image_folder(tmp_path / "set")
    assert main([str(root), "--image-px", "16", "--out", str(tmp_path / "out")]) == 0
    assert "no file was left out" in capsys.readouterr().out

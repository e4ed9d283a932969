"""Tables and names that say class, split and group: --splits, --class-from, --group-by, and labels.csv in the data."""

import shutil
import unicodedata
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.drawings import (
    draw,
    make_flat_folder,
    make_image_folder,
    make_sketchy_folder,
    make_split_folder,
    make_strokes,
)
from tests.support.prepared import prepare_small as prepare
from tune_sketch.config.plan import Inputs, plan_lines
from tune_sketch.config.settings import Settings
from tune_sketch.data.__main__ import main
from tune_sketch.data.sources.tables import read_header, read_table
from tune_sketch.data.splits import SPLIT_NAMES

SIX = [f"{name}/{number}.png" for name in ("cat", "dog") for number in range(6)]
PARTS = ["train"] * 3 + ["val"] + ["test"] * 2


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNE_SKETCH_CACHE", str(tmp_path / "cache"))


def names_of(inputs: Inputs) -> dict[str, list[str]]:
    return {name: sorted(inputs.data.names[index] for index in getattr(inputs.splits, name)) for name in SPLIT_NAMES}


def classes_of(inputs: Inputs) -> dict[str, str]:
    data = inputs.data
    return {name: data.class_names[label] for name, label in zip(data.names, data.labels, strict=True)}


def write_table(path: Path, header: str, rows: list[str], encoding: str = "utf-8") -> str:
    path.write_text("\n".join([header, *rows]) + "\n", encoding=encoding)
    return str(path)


@pytest.fixture
def folder(tmp_path):
    """Two classes of six drawings."""
    return make_image_folder(tmp_path / "set", per_class=6)


EXPECTED = {
    "train": [f"{name}/{number}.png" for name in ("cat", "dog") for number in range(3)],
    "validation": ["cat/3.png", "dog/3.png"],
    "test": [f"{name}/{number}.png" for name in ("cat", "dog") for number in (4, 5)],
}


@pytest.mark.parametrize(
    "spell",
    [
        lambda name, root: name,
        lambda name, root: f"./{name}",
        lambda name, root: name.replace("/", "\\"),
        lambda name, root: f".\\{name}".replace("/", "\\"),
        lambda name, root: f"{root}/{name}",
        lambda name, root: f"set/{name}",
        lambda name, root: f"/home/somebody/drawings/{name}",
        lambda name, root: f"C:\\drawings\\{name}".replace("/", "\\"),
        lambda name, root: name.removesuffix(".png"),
    ],
    ids=["plain", "dot", "backslashes", "dot-backslashes", "absolute", "above", "elsewhere", "windows", "no-suffix"],
)
def test_a_table_may_spell_paths_as_people_do(folder, tmp_path, spell):
    rows = [f"{spell(name, folder)},{part}" for name, part in zip(SIX, PARTS * 2, strict=True)]
    inputs = prepare(folder, splits=write_table(tmp_path / "folds.csv", "image,split", rows))
    assert names_of(inputs) == EXPECTED
    assert inputs.splits.origin.startswith("splits file folds.csv (sha256 ")


@pytest.mark.parametrize(
    ("header", "row", "encoding"),
    [
        ("image,class,split", "{name},{label},{part}", "utf-8-sig"),
        ("split;class;image", "{part};{label};{name}", "utf-8"),
        ("Subset\tFilename", "{part}\t{name}", "utf-8"),
        (",Image , Split", "7,{name}, {part}", "utf-8"),
        ('"file_name","split","width"', '"{name}","{part}","40"', "utf-8"),
        ("image,split", "{name},{part}", "utf-16"),
        ("\n\npath,split,note", "{name},{part}", "utf-8"),
    ],
    ids=["bom", "semicolons", "tabs", "spaces", "quotes", "utf-16", "ragged"],
)
def test_a_table_may_be_written_by_any_program(folder, tmp_path, header, row, encoding):
    rows = [
        row.format(name=name, label=name.split("/")[0], part=part.upper())
        for name, part in zip(SIX, PARTS * 2, strict=True)
    ]
    inputs = prepare(folder, splits=write_table(tmp_path / "folds.csv", header, [*rows, "", rows[0]], encoding))
    assert names_of(inputs) == EXPECTED


def test_drawings_that_the_table_does_not_name_are_left_out_and_counted(folder, tmp_path, capsys):
    rows = [f"{name},{part}" for name, part in zip(SIX, PARTS * 2, strict=True)]
    table = write_table(tmp_path / "folds.csv", "image,split", rows[:-1] + rows[:1])
    inputs = prepare(folder, splits=table)
    assert len(inputs.data.names) == 11
    said = capsys.readouterr().err
    assert "left out: 1 drawings that folds.csv does not name" in said
    assert "folds.csv says 1 rows again" in said
    assert main([str(folder), "--image-px", "16", "--splits", table, "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "left out: 1 drawings that folds.csv does not name" in said
    assert "split: splits file folds.csv (sha256 " in said


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "must begin with column names, image and one or both of split and class, has nothing"),
        ("image,split\n", "has column names and no row"),
        ("cat/0.png,train\n", r"must begin with column names.*has 'cat/0.png', 'train'"),
        (
            "image,split\ncat/0.png,train\ncat/1.png,holdout\n",
            r"row 3: split must be one of train, training, val.*'hold",
        ),
        (
            "image,split\ncat/0.png,train\ncat/0.png,test\n",
            r"row 3: cat/0.png is named twice and differently: split train; split test",
        ),
        ("image,split\ncat/0.png,train\n./cat/0.png,test\n", r"names cat/0.png twice and differently"),
        (
            "image,split\ncat/0.png,train\ncow/1.png,test\nowl/2.png,test\n",
            r"2 of its 3 rows name no drawing of .*cow/1",
        ),
        ("image,split\n0.png,train\n", r"1 of its 1 rows name several drawings of .*: 0.png"),
        ("image,split\ncat/0.png,\n", r"row 2: the column split is empty"),
        ("image,split\ncat/0.png\n", r"row 2: the column split is empty"),
        ('image,split\n"cat/0.png,train\n', "is no table of text"),
    ],
)
def test_what_is_wrong_in_a_table_is_said_with_its_place(folder, tmp_path, content, message):
    (tmp_path / "folds.csv").write_text(content)
    with pytest.raises(ValueError, match=message):
        prepare(folder, splits=str(tmp_path / "folds.csv"))


def test_a_table_of_only_training_and_test_drawings_is_completed(folder, tmp_path):
    rows = [f"{name},{'test' if part == 'test' else 'train'}" for name, part in zip(SIX, PARTS * 2, strict=True)]
    inputs = prepare(folder, splits=write_table(tmp_path / "folds.csv", "image,split", rows))
    assert names_of(inputs)["test"] == EXPECTED["test"]
    assert len(names_of(inputs)["validation"]) == 2
    assert "; validation taken out of train (small" in inputs.splits.origin


def test_a_table_overrides_folders_of_a_split(tmp_path):
    root = make_split_folder(tmp_path / "set", {"train": 4, "val": 2, "test": 2})
    names = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.png"))
    moved = {"train": "test", "val": "validation", "test": "train"}
    rows = [f"{name},{moved[name.split('/')[0]]}" for name in names]
    inputs = prepare(root, splits=write_table(tmp_path / "folds.csv", "image,split", rows))
    assert {name.split("/")[0] for name in names_of(inputs)["test"]} == {"train"}
    assert {name.split("/")[0] for name in names_of(inputs)["train"]} == {"test"}
    anew = prepare(root, splits=str(tmp_path / "folds.csv"), split_by="file")
    assert names_of(anew) != names_of(inputs)
    assert anew.splits.origin == "small, no photos known, seed 0"


def test_a_table_can_divide_files_of_strokes(tmp_path):
    root = make_strokes(tmp_path / "set")
    rows = [
        f"{label}.ndjson:{line},{part}"
        for label in ("cat", "dog")
        for line, part in zip(range(1, 7), PARTS, strict=True)
    ]
    inputs = prepare(root, splits=write_table(tmp_path / "folds.csv", "image,split", rows))
    assert names_of(inputs)["test"] == ["cat.ndjson:5", "cat.ndjson:6", "dog.ndjson:5", "dog.ndjson:6"]
    wrong = write_table(tmp_path / "wrong.csv", "image,class", ["cat.ndjson:1,dog", "dog.ndjson:1,dog"])
    with pytest.raises(
        ValueError, match=r"other classes than the data of 1 drawings: cat.ndjson:1 is 'cat', not 'dog'"
    ):
        prepare(root, splits=wrong)


def test_a_table_may_name_more_classes_than_are_asked_for(tmp_path, capsys):
    root = make_image_folder(tmp_path / "set", classes=("cat", "dog", "owl"), per_class=6)
    names = [f"{label}/{n}.png" for label in ("cat", "dog", "owl") for n in range(5)]
    rows = [f"{name},{part}" for name, part in zip(names, ["train", "train", "train", "val", "test"] * 3, strict=True)]
    inputs = prepare(root, splits=write_table(tmp_path / "folds.csv", "image,split", rows), classes=("cat", "dog"))
    assert len(inputs.data.names) == 10
    assert "left out: 2 drawings that folds.csv does not name" in capsys.readouterr().err


def label_by_parity(names: list[str]) -> list[str]:
    return [f"{name},{'even' if number % 2 == 0 else 'odd'}" for number, name in enumerate(names)]


@pytest.mark.parametrize("packing", ["folder", "zip", "gztar"])
@pytest.mark.parametrize("folder_of_pictures", ["", "images/", "train/"])
def test_labels_in_the_data_give_the_classes(tmp_path, packing, folder_of_pictures, capsys):
    names = [f"{folder_of_pictures}{number:03}.png" for number in range(10)]
    root = make_flat_folder(tmp_path / "top" / "set", [*names, f"{folder_of_pictures}unnamed.png"])
    bare = [name.rpartition("/")[2] for name in names]
    write_table(root / "labels.csv", "image,class", label_by_parity(bare))
    data = root if packing == "folder" else shutil.make_archive(str(tmp_path / "packed"), packing, tmp_path / "top")
    inputs = prepare(data)
    assert classes_of(inputs) == {name: ("even", "odd")[number % 2] for number, name in enumerate(names)}
    said = capsys.readouterr().err
    assert "classes come from labels.csv (sha256 " in said
    assert "left out: 1 pictures that it does not name: " in said


def test_a_table_given_by_its_path_can_give_the_classes(tmp_path):
    root = make_flat_folder(tmp_path / "set", [f"{number}.png" for number in range(12)])
    rows = [
        f"{row},{part}" for row, part in zip(label_by_parity([f"{n}.png" for n in range(12)]), PARTS * 2, strict=True)
    ]
    table = write_table(tmp_path / "labels.csv", "image,label,split", rows)
    inputs = prepare(root, splits=table)
    assert inputs.data.class_names == ["even", "odd"]
    assert len(names_of(inputs)["test"]) == 4


def test_kaggles_tables_of_train_and_test(tmp_path, capsys):
    """train.csv labels train/, test/ has the same names and no labels, and the sample answer has invented ones."""
    names = [f"{number}.png" for number in range(10)]
    root = make_flat_folder(tmp_path / "set", [f"train/{name}" for name in names] + [f"test/{name}" for name in names])
    write_table(root / "train.csv", "id,label", label_by_parity([name.removesuffix(".png") for name in names]))
    write_table(root / "sample_submission.csv", "id,label", [f"{number},even" for number in range(10)])
    inputs = prepare(root)
    assert set(classes_of(inputs)) == {f"train/{name}" for name in names}
    assert inputs.data.given_split is None or set(inputs.data.given_split) == {0}
    assert "left out: 10 pictures that it does not name: test/0.png" in capsys.readouterr().err


def test_one_table_for_each_part(tmp_path):
    names = [f"images/{number}.png" for number in range(12)]
    root = make_flat_folder(tmp_path / "set", names)
    rows = label_by_parity(names)
    for part, some in (("train", rows[:6]), ("val", rows[6:8]), ("test", rows[8:])):
        write_table(root / f"{part}.csv", "image,class", some)
    inputs = prepare(root)
    assert names_of(inputs)["test"] == sorted(names[8:])
    assert names_of(inputs)["validation"] == names[6:8]
    write_table(root / "test.csv", "image,class", rows[5:])
    with pytest.raises(ValueError, match=r"its tables say different things about images/5.png"):
        prepare(root)
    write_table(root / "more.csv", "image,class", rows)
    with pytest.raises(ValueError, match=r"several tables.*choose one by --splits FILE"):
        prepare(root)


def test_tables_that_say_what_the_folders_say_change_nothing(folder):
    before = prepare(folder).data.fingerprint
    write_table(folder / "labels.csv", "image,class", [f"{name},{name.split('/')[0]}" for name in SIX])
    assert prepare(folder).data.fingerprint == before
    (folder / "labels.csv").rename(folder / "sizes.csv")
    write_table(folder / "sizes.csv", "image,width", [f"{name},40" for name in SIX])
    assert prepare(folder).data.fingerprint == before


def test_a_table_about_something_else_is_not_used_and_named(folder, capsys):
    before = prepare(folder).data.fingerprint
    write_table(folder / "people.csv", "name,class", ["Ada,4b", "Kurt,4c"])
    write_table(folder / "folds.csv", "image,split", ["cat/0.png,train"])
    capsys.readouterr()
    assert prepare(folder).data.fingerprint == before
    said = capsys.readouterr().err
    assert f"people.csv is not used: to go by its columns give --splits {folder}/people.csv" in said
    assert f"folds.csv is not used: to go by its columns give --splits {folder}/folds.csv" in said
    rows = [f"{name},{part}" for name, part in zip(SIX, PARTS * 2, strict=True)]
    write_table(folder / "folds.csv", "image,split", rows)
    assert names_of(prepare(folder, splits=str(folder / "folds.csv"))) == EXPECTED
    assert "folds.csv is not used" not in capsys.readouterr().err
    write_table(folder / "people.csv", "image,class", ["cat/0.png,x", "cow/1.png,y"])
    with pytest.raises(ValueError, match=r"1 of its 2 rows name no drawing.*cow/1.png; mend it, or move it elsewhere"):
        prepare(folder)


def test_names_are_one_in_every_unicode_form(tmp_path):
    """macOS writes e and its accent apart, a spreadsheet as one letter."""
    names = [f"{label}/{n}.png" for label in ("cafe\u0301", "th\u00e9") for n in range(6)]
    root = make_flat_folder(tmp_path / "set", names)
    rows = [f"{unicodedata.normalize('NFC', name)},{part}" for name, part in zip(names, PARTS * 2, strict=True)]
    inputs = prepare(root, splits=write_table(tmp_path / "folds.csv", "image,split", rows))
    assert len(inputs.splits.test) == 4


def problem_of(path: Path) -> str:
    """The error of a table; its path where there is none."""
    try:
        return str(read_table(path).path)
    except ValueError as error:
        return str(error)


@given(content=st.one_of(st.binary(max_size=200), st.text(alphabet='image,split\n";\t\r\x00train', max_size=120)))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_content_is_a_table_or_a_named_error(tmp_path, content):
    path = tmp_path / "table.csv"
    path.write_bytes(content if isinstance(content, bytes) else b"image,split\n" + content.encode())
    read_header(path)
    assert problem_of(path).startswith(str(path))


@pytest.mark.parametrize("label", ["number", "name", "none"])
def test_lists_of_a_published_split(tmp_path, label):
    """DomainNet: sketch/, sketch_train.txt and sketch_test.txt with lines "sketch/cat/1.png 17"."""
    root = make_image_folder(tmp_path / "set" / "sketch", per_class=6).parent
    for part, wanted in (("train", ("train", "val")), ("test", ("test",))):
        lines = []
        for name, its in zip(SIX, PARTS * 2, strict=True):
            if its in wanted:
                text = {"number": " 17" if "cat" in name else " 3", "name": f" {name.split('/')[0]}", "none": ""}[label]
                lines.append(f"sketch/{name}{text}")
        (root / f"sketch_{part}.txt").write_text("\n".join(lines) + "\n")
    inputs = prepare(root)
    assert inputs.data.class_names == ["cat", "dog"]
    assert names_of(inputs)["test"] == [f"sketch/{name}" for name in EXPECTED["test"]]
    assert "sketch_test.txt (sha256 " in inputs.splits.origin
    assert "; validation taken out of train" in inputs.splits.origin


def test_classes_from_the_names_of_files(tmp_path, capsys):
    names = [f"{label}_{number:03}.png" for label in ("cat", "dog") for number in range(5)]
    root = make_flat_folder(tmp_path / "set", [*names, "cover.png"])
    inputs = prepare(root, class_from=r"^([a-z]+)_\d+")
    assert classes_of(inputs) == {name: name[:3] for name in names}
    assert "left out: 1 pictures that --class-from does not match: cover.png" in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"holds pictures without class folders: .*labels.csv.*--class-from REGEX"):
        prepare(root)
    for expression, message in [
        ("[a-z]+_", "must be a regular expression with parentheses"),
        ("([a-z", "must be a regular expression, got"),
        (r"^(\d+)_", "matches none of the 11 pictures"),
    ]:
        with pytest.raises(ValueError, match=f"--class-from {message}" if "none" not in message else message):
            prepare(root, class_from=expression)


def test_classes_from_names_within_folders_of_a_split(tmp_path):
    names = [
        f"{part}/{label}{n}.png" for part in ("train", "val", "test") for label in ("cat", "dog") for n in range(4)
    ]
    root = make_flat_folder(tmp_path / "set", names)
    inputs = prepare(root, class_from=r"^([a-z]+)\d+")
    assert inputs.data.class_names == ["cat", "dog"]
    assert names_of(inputs)["test"] == [name for name in names if name.startswith("test")]
    with pytest.raises(ValueError, match=r"test, train, val hold pictures without class folders"):
        prepare(root)


def test_groups_from_names_stay_together(tmp_path):
    root = tmp_path / "set"
    for offset, label in enumerate(("cat", "dog")):
        (root / label).mkdir(parents=True)
        for number in range(20):
            draw(100 * offset + number).save(root / label / f"p{number % 5}_{number}.png")
        draw(100 * offset + 99).save(root / label / "unsigned.png")
    for seed in range(5):
        inputs = prepare(root, group_by=r"^(p\d)_", seed=seed)
        people = [{name[4:6] for name in some if "_" in name} for some in names_of(inputs).values()]
        assert not people[0] & people[1] | people[0] & people[2] | people[1] & people[2]
    plan = "\n".join(plan_lines(Settings("baseline", data=str(root), image_px=16), inputs))
    assert "5 groups by --group-by ^(p\\d)_; 2 drawings are in none and stand for themselves" in plan
    assert "by group (--group-by ^(p\\d)_), seed 4" in inputs.splits.origin
    for expression, message in [
        ("person", "must be a regular expression with parentheses .* or a column of the table"),
        ("(x+)_", "is no column and finds nothing in the names of the drawings, such as cat/p0_0.png"),
    ]:
        with pytest.raises(ValueError, match=message):
            prepare(root, group_by=expression)


def test_groups_from_a_column_stay_together(tmp_path):
    names = [f"{label}/{number}.png" for label in ("cat", "dog") for number in range(12)]
    root = make_image_folder(tmp_path / "set", per_class=12)
    rows = [f"{name},{name[:3]},drawer {number % 4}" for number, name in enumerate(names)]
    table = write_table(tmp_path / "drawers.csv", "image,class,Drawer", rows)
    drawer = dict(zip(names, (row.split(",")[2] for row in rows), strict=True))
    for seed in range(5):
        inputs = prepare(root, splits=table, group_by="drawer", seed=seed)
        people = [{drawer[name] for name in found} for found in names_of(inputs).values()]
        assert not people[0] & people[1] | people[0] & people[2] | people[1] & people[2]
    assert inputs.data.group_origin == "the column Drawer"


def test_groups_take_the_place_of_photos(tmp_path):
    root = make_sketchy_folder(tmp_path / "set")
    inputs = prepare(root, group_by=r"_(\d+)-")
    assert inputs.data.group_names is not None
    assert not inputs.data.has_photos
    assert len(set(inputs.data.groups)) == 3, "photos of two classes with one number are one group"


def test_another_split_or_group_is_another_data_set(folder, tmp_path):
    prints = set()
    for header, parts in (("image,split", PARTS), ("image,split", PARTS[::-1]), ("image,class", ["x", "y"] * 3)):
        rows = [f"{name},{part}" for name, part in zip(SIX, parts * 2, strict=True)]
        prints.add(prepare(folder, splits=write_table(tmp_path / "folds.csv", header, rows)).data.fingerprint)
    prints.add(prepare(folder).data.fingerprint)
    prints.add(prepare(folder, group_by=r"(\d)\.").data.fingerprint)
    assert len(prints) == 5

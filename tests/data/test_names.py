"""Names from file systems: written by one rule that any file and terminal takes, compared by it, and lost nowhere."""

import csv
import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.drawings import make_image_folder
from tune_sketch.data import DataRequest, open_data, prepare_data
from tune_sketch.data.names import from_cell, to_cell, written_lines, written_name, written_names
from tune_sketch.data.splits import read_splits, split_data, write_splits

NAMES = st.text(st.characters(), max_size=12)  # surrogates too
ROOT = Path(__file__).parents[2]
NFD = unicodedata.normalize("NFD", "café")
HARD = (
    "$a$b",
    "=cmd|'calc'!A0",
    "猫",
    "😀",
    NFD,
    "two\nlines",
    "tab\there",
    "\x1b[31mred",
    "b\udce9",
    " ",
    "x" * 200,
)


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("cat", "cat"),
        ("ice cream", "ice cream"),
        (" cat ", r"\x20cat\x20"),
        ("a b/ /c ", r"a b/\x20/c\x20"),
        (NFD, "café"),
        ("猫 😀 $a$b", "猫 😀 $a$b"),
        ("👩\u200d🚀", "👩\u200d🚀"),  # a joiner that makes one sign of two
        ("a\nb", r"a\x0ab"),
        ("a\tb", r"a\x09b"),
        ("\x1b[2J", r"\x1b[2J"),
        ("a\x85b\u2028c", r"a\x85b\u2028c"),
        ("b\udce9", r"b\xe9"),  # a byte of Latin-1
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("שלום", "שלום"),
        ("  ", r"\x20\x20"),
        ("\u200b", r"\u200b"),
        ("\u0301", r"\u0301"),
    ],
)
def test_written_names(name, written):
    assert written_name(name) == written


@given(NAMES)
def test_a_written_name_can_be_written_anywhere(name):
    written = written_name(name)
    assert written_name(written) == written
    written.encode()
    assert not any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in written)
    assert (not written) == (not name)


@given(NAMES)
def test_a_message_keeps_its_lines_and_steers_no_terminal(text):
    written = written_lines(text)
    assert written.count("\n") == text.count("\n")
    assert not set(written) & {"\x1b", "\x07", "\x08", "\r", "\x9b"}
    written.encode()


@given(NAMES)
def test_a_cell_is_read_as_it_was_meant(text):
    assert from_cell(to_cell(text)) == text


@pytest.mark.parametrize("text", ["=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(A1)", "=x", "\t=x", "'=x"])
def test_a_cell_is_no_formula(text):
    assert to_cell(text) == "'" + text


@pytest.mark.parametrize(
    "value", [-0.5, 3, None, "-0.5", "+3", "1e-5", "-1e-05", "cat", "a=b", "=", "-", "'quoted'", ""]
)
def test_other_cells_are_left_alone(value):
    assert to_cell(value) == value


def prepare(root, **choices):
    return open_data(prepare_data(DataRequest(str(root), 20, **choices), progress=False))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNE_SKETCH_CACHE", str(tmp_path / "cache"))


def test_hard_names_are_carried_into_the_splits(tmp_path):
    root = make_image_folder(tmp_path / "set", HARD)
    data = prepare(root)
    assert sorted(data.class_names) == sorted(map(written_name, HARD))
    splits = split_data(data, protocol="small", split_by="photo", seed=0)
    write_splits(tmp_path / "splits.csv", data, splits)
    with open(tmp_path / "splits.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert len(rows) == 1 + len(data.names)
    assert all(len(row) == 3 and not row[1].startswith("=") for row in rows)
    assert (read_splits(tmp_path / "splits.csv", data).train == splits.train).all()


@pytest.mark.parametrize("wanted", ["café", NFD])
@pytest.mark.parametrize("stored", ["café", NFD])
def test_a_class_is_found_by_either_way_to_write_its_accents(tmp_path, wanted, stored):
    root = make_image_folder(tmp_path / "set", (stored, "dog", "cat"))
    assert prepare(root, classes=(wanted, "dog")).class_names == ["café", "dog"]


def test_the_same_drawings_have_one_fingerprint_however_their_names_are_composed(tmp_path):
    composed, decomposed = (make_image_folder(tmp_path / name, (name, "dog")) for name in ("café", NFD))
    assert composed != decomposed
    assert prepare(composed).fingerprint == prepare(decomposed).fingerprint


def test_classes_that_are_written_alike_are_named(tmp_path):
    root = make_image_folder(tmp_path / "set", ("café", NFD, "dog"))
    with pytest.raises(ValueError, match=r"two classes have the same name 'café', written as 'cafe\\u0301' and '"):
        prepare(root)
    assert written_names({"a": 1, "b": 2}) == {"a": 1, "b": 2}


def test_drawings_that_are_written_alike_are_named(tmp_path):
    root = make_image_folder(tmp_path / "set")
    for name in ("café.png", f"{NFD}.png"):
        (root / "cat" / name).write_bytes((root / "cat" / "0.png").read_bytes())
    with pytest.raises(ValueError, match=r"has the same name as .*: rename one"):
        prepare(root)


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "ascii"])
def test_the_data_command_prints_and_draws_hard_names_on_any_terminal(tmp_path, encoding):
    root = make_image_folder(tmp_path / "set", HARD)
    (root / "猫" / "bad\x1b[31m\udce9.png").write_bytes(b"no picture")
    answer = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tune_sketch.data", root, "--image-px", "20", "--out", tmp_path / "out",
         "--skip-bad-images"],
        capture_output=True,
        env=os.environ | {"PYTHONIOENCODING": encoding, "PYTHONPATH": str(ROOT)},
        check=False,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    assert b"\x1b" not in answer.stdout + answer.stderr
    assert b"Warning" not in answer.stderr
    assert (tmp_path / "out" / "samples.png").is_file()
    with open(tmp_path / "out" / "classes.csv", encoding="utf-8", newline="") as file:
        assert [row[0][0] for row in csv.reader(file) if "cmd" in row[0]] == ["'"]


def test_the_parts_of_a_split_may_compose_accents_each_in_its_own_way(tmp_path):
    root = tmp_path / "set"
    make_image_folder(root / "train", ("café", "dog"), per_class=6)
    make_image_folder(root / "test", (NFD, "dog"), per_class=7)
    data = prepare(root, skip_bad_images=True)
    assert data.class_names == ["café", "dog"]


def test_a_table_may_compose_accents_in_its_own_way(tmp_path):
    root = make_image_folder(tmp_path / "set", ("a", "b"), per_class=6)
    rows = [f"a/{number}.png,{('café', NFD)[number % 2]}" for number in range(6)]
    rows += [f"b/{number}.png,dog" for number in range(6)]
    (root / "labels.csv").write_text("\n".join(["image,class", *rows]) + "\n", encoding="utf-8")
    assert prepare(root).class_names == ["café", "dog"]


def test_our_own_splits_of_hard_names_can_be_given_back(tmp_path):
    root = make_image_folder(tmp_path / "set", HARD)
    data = prepare(root)
    before = split_data(data, protocol="small", split_by="photo", seed=3)
    write_splits(tmp_path / "splits.csv", data, before)
    again = prepare(root, splits=str(tmp_path / "splits.csv"))
    after = split_data(again, protocol="small", split_by="own", seed=0)
    for name in ("train", "validation", "test"):
        assert {data.names[i] for i in getattr(before, name)} == {again.names[i] for i in getattr(after, name)}

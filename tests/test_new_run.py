"""Run directories are made whole or not at all, never two in one, and what their results need is tried before."""

import datetime
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import tune_sketch.new_run
from tests.support.drawings import make_image_folder
from tests.support.mounts import read_only
from tune_sketch.config.plan import prepare_inputs
from tune_sketch.config.settings import Settings
from tune_sketch.new_run import check_destination, create_run, default_name, make_run
from tune_sketch.search import main
from tune_sketch.storage.facts import read_facts
from tune_sketch.storage.reading import read_history

CHOICES = {"data": "doodles", "classes": 2, "per_class": 6, "image_px": 20, "weights": "none"}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNE_SKETCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def one_second(monkeypatch):
    """All that begins, begins in the same second."""

    class Now(datetime.datetime):
        @classmethod
        def now(cls, zone=None):
            return cls(2026, 1, 1, 12, 0, 0, tzinfo=zone)

    monkeypatch.setattr(datetime, "datetime", Now)


def test_searches_without_a_name_that_begin_in_one_second_have_run_directories_of_their_own(tmp_path, one_second):
    settings = Settings("baseline", **CHOICES)
    inputs = prepare_inputs(settings)
    with ThreadPoolExecutor(4) as pool:
        runs = [task.result() for task in [pool.submit(make_run, tmp_path, None, settings, inputs) for _ in range(6)]]
    assert len({run.path for run in runs}) == 6
    assert {run.path.name for run in runs} == {
        "baseline-doodles-20260101-120000", *(f"baseline-doodles-20260101-120000-{number}" for number in range(2, 7))
    }  # fmt: skip
    for run in runs:
        assert read_facts(run).settings == settings
        assert read_history(run).trials == []
    assert not list(tmp_path.glob(".new-*"))


def test_a_name_that_is_taken_in_the_meantime_is_said_as_one_that_was(tmp_path, monkeypatch):
    settings = Settings("baseline", **CHOICES)
    inputs, path = prepare_inputs(settings), tmp_path / "a b"
    rename = os.rename

    def overtake(source, target):
        Path(target).mkdir()
        (Path(target) / "search.json").touch()
        rename(source, target)

    monkeypatch.setattr(tune_sketch.new_run.os, "rename", overtake)
    with pytest.raises(ValueError, match=r"a b exists already: choose another --name, or go on with it by --resume '"):
        create_run(path, settings, inputs, None)
    assert os.listdir(path) == ["search.json"]


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ("a b#c", "a-b-c"),
        ("café", "café"),
        ("cafe\u0301", "café"),
        ("猫", "猫"),
        ("...", "data"),
        ("$(x)", "x"),
        ("x" * 99, "x" * 40),
    ],
)
def test_a_name_is_a_folder_name_of_letters(data, name):
    assert default_name(Settings("baseline", data=f"/d/{data}")).startswith(f"baseline-{name}-20")


def refuse(settings):
    raise AssertionError("nothing expensive is to begin")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--name", "taken"], "taken exists already: choose another --name"),
        (["--runs-dir", "file"], "file is no folder that can be written"),
        (["--runs-dir", "file/deeper"], "file is no folder that can be written"),
        (["--runs-dir", "locked/runs"], "locked is no folder that can be written"),
        (["--storage", "sqlite:///x.db"], "--storage is for a database server such as postgresql://user@host/name"),
        (["--storage", "sqlite://"], "Leave it out to keep the record in a file"),
        (["--storage", "postgresql://nobody@127.0.0.1:1/x"], "cannot be opened"),
        (["--storage", "nonsense"], "--storage must be a database URL"),
    ],
)
def test_a_place_that_cannot_be_is_said_before_anything_is_decoded(flags, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tune_sketch.config.plan.prepare_inputs", refuse)
    (tmp_path / "runs" / "taken").mkdir(parents=True)
    (tmp_path / "file").touch()
    (tmp_path / "locked").mkdir()
    if "locked/runs" in flags:
        with read_only(tmp_path / "locked"):
            code = main(["--model", "baseline", *flags])
    else:
        code = main(["--model", "baseline", *flags])
    assert code == 2
    assert message in capsys.readouterr().err
    assert sorted(os.listdir(tmp_path)) == ["file", "locked", "runs"]


def test_names_are_tried_before_the_first_trial(tmp_path, monkeypatch):
    root = make_image_folder(tmp_path / "set", ("$a$b", "猫", "=x"), per_class=6)
    settings = Settings("baseline", **(CHOICES | {"data": str(root), "classes": None}))
    inputs = prepare_inputs(settings)
    assert read_facts(create_run(tmp_path / "good", settings, inputs, None)).data.class_names == ("$a$b", "=x", "猫")
    # As it would be if a name could still not be drawn, or not be written.
    monkeypatch.setattr("tune_sketch.data.figure_text.class_text", lambda name: name)
    with pytest.raises(ValueError, match=r"the report cannot draw the names of these classes: '\$a\$b'"):
        create_run(tmp_path / "bad", settings, inputs, None)
    monkeypatch.setattr("tune_sketch.new_run.read_csv", lambda path: [])
    with pytest.raises(ValueError, match="cannot be written as CSV"):
        create_run(tmp_path / "bad", settings, inputs, None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "good", "set"], "no half-made run directory"


def test_a_free_place_is_not_touched(tmp_path):
    check_destination(tmp_path / "a" / "b", ["c"], None)
    assert os.listdir(tmp_path) == []

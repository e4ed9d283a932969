"""The paths that users give: ~ in every flag, no URL, and a cache that cannot be made is said with the way out."""

import argparse

import pytest

from tests.support.drawings import make_image_folder
from tune_sketch.config.flags import build_parser, given_choices, make_settings
from tune_sketch.config.settings import FLAGS
from tune_sketch.confirm import main as confirm
from tune_sketch.data import DataRequest, prepare_data
from tune_sketch.data.__main__ import main as show_data
from tune_sketch.data.paths import path_argument, read_path
from tune_sketch.data.request import default_cache_dir
from tune_sketch.data.staging import stage_data
from tune_sketch.draw import main as draw
from tune_sketch.explain import main as explain
from tune_sketch.predict import main as predict
from tune_sketch.report import main as report
from tune_sketch.search import main as search
from tune_sketch.status import main as status


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("TUNE_SKETCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.mark.parametrize("name", ["a b", "a#b?c", "100%20", "{x}", "'\"$(x)`", "café 猫", "-x", "a:b", "=x", "C:/x"])
def test_a_path_is_taken_as_it_is(name):
    assert str(read_path(name)) == name


@pytest.mark.parametrize(
    "text",
    [
        "s3://bucket/x",
        "gs://b",
        "file:///tmp/x",
        "https://host/x",
        "hdfs:/x",
        "",
        "a\0b",
        "a\nb",
        "b\udce9",
        "~nobody-of-this-name/x",
    ],
)
def test_what_is_no_path_is_refused(text, tmp_path):
    with pytest.raises(ValueError, match="must be a path"):
        read_path(text)
    with pytest.raises(argparse.ArgumentTypeError):
        path_argument(text)


def test_a_folder_whose_name_looks_like_a_url_is_a_folder(tmp_path):
    (tmp_path / "s3:" / "bucket").mkdir(parents=True)
    assert str(read_path("s3://bucket")) == "s3:/bucket"


@pytest.mark.parametrize("name", [name for name, flag in FLAGS.items() if flag.path_or is not None])
@pytest.mark.parametrize("form", ["{flag} ~/x", "{flag}=~/x"])
def test_every_flag_of_a_path_knows_the_home_directory(name, form, home):
    if name in ("weights", "splits"):
        (home / "x").touch()
    else:
        (home / "x").mkdir()
        (home / "x" / "search.json").touch()
    flags = form.format(flag=FLAGS[name].spelling(name)).split()
    arguments = build_parser().parse_args(["--model", "baseline", *flags])
    value = getattr(make_settings("baseline", given_choices(arguments)), name)
    assert value in (str(home / "x"), (str(home / "x"),))


@pytest.mark.parametrize("name", [name for name, flag in FLAGS.items() if flag.path_or is not None])
def test_no_flag_of_a_path_takes_a_url(name, capsys):
    assert search(["--model", "baseline", FLAGS[name].spelling(name), "s3://bucket/x"]) == 2
    assert f"{FLAGS[name].spelling(name)} must be a path on this machine" in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["--runs-dir", "--resume"])
def test_a_url_makes_no_folder(flag, tmp_path, capsys):
    with pytest.raises(SystemExit) as ending:
        search(["--model", "baseline", f"{flag}=s3://bucket/x"])
    assert ending.value.code == 2
    assert "not a URL (s3:)" in capsys.readouterr().err
    assert not (tmp_path / "s3:").exists()
    assert build_parser().parse_args([f"{flag}=~/x"]).__dict__[flag.strip("-").replace("-", "_")] == read_path("~/x")


@pytest.mark.parametrize(
    ("command", "flags"),
    [
        (status, ["~/x"]),
        (explain, ["~/x", "3"]),
        (report, ["~/x"]),
        (confirm, ["~/x"]),
        (draw, ["~/x"]),
        (predict, ["~/x", "~/x/a.png"]),
        (search, ["--resume=~/x"]),
    ],
)
def test_every_command_knows_the_home_directory(command, flags, home, capsys):
    (home / "x").mkdir()
    (home / "x" / "a.png").touch()
    assert command(flags) == 2
    assert f"error: {home}/x is not a run directory" in capsys.readouterr().err


def test_the_data_command_knows_it_too(home, tmp_path):
    make_image_folder(home / "set")
    assert show_data(["~/set", "--image-px", "20", "--protocol", "small", "--out=~/out"]) == 0
    assert (home / "out" / "samples.png").is_file()


@pytest.mark.parametrize("variable", ["HOME", "TUNE_SKETCH_CACHE"])
def test_a_cache_that_cannot_be_made_names_the_variable(variable, monkeypatch):
    monkeypatch.delenv("TUNE_SKETCH_CACHE")
    monkeypatch.setenv(variable, "/dev/null/nowhere")
    with pytest.raises(ValueError, match=r"the cache /dev/null/.* cannot be written .*: set TUNE_SKETCH_CACHE to"):
        prepare_data(DataRequest("doodles", 20, classes=2, per_class=3), progress=False)


def test_without_a_home_the_message_names_the_variable(monkeypatch):
    monkeypatch.delenv("TUNE_SKETCH_CACHE")
    monkeypatch.setattr("pathlib.Path.expanduser", no_home)
    with pytest.raises(ValueError, match="set TUNE_SKETCH_CACHE to a folder"):
        default_cache_dir()


def no_home(path):
    raise RuntimeError("Could not determine home directory.")


@pytest.mark.parametrize("name", ["a::b", "{c}", "a#b?c%20", "*", "s3:"])
def test_a_cache_is_copied_to_a_machine_from_any_path(name, tmp_path, monkeypatch):
    request = DataRequest("doodles", 20, classes=2, per_class=3)
    folder = prepare_data(request, cache_dir=tmp_path / name, progress=False)
    monkeypatch.setenv("TUNE_SKETCH_NODE_CACHE", str(tmp_path / "node"))
    assert stage_data(str(folder)).is_relative_to(tmp_path / "node")

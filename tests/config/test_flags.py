"""The command line: its flags are frozen, and what is wrong is said before anything starts."""

import dataclasses
import os
import re
import typing

import pytest

from tune_sketch.config.flags import (
    build_parser,
    given_choices,
    make_settings,
    read_models,
)
from tune_sketch.config.settings import FLAGS as SETTINGS_FLAGS
from tune_sketch.config.settings import Settings, resolve_choices
from tune_sketch.schedulers.rungs import default_grace_epochs
from tune_sketch.search import main

FLAGS = """address checkpoint-epochs class-from classes cpus-per-trial data download dry-run finalists frozen-views
gpu-hours gpus-per-trial grace-epochs group-by help image-px max-concurrent max-epochs max-failures min-gain
model name no-experience no-invert no-last-step num-samples passes per-class protocol reduction-factor resume
retraining-seeds retry-failed runs-dir seed skip-bad-images split-by splits storage strategy time-budget total-time
track warm-start weights"""
OLD_FLAGS = "confirm-seeds confirm-top"  # of version 0.1: they work, and --help does not show them


def test_flags_are_few_and_frozen():
    """A new flag is a promise to keep: change this list on purpose only."""
    flags = {flag for flag in build_parser()._option_string_actions if flag.startswith("--")}
    assert flags == {f"--{name}" for name in f"{FLAGS} {OLD_FLAGS}".split()}
    shown = build_parser().format_help()
    assert all(f"--{name}" in shown for name in FLAGS.split())
    assert not any(f"--{name}" in shown for name in OLD_FLAGS.split())


def test_every_setting_but_the_model_has_a_flag_and_help():
    assert [field.name for field in dataclasses.fields(Settings)] == ["model", *SETTINGS_FLAGS]
    assert all(flag.help for flag in SETTINGS_FLAGS.values())


def parse(*flags):
    arguments = build_parser().parse_args(flags)
    return make_settings(read_models(arguments.model)[0], given_choices(arguments))


def test_flags_reach_the_settings():
    flags = "--model resnet50 --classes cat dog --no-invert --time-budget 1.5h --gpus-per-trial 0.5"
    settings = parse(*flags.split())
    assert settings.classes == ("cat", "dog")
    assert settings.invert is False
    assert settings.time_budget_seconds == 5400
    assert settings.gpus_per_trial == 0.5
    assert parse("--model", "baseline", "--classes", "20").classes == 20
    assert read_models(["all"])[0] == "baseline"


def test_defaults_suit_the_data(tmp_path):
    assert parse("--model", "resnet50").max_epochs < 20
    folder = parse("--model", "baseline", "--data", str(tmp_path))
    assert (folder.image_px, folder.max_epochs, folder.grace_epochs) == (224, 80, 5)
    assert default_grace_epochs(3) == 1


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--modle resnet50", "did you mean '--model'"),
        ("--model resnet5", "did you mean 'resnet50'"),
        ("--model baseline all", "cannot be combined"),
        ("", "--model is needed"),
        ("--mod baseline", "unrecognized arguments: --mod"),
        ("--model baseline --data doodels", "did you mean 'doodles'"),
        ("--model baseline --data no/such/folder", "no/such/folder"),
        ("--model baseline --classes nonesuch cat", "nonesuch"),
        ("--model baseline --classes 1", "--classes must be at least 2, got 1"),
        ("--model baseline --grace-epochs 9 --max-epochs 3", "--grace-epochs must be at most --max-epochs: got 9 > 3"),
        ("--model baseline --num-samples 0", "--num-samples must be at least 1, got 0"),
        ("--model baseline --max-epochs 0", "--max-epochs must be at least 1, got 0"),
        ("--model baseline --reduction-factor 1", "--reduction-factor must be at least 2, got 1"),
        ("--model baseline --max-concurrent 0", "--max-concurrent must be at least 1, got 0"),
        ("--model baseline --cpus-per-trial -1", "--cpus-per-trial must be from 0.01 to 4096, got -1"),
        ("--model baseline --gpus-per-trial -1", "--gpus-per-trial must be 0, or from 0.01 to 4096, got -1"),
        ("--model baseline --gpus-per-trial 1.5", "--gpus-per-trial above 1 must be a whole number, got 1.5"),
        ("--model baseline --retraining-seeds 0", "--retraining-seeds must be at least 1, got 0"),
        ("--model baseline --confirm-seeds 0", "--retraining-seeds must be at least 1, got 0"),
        ("--model baseline --finalists -1", "--finalists must be at least 0, got -1"),
        ("--model baseline --finalist 1", "did you mean '--finalists'"),
        ("--model baseline --time-budget soon", "--time-budget"),
        ("--model baseline --total-time soon", "--total-time"),
        ("--model baseline --total-time 0s", "--total-time must be positive and finite, got 0"),
        ("--model baseline --total-time 1h --checkpoint-epochs 2", "--checkpoint-epochs must be 1, got 2"),
        ("--model baseline --gpu-hours 0", "--gpu-hours must be positive and finite, got 0"),
        ("--model baseline --min-gain 0.2%", "invalid float value"),
        ("--model baseline --min-gain 1", "--min-gain must be a fraction of at least 0 and under 1, got 1"),
        ("--model baseline --image-px 8", "--image-px must be at least 16, got 8"),
        ("--model baseline --strategy one-facter", "did you mean 'one-factor'"),
        ("--model baseline --passes 2", "--passes is only for --strategy one-factor"),
        ("--model baseline --strategy one-factor --passes 0", "--passes must be at least 1, got 0"),
        ("--model baseline --protocol mine", "--protocol must be one of standard, paper, small"),
        ("--model baseline --split-by day", "--split-by must be one of photo, file"),
        ("--model baseline --splits nonesuch.csv", "--splits must be a file with the columns image and split or class"),
        ("--model baseline --group-by cat --split-by file", "--group-by keeps drawings together, and --split-by file"),
        ("--model baseline --weights nonesuch.pt", "--weights must be one of auto, imagenet, none, a file or a run"),
        ("--model baseline --download", "--download is only for --data quickdraw"),
        ("--model baseline --name ../elsewhere", "--name must be one folder name"),
        ("--model baseline --name .hidden", "--name must be one folder name"),
        (
            "--model baseline --track mlfow",
            "--track must be one of mlflow, wandb, got 'mlfow' (did you mean 'mlflow'?)",
        ),
        ("--model baseline --seed -1", "--seed must be at least 0, got -1"),
        ("--model baseline --gpu-hours inf", "--gpu-hours must be positive and finite, got inf"),
        ("--model baseline --cpus-per-trial 1e-9", "--cpus-per-trial must be from 0.01 to 4096, got 1e-09"),
        ("--model baseline --classes ²", "--classes"),
        ("--model baseline --retry-failed", "--retry-failed is for a search that exists"),
        ("--resume nowhere", "nowhere is not a run directory"),
        ("--resume nowhere --model baseline", "--model cannot be given with --resume"),
    ],
)
def test_wrong_use_is_one_clear_line(flags, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    try:
        code = main(flags.split())
    except SystemExit as ending:
        code = ending.code
    output = capsys.readouterr()
    assert code == 2
    assert message in output.err
    assert "Traceback" not in output.err
    assert not (tmp_path / "runs").exists(), "no half-made run directory"


NUMBERS = [
    name
    for name, hint in typing.get_type_hints(Settings).items()
    if name in SETTINGS_FLAGS and re.search(r"\b(int|float)\b", str(hint))
]


@pytest.mark.parametrize("text", ["-1", "nan", "inf", "-inf", "1e300", "²", "1" + "0" * 400, "", "1e-9"])
@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_is_one_that_can_be_meant_or_refused_by_flag_rule_and_value(name, text, tmp_path, monkeypatch, capsys):
    """Never a traceback, an infinite number or one that no machine can do; and nothing is left behind."""
    monkeypatch.chdir(tmp_path)
    flag = SETTINGS_FLAGS[name].spelling(name)
    meant = {"1e-9": ("gpu_hours", "min_gain"), "1e300": ("gpu_hours",)}.get(text, ())
    if name in meant:
        assert getattr(parse("--model", "baseline", f"{flag}={text}"), name) == float(text)
        return
    try:
        code = main(["--model", "baseline", f"{flag}={text}", "--dry-run"])
    except SystemExit as ending:
        code = ending.code
    output = capsys.readouterr().err
    assert code == 2
    assert flag in output
    assert "Traceback" not in output
    assert len(output) < 2000
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "auto", "nowhere", "127.0.0.1:x", "a:999999"])
@pytest.mark.timeout(60)
def test_an_address_without_a_cluster_is_said_and_leaves_nothing_behind(address, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    assert main(["--model", "baseline", "--address", address]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: --address ")
    assert "token" not in error
    assert os.listdir(tmp_path) == []


def test_flags_and_values_of_version_0_1_still_work(capsys):
    old = "--model baseline --strategy rung-tpe --protocol study --confirm-top 4 --confirm-seeds 5"
    new = "--model baseline --strategy incumbent --protocol paper --finalists 4 --retraining-seeds 5"
    assert parse(*old.split()) == parse(*new.split())
    settings = parse(*old.split())
    assert (settings.strategy, settings.protocol) == ("incumbent", "paper")
    assert (settings.finalists, settings.retraining_seeds) == (4, 5)
    assert "note: --confirm-top is now called --finalists" in capsys.readouterr().err


def test_only_what_was_given_is_a_choice():
    arguments = build_parser().parse_args(["--resume", "runs/a", "--num-samples", "9", "--no-invert"])
    assert given_choices(arguments) == {"num_samples": 9, "invert": False}


def test_a_resume_names_data_weights_and_earlier_runs_as_the_search_did(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("sketches", "earlier"):
        (tmp_path / name).mkdir()
    (tmp_path / "earlier" / "search.json").touch()
    (tmp_path / "w.pt").touch()
    flags = "--model baseline --data sketches --weights w.pt --warm-start earlier earlier"
    choices = given_choices(build_parser().parse_args(flags.split()))
    settings, resolved = make_settings("baseline", choices), resolve_choices(choices)
    assert settings.data == resolved["data"] == str(tmp_path / "sketches")
    assert settings.weights == resolved["weights"] == str(tmp_path / "w.pt")
    assert settings.warm_start == (str(tmp_path / "earlier"),)
    assert set(resolved["warm_start"]) == set(settings.warm_start)
    assert resolve_choices({"data": "doodles", "seed": 3}) == {"data": "doodles", "seed": 3}


def test_one_factor_has_as_many_trials_as_its_passes_need():
    assert parse("--model", "baseline", "--strategy", "one-factor", "--passes", "2").num_samples == 40
    assert parse("--model", "baseline", "--strategy", "one-factor", "--num-samples", "7").num_samples == 7

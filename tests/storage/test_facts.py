"""search.json: what was written is read back, with its types, and what is wrong with it is named."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from tests.support.facts import make_facts, make_session
from tune_sketch.config.settings import Settings
from tune_sketch.data.splits import PROTOCOLS, SPLIT_BY
from tune_sketch.samplers import SAMPLERS
from tune_sketch.search_spaces import SPACES
from tune_sketch.storage.facts import EarlierTrial, GpuSharing, SkippedFile, read_facts, write_facts
from tune_sketch.storage.run_directory import RunDirectory

NUMBERS = st.floats(0.001, 1e6)


@st.composite
def valid_settings(draw):
    """Any settings that a search may have."""
    strategy = draw(st.sampled_from(list(SAMPLERS)))
    data = draw(st.sampled_from(["doodles", "quickdraw", "/data/sketches"]))
    max_epochs = draw(st.none() | st.integers(1, 500))
    names = st.text(min_size=1, max_size=8)
    choices = {
        "data": data,
        "strategy": strategy,
        "classes": draw(st.none() | st.integers(2, 300) | st.lists(names, min_size=2, max_size=4).map(tuple)),
        "per_class": draw(st.none() | st.integers(1, 1000)),
        "split_by": draw(st.sampled_from(list(SPLIT_BY))),
        "protocol": draw(st.none() | st.sampled_from(list(PROTOCOLS))),
        "image_px": draw(st.none() | st.integers(16, 512)),
        "invert": draw(st.booleans()),
        "skip_bad_images": draw(st.booleans()),
        "download": draw(st.booleans()) and data == "quickdraw",
        "weights": draw(st.sampled_from(["auto", "imagenet", "none", "/weights/ä.pt"])),
        "passes": draw(st.integers(1, 4)) if strategy == "one-factor" else 1,
        "warm_start": () if strategy == "one-factor" else tuple(draw(st.lists(names, max_size=2))),
        "num_samples": draw(st.none() | st.integers(1, 10_000)),
        "max_epochs": max_epochs,
        "grace_epochs": draw(st.none() | st.integers(1, max_epochs)) if max_epochs else None,
        "reduction_factor": draw(st.integers(2, 9)),
        "max_concurrent": draw(st.none() | st.integers(1, 99)),
        "cpus_per_trial": draw(st.none() | st.floats(0.01, 4096)),
        "gpus_per_trial": draw(st.none() | st.just(0.0) | st.floats(0.01, 1) | st.integers(1, 8)),
        "time_budget_seconds": draw(st.none() | NUMBERS),
        "total_time_seconds": draw(st.none() | NUMBERS),
        "gpu_hours": draw(st.none() | NUMBERS | st.integers(1, 9)),
        "min_gain": draw(st.none() | st.floats(0, 0.99)),
        "seed": draw(st.integers(0, 2**40)),
        "finalists": draw(st.none() | st.integers(0, 9)),
        "retraining_seeds": draw(st.none() | st.integers(1, 9)),
        "frozen_views": draw(st.integers(0, 9)),
        "checkpoint_epochs": draw(st.integers(1, 9)),
        "max_failures": draw(st.integers(0, 9)),
    }
    if choices["total_time_seconds"] is not None:
        choices["checkpoint_epochs"] = 1
    return Settings(draw(st.sampled_from(list(SPACES))), **choices)


@pytest.fixture
def run(tmp_path):
    run = RunDirectory(tmp_path)
    write_facts(run, make_facts())
    return run


def edit(run, change):
    """Change the values of search.json as an editor does."""
    values = json.loads(run.search_json.read_text())
    change(values)
    run.search_json.write_text(json.dumps(values))


@examples(max_examples=100, deadline=None)
@given(settings=valid_settings())
def test_any_settings_are_read_back_as_they_were(tmp_path_factory, settings):
    run = RunDirectory(tmp_path_factory.getbasetemp())
    write_facts(run, make_facts(settings))
    assert read_facts(run).settings == settings


def test_everything_else_is_read_back_too(run):
    sharing = GpuSharing(3, "", (1.0, 2.5), (1, 2), 128, ("accelerator_type:T4",), 8)
    facts = make_facts(
        storage="postgresql://me:***@host/db",
        warm_start=(EarlierTrial("earlier", 7, {"learning_rate": 0.1, "flip": True, "optimizer": "adam", "n": 3}, 9),),
        sessions=(make_session(1.5, gpu_sharing=sharing, address="auto", git_commit="abc"), make_session(2.0)),
    )
    facts = dataclasses.replace(
        facts, data=dataclasses.replace(facts.data, skipped=(SkippedFile("cat/ü.png", "truncated"),))
    )
    write_facts(run, facts)
    again = read_facts(run)
    assert again == facts
    assert again.warm_start[0].params["flip"] is True
    assert isinstance(again.warm_start[0].params["n"], int)
    assert again.data.num_classes == 2
    assert again.with_session(make_session(3.0)).sessions == (*facts.sessions, make_session(3.0))


@pytest.mark.parametrize(
    ("section", "name", "value", "message"),
    [
        ("settings", "seed", None, r"settings\.seed: .*got None"),
        ("settings", "num_samples", 2.5, r"settings\.num_samples: .*got 2\.5"),
        ("settings", "num_samples", "16", r"settings\.num_samples: .*got '16'"),
        ("settings", "invert", 1, r"settings\.invert: .*got 1"),
        ("settings", "seed", True, r"settings\.seed: .*got True"),
        ("settings", "num_sample", 3, r"settings\.num_sample: .*got 3"),
        ("settings", "classes", [1, 2], r"settings\.classes"),
        ("settings", "num_samples", 0, r"settings: --num-samples must be at least 1, got 0"),
        ("settings", "model", "resnet5", r"settings: --model must be one of .*got 'resnet5'"),
        ("data", "num_train", "many", r"data\.num_train: .*got 'many'"),
        ("data", "colour", "red", r"data\.colour: .*got 'red'"),
        ("weights", "pretrained", "no", r"weights\.pretrained: .*got 'no'"),
    ],
)
def test_a_wrong_value_is_named_with_the_file_and_its_place(run, section, name, value, message):
    edit(run, lambda values: values[section].update({name: value}))
    with pytest.raises(ValueError, match=r"search\.json is damaged: " + message):
        read_facts(run)


@pytest.mark.parametrize("section", ["settings", "data", "weights", "study_name"])
def test_a_missing_section_is_named(run, section):
    edit(run, lambda values: values.pop(section))
    with pytest.raises(ValueError, match=rf"search\.json is damaged: {section}: Field required"):
        read_facts(run)


def test_an_unknown_section_is_named(run):
    edit(run, lambda values: values.update(colour="red"))
    with pytest.raises(ValueError, match=r"search\.json is damaged: colour: .*got 'red'"):
        read_facts(run)


@pytest.mark.parametrize(
    "text", ["", "{", '{"format": 2', "[]", "3", "null", '"format"', "{}", '{"settings": {}}', "\xff"]
)
def test_what_is_no_such_json_is_named(run, text):
    run.search_json.write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=r"search\.json is damaged: ") as caught:
        read_facts(run)
    assert "\n" not in str(caught.value)


def test_a_newer_format_asks_for_a_newer_version(run):
    edit(run, lambda values: values.update(format=3))
    with pytest.raises(ValueError, match="its format is 3, this version reads 2: use a newer version"):
        read_facts(run)


def test_a_folder_that_is_no_run_directory_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"is not a run directory: it has no search\.json"):
        read_facts(RunDirectory(tmp_path))

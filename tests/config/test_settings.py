"""Settings that may change in a resumed search, and those that cannot; defaults that suit the data."""

import dataclasses

import pytest

from tune_sketch.config.settings import BUDGET_SAMPLES, BUDGETS, FLAGS, Settings, change_settings

OTHER = {  # a different value for each setting that cannot change
    "classes": 5,
    "per_class": 13,
    "split_by": "file",
    "group_by": "(.+)_",
    "class_from": "(.+)_",
    "protocol": "paper",
    "image_px": 48,
    "invert": False,
    "skip_bad_images": True,
    "download": True,
    "strategy": "random",
    "warm_start": ("runs/other",),
    "grace_epochs": 2,
    "reduction_factor": 4,
    "last_step": False,
    "experience": False,
    "frozen_views": 2,
    "seed": 1,
}
MAY_CHANGE = {
    "num_samples": 20,
    "passes": 1,
    "max_epochs": 27,
    "max_concurrent": 3,
    "cpus_per_trial": 2.0,
    "gpus_per_trial": 0.0,
    "time_budget_seconds": 60.0,
    "gpu_hours": 1.5,
    "min_gain": 0.01,
    "finalists": 4,
    "retraining_seeds": 5,
    "checkpoint_epochs": 3,
    "max_failures": 9,
    "track": ("mlflow",),
}
MAY_MOVE = ("data", "splits", "weights")  # their content decides, see test_resume.py
SETTINGS = Settings("baseline", num_samples=12, max_epochs=9, grace_epochs=1, classes=6, per_class=12)


def test_every_setting_either_may_change_or_is_fixed():
    """A new setting must be put on one side."""
    assert set(FLAGS) == set(OTHER) | set(MAY_CHANGE) | set(MAY_MOVE) | {"total_time_seconds"}  # see below
    assert {name for name, flag in FLAGS.items() if flag.on_resume == "content"} == set(MAY_MOVE)
    assert {name for name, flag in FLAGS.items() if flag.on_resume == "fixed"} == set(OTHER)
    changed = change_settings(SETTINGS, MAY_CHANGE)
    assert {name: getattr(changed, name) for name in MAY_CHANGE} == MAY_CHANGE
    assert dataclasses.replace(changed, **{name: getattr(SETTINGS, name) for name in MAY_CHANGE}) == SETTINGS


def test_the_total_time_may_change_where_each_epoch_is_kept():
    assert change_settings(SETTINGS, {"total_time_seconds": 90.0}).total_time_seconds == 90.0
    with pytest.raises(ValueError, match="--checkpoint-epochs must be 1, got 3"):
        change_settings(SETTINGS, {"total_time_seconds": 90.0, "checkpoint_epochs": 3})


@pytest.mark.parametrize("name", OTHER)
def test_what_cannot_change_is_refused_by_name(name):
    now = getattr(SETTINGS, name)
    assert change_settings(SETTINGS, {name: now}) == SETTINGS, "given again, as it is: fine"
    with pytest.raises(ValueError, match=f"--(no-)?{name.replace('_', '-')} \\(is .*got") as caught:
        change_settings(SETTINGS, {name: OTHER[name], "num_samples": 99})
    assert repr(now) in str(caught.value)
    assert repr(OTHER[name]) in str(caught.value)


def test_all_that_cannot_change_are_named_at_once():
    with pytest.raises(ValueError, match=r"--image-px .*--seed .*Start a new search"):
        change_settings(SETTINGS, {"image_px": 48, "seed": 7})


def test_the_old_name_of_a_value_is_the_same_value():
    assert change_settings(SETTINGS, {"strategy": "rung-tpe"}) == SETTINGS
    paper = dataclasses.replace(SETTINGS, protocol="paper")
    assert change_settings(paper, {"protocol": "study"}) == paper


def test_epochs_can_only_grow():
    with pytest.raises(ValueError, match="--max-epochs can only grow in a resumed search: is 9, got 8"):
        change_settings(SETTINGS, {"max_epochs": 8})
    assert change_settings(SETTINGS, {"max_epochs": 10}).max_epochs == 10
    assert change_settings(SETTINGS, {"max_epochs": 100}).grace_epochs == 1, "rungs stay where they are"


def test_a_change_is_checked_as_a_new_search_is():
    with pytest.raises(ValueError, match="--num-samples must be at least 1, got 0"):
        change_settings(SETTINGS, {"num_samples": 0})
    with pytest.raises(ValueError, match="--passes is only for --strategy one-factor"):
        change_settings(SETTINGS, {"passes": 2})


def test_more_passes_bring_the_trials_that_they_need():
    settings = Settings("baseline", strategy="one-factor")
    assert settings.num_samples == 20
    assert change_settings(settings, {"passes": 3}).num_samples == 60
    assert change_settings(settings, {"passes": 4, "num_samples": 61}).num_samples == 61
    many = dataclasses.replace(settings, num_samples=100)
    assert change_settings(many, {"passes": 2}).num_samples == 100


@pytest.mark.parametrize("name", BUDGETS)
def test_a_budget_ends_a_search_and_no_number_of_trials_does_unless_it_is_said(name):
    budget = {name: 60.0}
    for model, data in (("baseline", "doodles"), ("resnet50", "doodles"), ("resnet50", "drawings")):
        assert Settings(model, data=data).num_samples < BUDGET_SAMPLES
        assert Settings(model, data=data, **budget).num_samples == BUDGET_SAMPLES
    assert Settings("baseline", num_samples=7, **budget).num_samples == 7
    assert Settings("baseline", strategy="one-factor", **budget).num_samples == 20

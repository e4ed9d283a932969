"""Resuming and extending: what may change, and that a resumed search is the search it would have been."""

import dataclasses
import shutil
import signal
import time
from pathlib import Path

import pytest
from PIL import Image

from tests.support.fake_runs import begin_run
from tests.support.real_search import Search, output_of
from tests.support.recorded import check_complete, snapshot, untimed
from tune_sketch.config.settings import SearchSettings
from tune_sketch.storage.resume import FIXED, change_settings, check_data

OTHER = {  # a different value for each setting that cannot change
    "model": "resnet50",
    "data": "quickdraw",
    "classes": 5,
    "per_class": 13,
    "split_by": "file",
    "protocol": "study",
    "image_px": 48,
    "invert": False,
    "skip_bad_images": True,
    "download": True,
    "weights": "none",
    "strategy": "random",
    "warm_start": ("runs/other",),
    "grace_epochs": 2,
    "reduction_factor": 4,
    "frozen_views": 2,
    "seed": 1,
}


@pytest.fixture
def run(tmp_path):
    run, journal = begin_run(tmp_path / "run")
    journal.close()
    return run


@pytest.mark.parametrize("name", FIXED)
def test_what_cannot_change_is_refused_by_name(run, name):
    now = run.read_settings().to_json()[name]
    change_settings(run, {name: now})  # given again, as it is: fine
    before = run.search_json.read_text()
    with pytest.raises(ValueError, match=f"--{name.replace('_', '-')} \\(is .*got") as caught:
        change_settings(run, {name: OTHER[name], "num_samples": 99})
    assert repr(now) in str(caught.value)
    assert repr(OTHER[name]) in str(caught.value)
    assert run.search_json.read_text() == before, "nothing is changed by a refused command"


def test_all_that_cannot_change_are_named_at_once(run):
    with pytest.raises(ValueError, match=r"--image-px .*--seed .*Start a new search"):
        change_settings(run, {"image_px": 48, "seed": 7})


def test_every_setting_either_may_change_or_is_fixed(run):
    """A new setting must be put on one side."""
    may_change = {
        "num_samples": 20,
        "passes": 1,
        "max_epochs": 27,
        "max_concurrent": 3,
        "cpus_per_trial": 2.0,
        "gpus_per_trial": 0.0,
        "time_budget_seconds": 60.0,
        "gpu_hours": 1.5,
        "min_gain": 0.01,
        "confirm_top": 4,
        "confirm_seeds": 5,
        "checkpoint_epochs": 3,
        "max_failures": 9,
    }
    names = {field.name for field in dataclasses.fields(SearchSettings)}
    assert names == set(FIXED) | set(may_change)
    change_settings(run, may_change)
    now = run.read_settings().to_json()
    assert {name: now[name] for name in may_change} == may_change


def test_epochs_can_only_grow(run):
    with pytest.raises(ValueError, match="--max-epochs can only grow in a resumed search: is 9, got 8"):
        change_settings(run, {"max_epochs": 8})
    change_settings(run, {"max_epochs": 10})
    assert run.read_settings().max_epochs == 10


def draw_folder(folder: Path) -> Path:
    for label, name in enumerate(("cat", "dog")):
        (folder / name).mkdir(parents=True)
        for number in range(5):
            image = Image.new("L", (32, 32), 255)
            image.paste(0, (number, 4 + 8 * label, number + 12, 12 + 8 * label))
            image.save(folder / name / f"{number}.png")
    return folder


def test_changed_drawings_are_refused_and_a_lost_cache_is_made_again(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNE_SKETCH_CACHE", str(tmp_path / "cache"))
    drawings = draw_folder(tmp_path / "drawings")
    choices = {"data": str(drawings), "classes": None, "per_class": None}
    run, journal = begin_run(tmp_path / "run", **choices)
    journal.close()
    check_data(run)
    shutil.rmtree(tmp_path / "cache")
    check_data(run)  # decoded again
    assert Path(run.read_search()["data"]["cache"]).is_dir()

    shutil.rmtree(tmp_path / "cache")
    before = run.search_json.read_text()
    Image.linear_gradient("L").resize((32, 32)).save(drawings / "cat" / "0.png")
    with pytest.raises(ValueError, match="the drawings have changed since the search began"):
        check_data(run)
    assert run.search_json.read_text() == before


@pytest.fixture
def search(tmp_path):
    search = Search(tmp_path, {})
    yield search
    search.close()


@pytest.mark.real
@pytest.mark.timeout(600)
def test_an_interrupted_search_equals_an_uninterrupted_one(search, straight):
    interrupt_and_resume(search, straight.flags.split())
    assert untimed(search.run) == untimed(straight.run)
    check_complete(search.run)


@pytest.mark.real
@pytest.mark.timeout(600)
def test_a_finished_search_has_nothing_to_do_and_can_be_extended(search, straight):
    shutil.copytree(straight.run.path, search.run.path)
    resume_a_finished_one(search)
    extend(search)


def interrupt_and_resume(search: Search, flags: list[str]) -> None:
    """Ctrl-C, then SIGTERM, then Ctrl-C twice, each in the middle of the search; then let it finish."""
    process = search.start(*flags)
    search.wait_for_epochs(process, 5)
    search.interrupt(process, signal.SIGINT)
    text = search.finish(process, expected_code=130)
    assert "SIGINT: each training finishes its epoch and keeps a checkpoint" in text
    assert f"python -m tune_sketch.search --resume {search.run.path}" in text
    assert "Traceback" not in text
    before = snapshot(search.run)
    assert {record.status for record in before.values()} & {"waiting", "running"} <= {"waiting"}

    process = search.start()
    search.wait_for_epochs(process, sum(len(record.epochs) for record in before.values()) + 2)
    process.send_signal(signal.SIGTERM)  # as a machine does that is about to be taken away: to the search alone
    text = search.finish(process, expected_code=130)
    assert "SIGTERM: each training finishes its epoch and keeps a checkpoint" in text
    before = snapshot(search.run)

    process = search.start()
    search.wait_for_epochs(process, sum(len(record.epochs) for record in before.values()) + 2)
    search.interrupt(process)
    while "Once more leaves at once" not in output_of(process):  # two signals at one moment would be one
        time.sleep(0.02)
    search.interrupt(process)
    assert process.wait(timeout=10) == 130
    assert "left at once" in search.finish(process, expected_code=130)
    search.finish(search.start())


def resume_a_finished_one(search: Search) -> None:
    """Nothing is trained or tested again."""
    before, notes = snapshot(search.run), read_notes(search.run)
    search.finish(search.start())
    assert snapshot(search.run) == before
    assert read_notes(search.run) == notes
    check_complete(search.run)


def extend(search: Search) -> None:
    """More samples and more epochs: old trials stay, new ones run, new finalists are retrained and tested."""
    before = snapshot(search.run)
    refused = search.finish(search.start("--image-px", 48, "--num-samples", 12), expected_code=2)
    assert "--image-px (is 32, got 48)" in refused
    search.finish(search.start("--num-samples", 13, "--max-epochs", 18, "--confirm-top", 3, "--max-concurrent", 2))
    check_complete_with(search.run, num_trials=13, before=before)
    after = snapshot(search.run)
    assert {key: after[key] for key in before} == before
    new = [record for record in after.values() if record.key not in before]
    assert {record.number for record in new if not record.is_retraining} == {10, 11, 12}
    assert all(6 <= record.config["epochs"] <= 18 for record in new if not record.is_retraining)
    retrained = {record.number for record in new if record.is_retraining}
    assert len(retrained) >= 2
    assert all(record.test for record in new if record.is_retraining)
    readings = read_notes(search.run)["test_readings"]
    assert len(readings) == 2
    assert set(readings[0]["networks"]).isdisjoint(readings[1]["networks"])


def check_complete_with(run, num_trials, before):
    trials = [record for record in snapshot(run).values() if not record.is_retraining]
    assert len(trials) == num_trials
    assert not any(record.is_unfinished for record in snapshot(run).values())
    assert run.report_html.stat().st_mtime > max(record.ended_at for record in before.values())


def read_notes(run):
    journal = run.open_journal(read_only=True)
    notes = journal.notes()
    journal.close()
    return notes


def test_more_passes_bring_the_trials_that_they_need(tmp_path):
    run, journal = begin_run(tmp_path / "run", num_samples=20, strategy="one-factor")
    journal.close()
    change_settings(run, {"passes": 3})
    assert run.read_settings().num_samples == 60
    change_settings(run, {"passes": 4, "num_samples": 61})
    assert run.read_settings().num_samples == 61

"""Real searches that are interrupted, resumed and extended are the searches that they would have been."""

import shutil
import signal
import time

import pytest

from tests.support.real_search import Search, output_of
from tests.support.recorded import check_complete, snapshot, untimed
from tune_sketch.storage.reading import read_history

pytestmark = [pytest.mark.real, pytest.mark.parallel, pytest.mark.timeout(600)]


@pytest.fixture
def search(tmp_path):
    search = Search(tmp_path, {})
    yield search
    search.close()


def test_an_interrupted_search_equals_an_uninterrupted_one(search, straight):
    interrupt_and_resume(search, straight.flags.split())
    assert untimed(search.run) == untimed(straight.run)
    check_complete(search.run)


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
    assert {trial.status for trial in before.values()} & {"paused", "running"} <= {"paused"}

    process = search.start()
    search.wait_for_epochs(process, sum(len(trial.epochs) for trial in before.values()) + 2)
    process.send_signal(signal.SIGTERM)  # as a machine does that is about to be taken away: to the search alone
    text = search.finish(process, expected_code=130)
    assert "SIGTERM: each training finishes its epoch and keeps a checkpoint" in text
    before = snapshot(search.run)

    process = search.start()
    search.wait_for_epochs(process, sum(len(trial.epochs) for trial in before.values()) + 2)
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
    search.finish(search.start("--num-samples", 13, "--max-epochs", 18, "--finalists", 3, "--max-concurrent", 2))
    check_complete_with(search.run, num_trials=13, before=before)
    after = snapshot(search.run)
    assert {key: after[key] for key in before} == before
    new = [trial for trial in after.values() if trial.key not in before]
    assert {trial.number for trial in new if not trial.is_retraining} == {10, 11, 12}
    assert all(6 <= trial.config["epochs"] <= 18 for trial in new if not trial.is_retraining)
    retrained = {trial.number for trial in new if trial.is_retraining}
    assert len(retrained) >= 2
    assert all(trial.test for trial in new if trial.is_retraining)
    readings = read_notes(search.run)["test_readings"]
    assert len(readings) == 2
    assert set(readings[0]["networks"]).isdisjoint(readings[1]["networks"])


def check_complete_with(run, num_trials, before):
    trials = [trial for trial in snapshot(run).values() if not trial.is_retraining]
    assert len(trials) == num_trials
    assert not any(trial.is_unfinished for trial in snapshot(run).values())
    assert run.report_html.stat().st_mtime > max(trial.ended_at for trial in before.values())


def read_notes(run):
    return read_history(run).notes

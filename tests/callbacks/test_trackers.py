"""The optional trackers: unknown and missing ones are told at once, and a real MLflow and W&B hold every trial."""

import importlib.util
import re

import pytest

from tests.docs.pages import ROOT
from tests.support.fake_runs import add_trials, begin_run
from tests.support.in_process import InProcessBackend
from tests.support.whole_run import make_run
from tune_sketch.callbacks.trackers import TRACKERS, MlflowLog, check_installed, make_trackers
from tune_sketch.config.settings import Settings, resolve_paths
from tune_sketch.run import run_search
from tune_sketch.storage.reading import read_history
from tune_sketch.storage.resume import prepare_resume


def test_none_is_on_by_default(tmp_path):
    assert Settings("baseline").track == ()
    assert make_trackers((), tmp_path, []) == []


def test_a_missing_package_names_the_extra_before_anything_starts(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for name in ("mlflow", "wandb"):
        with pytest.raises(ValueError, match=rf"--track {name} needs .* pip install 'tune_sketch\[{name}\]'"):
            resolve_paths(Settings("baseline", track=(name,)))
    run, _ = begin_run(tmp_path / "run")
    before = run.search_json.read_bytes()
    with pytest.raises(ValueError, match="--track wandb needs"):
        prepare_resume(run, {"track": ("wandb",)})
    assert run.search_json.read_bytes() == before


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match="--track must be one of mlflow, wandb, got 'tensorbord'"):
        Settings("baseline", track=("mlflow", "tensorbord"))


@pytest.fixture
def ended(tmp_path):
    """(run, trials of which one failed and one runs)."""
    run, journal = begin_run(tmp_path / "run", num_samples=6)
    add_trials(run, journal, 6, failed=1, running=1)
    return run, journal.trials


def test_mlflow_has_every_ended_trial_once(ended):
    pytest.importorskip("mlflow", reason="the extra `mlflow` is not installed")
    run, trials = ended
    check_installed(["mlflow"])
    log = MlflowLog(run.path, trials[:2])
    for trial in trials[2:]:
        if not trial.is_unfinished:
            log.on_end(trial)
    log.client.create_run(log.experiment, run_name="trial 3")  # a kill came in between
    log = MlflowLog(run.path, trials)  # as after a resume
    written = log.client.search_runs([log.experiment])
    by_name = {found.info.run_name: found for found in written}
    assert len(by_name) == len(written) == 5
    for trial in trials:
        if trial.is_unfinished:
            assert f"trial {trial.number}" not in by_name
            continue
        found = by_name[f"trial {trial.number}"]
        assert found.data.params["learning_rate"] == str(trial.config["learning_rate"])
        assert found.info.status == ("FAILED" if trial.error else "FINISHED")
        history = log.client.get_metric_history(found.info.run_id, "val_top1") if trial.epochs else []
        assert [(m.step, m.value) for m in history] == [(e.number, e.val_top1) for e in trial.epochs]


def test_whatever_goes_wrong_in_a_tracker_is_an_error_that_a_search_outlives(ended, monkeypatch):
    """See `Recorder.tell`; the next session writes what is missing, as the test above shows."""
    pytest.importorskip("mlflow", reason="the extra `mlflow` is not installed")
    run, trials = ended
    log = MlflowLog(run.path, [])

    def fail(*arguments):
        raise RuntimeError("no such experiment")

    monkeypatch.setattr(log.client, "create_run", fail)
    with pytest.raises(OSError, match="--track mlflow: a trial cannot be written: no such experiment"):
        log.on_end(trials[0])


def test_a_search_writes_what_its_flag_asks_for(tmp_path, monkeypatch):
    """A whole search in this process: each trial with its epochs, and nothing of a tracker that was not asked for."""
    pytest.importorskip("mlflow", reason="the extra `mlflow` is not installed")
    monkeypatch.setattr("tune_sketch.analysis.report.write_report", lambda runs, path, *more: path.touch())
    run = make_run(tmp_path / "run", track=("mlflow",), num_samples=3, last_step=False)
    assert run_search(run, InProcessBackend())
    trials = read_history(run).trials
    log = MlflowLog(run.path, ())
    found = {one.info.run_name: one for one in log.client.search_runs([log.experiment])}
    assert set(found) == {f"trial {trial.number}" for trial in trials}
    assert len(found) == 3
    for trial in trials:
        one = found[f"trial {trial.number}"]
        values = [(m.step, m.value) for m in log.client.get_metric_history(one.info.run_id, "val_top1")]
        assert values == [(epoch.number, epoch.val_top1) for epoch in trial.epochs]
        assert values
    assert not (run.path / "wandb").exists()


def test_the_tests_above_are_not_skipped_where_changes_are_checked():
    """CI and `make install` install every tracker, and both lists of pins name it."""
    for file in (".ci/run", "Makefile"):
        asked = re.findall(r"(?:extras=|'\.\[)((?:\w+,)+\w+)", (ROOT / file).read_text())
        assert asked
        for extras in asked:
            assert set(TRACKERS) <= set(extras.split(",")), file
    for file in ("constraints.txt", "constraints-oldest.txt"):
        pinned = {line.split("==")[0] for line in (ROOT / file).read_text().splitlines()}
        assert {"mlflow-skinny", "wandb"} <= pinned, file

"""The optional trackers: unknown and missing ones are told at once, and a real MLflow and W&B hold every trial."""

import importlib.util

import pytest

from tests.support.fake_runs import add_trials, begin_run
from tune_sketch.callbacks.trackers import MlflowLog, check_installed, make_trackers
from tune_sketch.config.settings import Settings, resolve_paths
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

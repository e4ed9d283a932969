"""The contract of trackers: every ended trial once, whatever came in between, in the run's folder and nowhere else."""

import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer

from tests.support.fake_runs import add_trials, begin_run
from tune_sketch.callbacks.tensorboard import TensorBoardLog
from tune_sketch.callbacks.trackers import TRACKERS, check_installed, make_trackers

ROOT = Path(__file__).parents[2]


def read_mlflow(run):
    from mlflow.tracking import MlflowClient

    client = MlflowClient((run.path / "mlflow").absolute().as_uri())
    experiment = client.get_experiment_by_name(run.path.name).experiment_id
    return [
        (int(found.info.run_name.removeprefix("trial ")), found.info.status == "FAILED", top1_of(client, found))
        for found in client.search_runs([experiment])
    ]


def top1_of(client, found):
    if "val_top1" not in found.data.metrics:
        return []
    return [metric.value for metric in client.get_metric_history(found.info.run_id, "val_top1")]


def read_wandb(run):
    import wandb
    from wandb.proto.wandb_internal_pb2 import Record
    from wandb.sdk.internal.datastore import DataStore

    wandb.teardown()  # as at the end of a process: what is still on its way to the disk is written
    found = []
    for path in (run.path / "wandb").glob("offline-run-*/*.wandb"):
        store, values, failed = DataStore(), [], False
        store.open_for_scan(str(path))
        while (content := store.scan_data()) is not None:
            record = Record.FromString(content)
            values += [float(item.value_json) for item in record.history.item if names_of(item) == ["val_top1"]]
            failed = failed or record.exit.exit_code != 0
        found.append((int(path.stem.rpartition("trial-")[2]), failed, values))
    return found


def names_of(item):
    return list(item.nested_key) or [item.key]


def read_tensorboard(run):
    from tensorboard.plugins.hparams import metadata
    from tensorboard.plugins.hparams.api_pb2 import Status

    logs = EventMultiplexer()
    logs.AddRunsFromDirectory(str(run.tensorboard))
    logs.Reload()
    found = []
    for name in sorted(set(logs.Runs()) - {"."}):
        if ended(logs, name):
            content = logs.SummaryMetadata(name, "_hparams_/session_end_info").plugin_data.content
            failed = metadata.parse_session_end_info_plugin_data(content).status == Status.STATUS_FAILURE
            tags = logs.GetAccumulator(name).Tags()["scalars"]
            values = [e.value for e in logs.Scalars(name, "validation/top1")] if "validation/top1" in tags else []
            found.append((int(name.removeprefix("trial-")), failed, values))
    return found


def ended(logs, name):
    return "_hparams_/session_end_info" in logs.GetAccumulator(name).PluginTagToContent("hparams")


# How a tracker's own format is read: [(trial, whether it failed, validation top-1 of each epoch)] of the ended trials.
READERS = {"mlflow": read_mlflow, "wandb": read_wandb, "tensorboard": read_tensorboard}


def make(name, run, trials):
    """The tracker, as at the start of a session; skips where its package is missing."""
    if name == "tensorboard":
        return TensorBoardLog(run.tensorboard, trials)
    pytest.importorskip(TRACKERS[name].package, reason=f"the extra `{name}` is not installed")
    check_installed([name])
    [tracker] = make_trackers([name], run.path, trials)
    return tracker


@pytest.fixture(params=[*TRACKERS, "tensorboard"])
def name(request):
    return request.param


@pytest.fixture
def searched(tmp_path, monkeypatch):
    """(run, trials of which one failed and one runs), in a working folder that must stay empty."""
    run, journal = begin_run(tmp_path / "run", num_samples=6)
    add_trials(run, journal, 6, failed=1, running=1)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return run, journal.trials


def expected(trials):
    return [
        (trial.number, trial.status not in ("completed", "stopped"), [epoch.val_top1 for epoch in trial.epochs])
        for trial in trials
        if not trial.is_unfinished
    ]


def check(name, run, trials):
    read = sorted(READERS[name](run))
    assert [row[:2] for row in read] == [row[:2] for row in expected(trials)]
    for (_, _, values), (_, _, own) in zip(read, expected(trials), strict=True):
        assert values == pytest.approx(own)


def test_it_holds_every_ended_trial_of_an_earlier_session(name, searched):
    run, trials = searched
    make(name, run, trials)
    check(name, run, trials)


def test_it_holds_what_it_hears_and_a_resume_adds_only_what_is_missing(name, searched):
    run, trials = searched
    tracker = make(name, run, trials[:2])
    for trial in trials[2:4]:
        for epoch in range(1, len(trial.epochs) + 1):
            tracker.on_epoch(trial_at(trial, epoch))
        tracker.on_end(trial)
    make(name, run, trials)  # as after a kill: the last trials were recorded and not heard of
    make(name, run, trials)
    check(name, run, trials)


def trial_at(trial, epoch):
    """The trial as it was after an epoch."""
    return replace(trial, epochs=trial.epochs[:epoch], status="running", ended_at=None)


def test_it_writes_nothing_outside_the_run(name, searched):
    run, trials = searched
    make(name, run, trials)
    READERS[name](run)
    assert list(Path.cwd().iterdir()) == []
    assert [path.name for path in run.path.parent.iterdir() if path.name not in ("run", "work", "cache")] == []


def test_each_has_an_extra_of_its_name_and_is_not_imported_before_it_is_asked_for():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for name, tracker in TRACKERS.items():
        assert any(line.startswith(tracker.package) for line in extras[name])
        assert callable(tracker.on_epoch)
        assert callable(tracker.on_end)
    code = "import sys, tune_sketch.callbacks.trackers as t; print([n for n in t.TRACKERS if n in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert answer.stdout.strip() == "[]"

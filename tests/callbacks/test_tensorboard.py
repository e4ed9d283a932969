"""TensorBoard logs: every trial with its values, each point once, columns that grow, however trials end."""

import errno
from dataclasses import replace

import pytest
from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer
from tensorboard.plugins.hparams import metadata
from tensorboard.plugins.hparams.api_pb2 import Status

from tests.support.fake_runs import add_trials, begin_run
from tests.support.trials import make_epoch
from tune_sketch.callbacks import tensorboard
from tune_sketch.callbacks.tensorboard import TABLE_METRICS, TensorBoardLog


@pytest.fixture
def started(tmp_path):
    run, journal = begin_run(tmp_path / "run", num_samples=10)
    add_trials(run, journal, 8, failed=1, running=2)
    return run, journal


def read_logs(folder):
    multiplexer = EventMultiplexer()
    multiplexer.AddRunsFromDirectory(str(folder))
    multiplexer.Reload()
    return multiplexer


def read_columns(logs):
    content = logs.SummaryMetadata(".", "_hparams_/experiment").plugin_data.content
    return [info.name for info in metadata.parse_experiment_plugin_data(content).hparam_infos]


def test_every_trial_is_there_with_its_values(started):
    run, journal = started
    TensorBoardLog(run.tensorboard, journal.trials)
    logs = read_logs(run.tensorboard)
    for trial in journal.trials:
        name = f"trial-{trial.number:04d}"
        content = logs.SummaryMetadata(name, "_hparams_/session_start_info").plugin_data.content
        start = metadata.parse_session_start_info_plugin_data(content)
        assert start.group_name == f"trial {trial.number}"
        assert start.hparams["learning_rate"].number_value == trial.params["learning_rate"]
        assert start.hparams["optimizer"].string_value == trial.params["optimizer"]
        assert start.hparams["flip"].bool_value == trial.params["flip"]
        if trial.epochs:
            for tag, _ in TABLE_METRICS:
                assert [event.step for event in logs.Scalars(name, tag)] == list(range(1, len(trial.epochs) + 1))
            tops = [event.value for event in logs.Scalars(name, "validation/top1")]
            assert tops == pytest.approx([epoch.val_top1 for epoch in trial.epochs])
    assert set(read_columns(logs)) == {*journal.trials[0].params, "decay", "source"}, "a column for each sampled name"


def test_what_matters_most_is_among_the_five_columns_that_are_shown_at_first(started):
    run, journal = started
    TensorBoardLog(run.tensorboard, journal.trials)
    content = read_logs(run.tensorboard).SummaryMetadata(".", "_hparams_/experiment").plugin_data.content
    infos = metadata.parse_experiment_plugin_data(content).hparam_infos
    shown = sorted(infos, key=lambda info: (not info.differs, info.name))[:5]  # as TensorBoard sorts them
    assert {"optimizer", "learning_rate", "batch_size"} <= {info.name for info in shown}


def test_a_resumed_search_writes_no_point_twice(started):
    run, journal = started
    TensorBoardLog(run.tensorboard, journal.trials)
    log = TensorBoardLog(run.tensorboard, journal.trials)
    going_on = next(trial for trial in journal.trials if trial.is_unfinished)
    log.on_epoch(journal.record_epoch(going_on.key, make_epoch(2)))
    logs = read_logs(run.tensorboard)
    name = f"trial-{going_on.number:04d}"
    assert [event.step for event in logs.Scalars(name, "validation/top1")] == [1, 2]
    files = list((run.tensorboard / name).iterdir())
    assert len(files) == 1, "one file per trial"


def test_a_new_trial_is_in_the_table_after_its_first_epoch(started):
    run, journal = started
    log = TensorBoardLog(run.tensorboard, journal.trials)
    last = next(trial for trial in reversed(journal.trials) if trial.epochs)
    late = replace(last, key="trial-0099", number=99, params=last.params | {"momentum": 0.5})  # not seen before
    log.on_epoch(late)
    assert "momentum" in read_columns(read_logs(run.tensorboard))
    assert len(list(run.tensorboard.glob("events*"))) == 1, "one definition of the columns"


def test_what_could_not_be_written_is_there_when_there_is_room_again(started, monkeypatch):
    run, journal = started
    log = TensorBoardLog(run.tensorboard, journal.trials)
    first, second = (trial.key for trial in journal.trials if trial.is_unfinished)
    with monkeypatch.context() as full:
        full.setattr(tensorboard, "append_events", write_half)
        for number in (2, 3):
            with pytest.raises(OSError, match=f"log of {first} cannot be written: .*No space left"):
                log.on_epoch(journal.record_epoch(first, make_epoch(number)))
        with pytest.raises(OSError, match="No space left"):
            log.on_end(journal.end(second, "completed"))
    log.on_epoch(journal.record_epoch(first, make_epoch(4)))
    logs = read_logs(run.tensorboard)
    assert [event.step for event in logs.Scalars(first, "validation/top1")] == [1, 2, 3, 4]
    assert logs.SummaryMetadata(second, "_hparams_/session_end_info")
    assert not log.lost
    assert {len(list((run.tensorboard / key).iterdir())) for key in (first, second)} == {1}


def write_half(path, events):
    """As a disk that is full takes half of it."""
    path.write_bytes(path.read_bytes() + b"half" if path.exists() else b"")
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_trial_that_ends_is_closed_with_its_status(started):
    run, journal = started
    log = TensorBoardLog(run.tensorboard, journal.trials)
    going_on = [trial.key for trial in journal.trials if trial.is_unfinished]
    for key, status in zip(going_on, ("completed", "failed"), strict=True):
        log.on_end(journal.end(key, status))
    logs = read_logs(run.tensorboard)
    for key, expected in zip(going_on, (Status.STATUS_SUCCESS, Status.STATUS_FAILURE), strict=True):
        content = logs.SummaryMetadata(key, "_hparams_/session_end_info").plugin_data.content
        assert metadata.parse_session_end_info_plugin_data(content).status == expected

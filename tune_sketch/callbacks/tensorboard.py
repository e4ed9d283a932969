"""Writes TensorBoard logs as trials run: scalars per epoch, and HParams so that its views compare trials."""

import io
import re
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.plugins.hparams import metadata as hparams_metadata
from tensorboard.plugins.hparams.api_pb2 import DataType, Experiment, HParamInfo, MetricInfo, MetricName, Status
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo, SessionStartInfo
from tensorboard.summary.writer.record_writer import RecordWriter

from tune_sketch.events import Trial, Value

FILE_NAME = "events.out.tfevents"  # how TensorBoard knows its files
# tag in TensorBoard -> name among an epoch's metrics
SCALARS = {
    "validation/top1": "val_top1",
    "validation/top5": "val_top5",
    "validation/loss": "val_loss",
    "validation/balanced_accuracy": "val_balanced_accuracy",
    "validation/f1": "val_f1",
    "train/top1": "train_top1",
    "train/top5": "train_top5",
    "train/loss": "train_loss",
    "train/learning_rate": "learning_rate",
    "train/images_per_second": "images_per_second",
}
# What the HParams views show beside the sampled names, by its last value. (tag, title)
TABLE_METRICS = (
    ("validation/top1", "validation top-1"),
    ("validation/top5", "validation top-5"),
    ("validation/loss", "validation loss"),
    ("trial/epochs", "epochs trained"),
    ("trial/seconds", "seconds"),
)
# TensorBoard shows five columns until others are ticked: those said to differ, then the others, each by name.
SHOWN_FIRST = ("batch_size", "decay", "learning_rate", "optimizer", "weight_decay")


class TensorBoardLog:
    """One folder per trial below `folder`, written by the driver, who knows how each trial ended.

    At the start everything is written anew from the journal, so that no kill leaves a gap or a point twice. So is a
    trial whose file could not be written, at the next epoch of any trial: a full disk leaves no gap either.
    """

    def __init__(self, folder: Path, trials: Sequence[Trial]) -> None:
        """trials: the search's own, to which later ones are added."""
        self.folder, self.trials = folder, trials
        self.files: dict[int, Path] = {}  # by number of a trial
        self.lost: set[int] = set()  # numbers of trials whose files are to be written anew
        self.columns: set[str] = set()
        shutil.rmtree(folder, ignore_errors=True)
        for trial in trials:
            if trial.epochs or not trial.is_unfinished:
                self.write_whole(trial)

    def on_epoch(self, trial: Trial) -> None:
        """Write the newest epoch. The first one announces the trial's hyperparameters as well. Raises OSError."""
        self.write(trial, [epoch_event(trial, len(trial.epochs))])

    def on_end(self, trial: Trial) -> None:
        """Say how the trial ended. Raises OSError."""
        self.write(trial, [end_event(trial)])

    def write(self, trial: Trial, events: list[Event]) -> None:
        """Append to a trial's file, or write it anew with those of others where that failed before. Raises OSError."""
        try:
            if not self.lost:
                append_events(self.file_of(trial), events)
                return
            for number in sorted({*self.lost, trial.number}):
                self.write_whole(self.trials[number])
        except OSError as error:
            self.lost.add(trial.number)
            raise OSError(f"TensorBoard's log of {trial.key} cannot be written: {error}") from error

    def write_whole(self, trial: Trial) -> None:
        """Write all that is known of a trial. Raises OSError."""
        self.files.pop(trial.number, None)
        shutil.rmtree(self.folder_of(trial), ignore_errors=True)
        events = [epoch_event(trial, number) for number in range(1, len(trial.epochs) + 1)]
        append_events(self.file_of(trial), events if trial.is_unfinished else [*events, end_event(trial)])
        self.lost.discard(trial.number)

    def file_of(self, trial: Trial) -> Path:
        """The trial's file; a new one begins with the hyperparameters, so running trials are in the table too."""
        if trial.number not in self.files:
            self.announce_columns(trial)
            start = SessionStartInfo(
                group_name=f"trial {trial.number}", start_time_secs=trial.started_at, monitor_url=""
            )
            for name, value in shown_values(trial).items():
                if isinstance(value, bool):
                    start.hparams[name].bool_value = value
                elif isinstance(value, int | float):
                    start.hparams[name].number_value = value
                else:
                    start.hparams[name].string_value = str(value)
            event = plugin_event(trial.started_at, "session_start_info", session_start_info=start)
            self.files[trial.number] = begin_file(self.folder_of(trial), event)
        return self.files[trial.number]

    def folder_of(self, trial: Trial) -> Path:
        return self.folder / f"trial-{trial.number:04d}"

    def announce_columns(self, trial: Trial) -> None:
        """Tell TensorBoard the table's columns, again when a conditional name is seen for the first time."""
        columns = self.columns | set(shown_values(trial))
        if columns == self.columns:
            return
        experiment = Experiment(description="one row per trial; metrics are those of its last epoch")
        for name in sorted(columns):
            info = HParamInfo(name=name, display_name=name, type=type_of(name, trial), differs=name in SHOWN_FIRST)
            experiment.hparam_infos.append(info)
        for tag, title in TABLE_METRICS:
            experiment.metric_infos.append(MetricInfo(name=MetricName(group="", tag=tag), display_name=title))
        path = begin_file(self.folder, plugin_event(trial.started_at, "experiment", experiment=experiment))
        for old in self.folder.glob(f"{FILE_NAME}.*"):
            if old != path:
                old.unlink()  # TensorBoard shows the first definition it finds
        self.columns = columns


def begin_file(folder: Path, event: Event) -> Path:
    """A new file of TensorBoard's with its first event. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{FILE_NAME}.{time.time_ns()}"  # a server goes on in one that it knows by name
    append_events(path, [Event(wall_time=event.wall_time, file_version="brain.Event:2"), event])
    return path


def append_events(path: Path, events: Sequence[Event]) -> None:
    """Append events to a file, which is on disk then: TensorBoard's own writer has a thread for each file, whose errors
    come late and are printed with a traceback. Raises OSError."""
    records = io.BytesIO()
    writer = RecordWriter(records)
    for event in events:
        writer.write(event.SerializeToString())
    with open(path, "ab") as file:
        file.write(records.getvalue())


def epoch_event(trial: Trial, number: int) -> Event:
    """The scalars of one epoch, counted from 1."""
    recorded = trial.epochs[number - 1]
    values = [
        Summary.Value(tag=tag, simple_value=recorded.metrics[name])
        for tag, name in SCALARS.items()
        if name in recorded.metrics
    ]
    seconds = sum(past.seconds for past in trial.epochs[:number])
    values.append(Summary.Value(tag="trial/epochs", simple_value=float(number)))
    values.append(Summary.Value(tag="trial/seconds", simple_value=seconds))
    return Event(wall_time=recorded.recorded_at, step=number, summary=Summary(value=values))


def end_event(trial: Trial) -> Event:
    """Whether a trial succeeded, and when it ended."""
    status = Status.STATUS_SUCCESS if trial.status in ("completed", "stopped") else Status.STATUS_FAILURE
    end = SessionEndInfo(status=status, end_time_secs=trial.ended_at)
    return plugin_event(trial.ended_at or 0.0, "session_end_info", session_end_info=end)


def shown_values(trial: Trial) -> dict[str, Value]:
    """The sampled values, and where they came from."""
    values = dict(trial.params) | {"source": trial.source.kind}
    if "decay" in trial.config:  # 0 where none was sampled: a line through parallel coordinates needs every value
        values["decay"] = trial.config["decay"]
    return values


def type_of(name: str, trial: Trial) -> DataType:
    """HParams' data type of a column."""
    value = shown_values(trial).get(name, 0.0)
    if isinstance(value, bool):
        return DataType.DATA_TYPE_BOOL
    return DataType.DATA_TYPE_FLOAT64 if isinstance(value, int | float) else DataType.DATA_TYPE_STRING


def plugin_event(wall_time: float, kind: str, **content: Any) -> Event:
    """An event of the HParams plugin, as its own summary functions make them (without TensorFlow)."""
    assert re.fullmatch(r"experiment|session_start_info|session_end_info", kind)
    data = HParamsPluginData(version=hparams_metadata.PLUGIN_DATA_VERSION, **content)
    plugin = SummaryMetadata.PluginData(plugin_name=hparams_metadata.PLUGIN_NAME, content=data.SerializeToString())
    tag = f"_hparams_/{kind}"
    value = Summary.Value(tag=tag, metadata=SummaryMetadata(plugin_data=plugin), tensor=hparams_metadata.NULL_TENSOR)
    return Event(wall_time=wall_time, summary=Summary(value=[value]))

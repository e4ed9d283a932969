"""Writes TensorBoard logs as trials run: scalars per epoch, and HParams so that its views compare trials."""

import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.plugins.hparams import metadata as hparams_metadata
from tensorboard.plugins.hparams.api_pb2 import DataType, Experiment, HParamInfo, MetricInfo, MetricName, Status
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo, SessionStartInfo
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from tune_sketch.events import Trial, Value

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

    At the start everything is written anew from the journal, so that no kill leaves a gap or a point twice.
    """

    def __init__(self, folder: Path, trials: Sequence[Trial]) -> None:
        self.folder = folder
        self.writers: dict[str, EventFileWriter] = {}
        self.columns: set[str] = set()
        self.experiment_writer: EventFileWriter | None = None
        shutil.rmtree(folder, ignore_errors=True)
        for trial in trials:
            for epoch in range(1, len(trial.epochs) + 1):
                self.write_epoch(trial, epoch)
            if not trial.is_unfinished:
                self.on_end(trial)
        for writer in self.writers.values():
            writer.flush()

    def on_epoch(self, trial: Trial) -> None:
        """Write the newest epoch. The first one announces the trial's hyperparameters as well."""
        self.write_epoch(trial, len(trial.epochs))
        self.writers[trial.key].flush()

    def write_epoch(self, trial: Trial, epoch: int) -> None:
        writer = self.writer_of(trial)
        recorded = trial.epochs[epoch - 1]
        values = [
            Summary.Value(tag=tag, simple_value=recorded.metrics[name])
            for tag, name in SCALARS.items()
            if name in recorded.metrics
        ]
        seconds = sum(past.seconds for past in trial.epochs[:epoch])
        values.append(Summary.Value(tag="trial/epochs", simple_value=float(epoch)))
        values.append(Summary.Value(tag="trial/seconds", simple_value=seconds))
        writer.add_event(Event(wall_time=recorded.recorded_at, step=epoch, summary=Summary(value=values)))

    def on_end(self, trial: Trial) -> None:
        """Say how the trial ended, and close its file."""
        writer = self.writer_of(trial)
        status = Status.STATUS_SUCCESS if trial.status in ("completed", "stopped") else Status.STATUS_FAILURE
        end = SessionEndInfo(status=status, end_time_secs=trial.ended_at)
        writer.add_event(plugin_event(trial.ended_at or 0.0, "session_end_info", session_end_info=end))
        writer.close()
        del self.writers[trial.key]

    def writer_of(self, trial: Trial) -> EventFileWriter:
        """The trial's writer; a new one begins with the hyperparameters, so running trials are in the table too."""
        if trial.key not in self.writers:
            self.announce_columns(trial)
            writer = EventFileWriter(str(self.folder / f"trial-{trial.number:04d}"))
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
            writer.add_event(plugin_event(trial.started_at, "session_start_info", session_start_info=start))
            self.writers[trial.key] = writer
        return self.writers[trial.key]

    def announce_columns(self, trial: Trial) -> None:
        """Tell TensorBoard the table's columns, again when a conditional name is seen for the first time."""
        names = set(shown_values(trial))
        if names <= self.columns:
            return
        self.columns |= names
        experiment = Experiment(description="one row per trial; metrics are those of its last epoch")
        for name in sorted(self.columns):
            info = HParamInfo(name=name, display_name=name, type=type_of(name, trial), differs=name in SHOWN_FIRST)
            experiment.hparam_infos.append(info)
        for tag, title in TABLE_METRICS:
            experiment.metric_infos.append(MetricInfo(name=MetricName(group="", tag=tag), display_name=title))
        if self.experiment_writer is not None:
            self.experiment_writer.close()
            for old in self.folder.glob("events.out.tfevents.*"):
                old.unlink()  # TensorBoard shows the first definition it finds
        self.experiment_writer = EventFileWriter(str(self.folder))
        self.experiment_writer.add_event(plugin_event(trial.started_at, "experiment", experiment=experiment))
        self.experiment_writer.flush()


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

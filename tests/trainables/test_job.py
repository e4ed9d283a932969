"""A job's epochs as they are reported, resumed, ended and scored; and the shell that hands them to Ray."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.support.jobs import decode_doodles, make_job
from tests.support.small_training import CONFIG, without_times
from tune_sketch.data import open_data
from tune_sketch.data.splits import hash_splits, read_splits
from tune_sketch.events import EndingReport, EpochReport, HinderedReport, Job, NotWrittenReport, Worker
from tune_sketch.trainables import job as training
from tune_sketch.trainables.checkpoints import CheckpointNotWrittenError, checkpoint_files, read_newest_checkpoint
from tune_sketch.trainables.job import LocalWorker, keep_weights, score_on_test, start, time_epoch
from tune_sketch.trainables.networks.build import build_model
from tune_sketch.trainables.trial import SketchTrial

HERE = Worker("192.0.2.1", 0, "0 1")


@pytest.fixture(scope="module")
def decoded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return decode_doodles(tmp_path_factory.mktemp("decoded"))


def begin(job: Job) -> LocalWorker:
    worker = LocalWorker(HERE)
    worker.begin(job)
    return worker


def test_epochs_are_reported_and_written_as_often_as_asked(decoded: Path, tmp_path: Path) -> None:
    job = make_job(tmp_path, decoded, CONFIG | {"epochs": 5}, checkpoint_epochs=2)
    worker = begin(job)
    reports: list[Any] = [worker.step() for _ in range(3)]
    Path(job.stop_file).touch()
    reports += [worker.step()]
    Path(job.stop_file).unlink()
    reports += [worker.step()]
    assert [report.number for report in reports] == [1, 2, 3, 4, 5]
    assert [report.checkpoint_epoch for report in reports] == [0, 2, 2, 4, 5]
    assert {report.worker for report in reports} == {replace(HERE, process=os.getpid())}
    assert "epoch" not in reports[0].metrics
    assert {"val_top1", "val_loss", "epoch_seconds", "frozen_views"} <= reports[0].metrics.keys()
    assert reports[0].warning == ""


def test_a_stop_file_asks_for_a_checkpoint_after_every_epoch(decoded: Path, tmp_path: Path) -> None:
    job = make_job(tmp_path, decoded, CONFIG | {"epochs": 5}, checkpoint_epochs=5)
    Path(job.stop_file).touch()
    assert [begin(job).step().checkpoint_epoch] == [1]  # type: ignore[union-attr]


def test_a_resumed_job_reports_its_checkpoints_epoch_again(decoded: Path, tmp_path: Path) -> None:
    job = make_job(tmp_path, decoded, CONFIG | {"epochs": 4})
    whole = [metrics for metrics, _ in start(replace(job, checkpoints=str(tmp_path / "none")))[0]]
    worker = begin(job)
    for _ in range(2):
        worker.step()
    resumed: list[Any] = []
    worker = begin(job)
    for _ in range(3):
        resumed.append(worker.step())
    assert [report.number for report in resumed] == [2, 3, 4]
    assert [report.checkpoint_epoch for report in resumed] == [2, 3, 4]
    for report, expected in zip(resumed, whole[1:], strict=True):
        assert without_times({"epoch": report.number, **report.metrics}) == without_times(expected)


def test_a_damaged_checkpoint_is_a_warning_of_the_first_report(decoded: Path, tmp_path: Path) -> None:
    job = make_job(tmp_path, decoded, CONFIG)
    begin(job).step()
    checkpoint_files(Path(job.checkpoints))[0].write_bytes(b"")
    worker = begin(job)
    reports: list[Any] = [worker.step() for _ in range(2)]
    assert "passing over a damaged checkpoint" in reports[0].warning
    assert [report.number for report in reports] == [1, 2]
    assert reports[1].warning == ""


def test_a_checkpoint_holds_plain_values(decoded: Path, tmp_path: Path) -> None:
    job = make_job(tmp_path, decoded, CONFIG)
    begin(job).step()
    found = read_newest_checkpoint(Path(job.checkpoints))  # with weights_only
    assert found is not None
    assert list(found[1]) == ["key", "config", "metrics", "state"]
    assert (found[1]["key"], found[1]["config"]) == (job.key, CONFIG)


def test_a_checkpoint_of_another_training_is_passed_over(decoded: Path, tmp_path: Path) -> None:
    job = make_job(tmp_path, decoded, CONFIG)
    begin(job).step()
    report = begin(replace(job, key="trial-0001")).step()
    assert isinstance(report, EpochReport)
    assert report.number == 1, "it begins anew"
    assert "it belongs to trial-0000 with another configuration, not to trial-0001" in report.warning
    found = read_newest_checkpoint(Path(job.checkpoints))
    assert found is not None
    assert found[1]["key"] == "trial-0001"


@pytest.mark.parametrize(("num_recorded", "first"), [(4, 5), (3, 4), (0, 1), (None, 5)])
def test_the_journal_decides_which_checkpoints_count(
    decoded: Path, tmp_path: Path, num_recorded: int | None, first: int
) -> None:
    """As after the journal was put back from an older copy; one epoch ahead is a driver that died meanwhile."""
    job = make_job(tmp_path, decoded, CONFIG | {"epochs": 6})
    worker = begin(job)
    reports: list[Any] = [worker.step() for _ in range(5)]
    worker = begin(replace(job, num_recorded=num_recorded))
    again: list[Any] = [worker.step() for _ in range(6 - first)]
    assert [report.number for report in again] == list(range(first, 6))
    assert ("and the record of the search knows" in again[0].warning) == (first < 5)
    assert without_times(again[-1].metrics) == without_times(reports[-1].metrics), "the same training"
    if first == 1:
        assert [file.stem for file in checkpoint_files(Path(job.checkpoints))] == ["epoch_0005", "epoch_0004"]


def break_splits(job: Job) -> None:
    Path(job.splits).write_text("image,class\n")


def remove_splits(job: Job) -> None:
    Path(job.splits).unlink()


def swap_splits(job: Job) -> None:
    text = Path(job.splits).read_text()
    Path(job.splits).write_text(
        text.replace(",validation", ",x").replace(",test", ",validation").replace(",x", ",test")
    )


def empty_data(job: Job) -> None:
    (Path(job.data) / "labels.npy").write_bytes(b"")


def fill_weights(job: Job) -> None:
    Path(str(job.weights)).write_text("no weights")


@pytest.mark.parametrize("damage", [break_splits, remove_splits, swap_splits, empty_data, fill_weights])
def test_what_the_files_are_to_blame_for_is_no_failure_of_the_configuration(
    decoded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Job], None]
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    torch.save(build_model("baseline", 4).state_dict(), tmp_path / "weights.pt")
    shutil.copytree(decoded, tmp_path / "decoded")
    job = make_job(tmp_path, tmp_path / "decoded", CONFIG, weights=str(tmp_path / "weights.pt"))
    data = open_data(job.data)
    job = replace(job, splits_sha256=hash_splits(data, read_splits(job.splits, data)))
    assert isinstance(begin(job).step(), EpochReport)
    damage(job)
    report = begin(job).step()
    assert isinstance(report, HinderedReport)
    assert "InputsError: " in report.error.splitlines()[-1]


@pytest.mark.parametrize(
    "error",
    [
        OSError(5, "Input/output error"),
        MemoryError(),
        ModuleNotFoundError("No module named 'timm'"),
        torch.AcceleratorError("CUDA error"),
    ],
)
def test_what_the_machine_is_to_blame_for_is_no_failure_of_the_configuration(
    decoded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*arguments: object, **more: object) -> None:
        raise error

    monkeypatch.setattr("time.sleep", lambda seconds: None)
    monkeypatch.setattr(training, "fit", fail)
    assert isinstance(begin(make_job(tmp_path, decoded, CONFIG)).step(), HinderedReport)


@pytest.mark.parametrize(
    ("change", "status", "text"),
    [
        ({"optimizer": "sgd", "momentum": 0.0, "learning_rate": 1e12}, "diverged", "the loss is not finite in epoch 1"),
        ({"optimizer": "adm"}, "failed", "unknown optimizer 'adm'"),
    ],
)
def test_endings_are_reported(decoded: Path, tmp_path: Path, change: dict[str, Any], status: str, text: str) -> None:
    report = begin(make_job(tmp_path, decoded, CONFIG | change)).step()
    assert isinstance(report, EndingReport)
    assert report.status == status
    assert text in report.error
    assert report.error.startswith("Traceback") == (status == "failed")


def test_an_epoch_that_could_not_be_written_is_written_by_the_next_step(
    decoded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise CheckpointNotWrittenError("the disk is full, says the test")

    monkeypatch.setattr("time.sleep", lambda seconds: None)
    worker = begin(make_job(tmp_path, decoded, CONFIG))
    with monkeypatch.context() as patch:
        patch.setattr(training, "write_checkpoint", fail)
        assert [worker.step() for _ in range(2)] == [NotWrittenReport("the disk is full, says the test")] * 2
    reports: list[Any] = [worker.step() for _ in range(2)]
    assert [(report.number, report.checkpoint_epoch) for report in reports] == [(1, 1), (2, 2)]


def test_one_process_trains_one_job_after_another(decoded: Path, tmp_path: Path) -> None:
    trial = object.__new__(SketchTrial)
    jobs = []
    for key in ("trial-0000", "trial-0001"):
        (tmp_path / key).mkdir()
        jobs.append(make_job(tmp_path / key, decoded, CONFIG, key=key))
    trial.setup({"job": jobs[0]})
    report = trial.step()["report"]
    assert isinstance(report, EpochReport)
    assert report.worker.node
    assert trial.reset_config({"job": jobs[1]})
    again = trial.step()["report"]
    assert without_times(dict(again.metrics)) == without_times(dict(report.metrics))
    trial.cleanup()
    assert [len(checkpoint_files(Path(job.checkpoints))) for job in jobs] == [1, 1]


def test_an_epoch_is_timed_and_nothing_is_kept(decoded: Path, tmp_path: Path) -> None:
    job = make_job(tmp_path, decoded, CONFIG)
    assert time_epoch(job) > 0
    assert not Path(job.checkpoints).exists()
    with pytest.raises(ValueError, match="cannot be trained: ValueError: unknown optimizer 'adm'"):
        time_epoch(replace(job, config=CONFIG | {"optimizer": "adm"}))


def test_kept_weights_are_scored_on_the_test_split(decoded: Path, tmp_path: Path) -> None:
    job = make_job(tmp_path, decoded, CONFIG)
    with pytest.raises(ValueError, match="holds no checkpoint that can be read"):
        keep_weights(Path(job.checkpoints), tmp_path / "trial-0000.pt", "trial-0000")
    worker = begin(job)
    for _ in range(2):
        worker.step()
    keep_weights(Path(job.checkpoints), tmp_path / "trial-0000.pt", "trial-0000")
    scores = score_on_test(job, str(tmp_path / "trial-0000.pt"))
    result, probabilities = scores.result, scores.test
    data = open_data(decoded)
    test = read_splits(job.splits, data).test
    assert result.num_images == len(test)
    assert probabilities.shape == (len(test), 4)
    assert result.top1 == (probabilities.argmax(axis=1) == data.labels[test]).mean()
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    torch.save({}, tmp_path / "checkpoints" / "epoch_0002.pt")
    keep_weights(Path(job.checkpoints), tmp_path / "trial-0000.pt", "trial-0000")  # they are kept already


def test_the_driver_imports_the_shell_without_torch() -> None:
    code = """
import sys, pickle
from ray import cloudpickle
from tune_sketch.trainables import trial
for what in (trial.SketchTrial, trial.time_epoch, trial.score_on_test, trial.keep_weights, trial.measure_job):
    assert len(cloudpickle.dumps(what)) < 200, "by its name"
print("torch" in sys.modules)
"""
    root = Path(__file__).parents[2]
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert answer.stdout.strip() == "False"

"""A training in two processes: the same as in one, on parts of every batch, and ending when one of them does."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.support.processes import family
from tests.support.real_search import Search
from tests.support.recorded import snapshot
from tests.support.small_training import AUGMENTED, SmallDevice, build, drawings, without_times
from tune_sketch.events import EndingReport, EpochReport, NotWrittenReport, Worker
from tune_sketch.trainables.batches import TrainingSplits
from tune_sketch.trainables.speed import devices
from tune_sketch.trainables.speed.data_parallel import ProcessDiedError, Rank, StepReport, WorkerGroup
from tune_sketch.trainables.training import fit

pytestmark = pytest.mark.timeout(120)
SMOOTH = AUGMENTED | {"optimizer": "sgd", "momentum": 0.9, "label_smoothing": 0.1, "weight_decay": 1e-3, "epochs": 3}
SLOW = SMOOTH | {"learning_rate": 1e-4}  # for batch norm over few drawings


@pytest.mark.parametrize("fewest", [1, 2])
@pytest.mark.parametrize("num_processes", [1, 2, 3, 4])
def test_parts_are_a_partition(num_processes: int, fewest: int) -> None:
    for num_rows in range(1, 20):
        rows = np.arange(num_rows)
        parts = [rows[Rank(rank, num_processes).rows(num_rows, fewest)] for rank in range(num_processes)]
        assert np.concatenate(parts).tolist() == rows.tolist()
        sizes = [len(part) for part in parts if len(part)]
        assert max(sizes) - min(sizes) <= 1
        assert min(sizes) >= min(fewest, num_rows)


def make_splits(num_train: int) -> TrainingSplits:
    train = drawings(num_train)
    return TrainingSplits(train, drawings(7), num_classes=4, invert=True)


def build_exact(name: str) -> tuple[nn.Module, dict[str, Any]]:
    """A network that computes in float32 also where bfloat16 is faster, and its configuration."""
    config = SMOOTH if name == "baseline" else SLOW
    devices.cpu_multiplies_bfloat16 = lambda: False  # of this process, which is a worker's or of a test that undoes it
    return build(name, config), config


class SmallWorker:
    """A process of the tests' group: trains few drawings, or fails, or dies, as the job says."""

    def __init__(self, rank: Rank) -> None:
        torch.set_num_threads(1)
        self.rank = rank

    def begin(self, job: dict[str, Any]) -> None:
        self.job, self.num_steps, self.kept = job, 0, None
        state = torch.load(job["state"], weights_only=True) if "state" in job else None
        model, config = build_exact(job["model"])
        config = config | job.get("config", {})
        self.epochs = fit(model, make_splits(job["num_train"]), config, seed=5, state=state, rank=self.rank)

    def step(self) -> StepReport:
        self.num_steps += 1
        if self.kept is not None:
            report, self.kept = self.kept, None
            return report
        if self.num_steps == 2 and self.rank.index == 1:
            if self.job.get("end") == "failed":
                return EndingReport("failed", "process 1 alone")
            if self.job.get("end") == "raised":
                raise FileNotFoundError("no data here")
            if self.job.get("end") == "died":
                os.kill(os.getpid(), signal.SIGKILL)
        metrics, state = next(self.epochs)
        if "save" in self.job and self.rank.index == 0:
            torch.save(state, f"{self.job['save']}/{metrics['epoch']}.pt")
        values = torch.cat([value.float().flatten() for name, value in state["model"].items() if "num_" not in name])
        mean = self.rank.sum(values) / self.rank.num_processes
        measured = metrics | {"apart": (mean - values).abs().max().item()}
        report = EpochReport(int(metrics["epoch"]), measured, Worker("", os.getpid()), checkpoint_epoch=0)
        if self.job.get("end") == "full" and self.rank.index == 0 and self.num_steps == 2:
            self.kept = report
            return NotWrittenReport("the disk is full")
        return report

    def close(self) -> None: ...


@pytest.fixture(scope="module")
def group() -> Iterator[WorkerGroup]:
    group = WorkerGroup(2, SmallWorker)
    yield group
    group.close()


def train_together(group: WorkerGroup, num_steps: int, **job: Any) -> list[dict[str, Any]]:
    group.begin(job)
    reports = [group.step() for _ in range(num_steps)]
    assert max(report.metrics["apart"] for report in reports) == 0, "every process holds the same network"
    return [report.metrics for report in reports]


@pytest.mark.parametrize("num_train", [16, 19])  # 19: batches of 8, 8 and 3, which is two drawings and one
def test_two_processes_train_as_one(group: WorkerGroup, tmp_path: Path, num_train: int) -> None:
    together = train_together(group, 3, model="baseline", num_train=num_train, save=str(tmp_path))
    alone = list(fit(build_exact("baseline")[0], make_splits(num_train), SMOOTH, seed=5))
    for metrics, (expected, _) in zip(together, alone, strict=True):
        assert metrics["micro_batch"] == 4
        for name in ("train_loss", "train_top1", "val_loss", "val_top1", "learning_rate"):
            assert metrics[name] == pytest.approx(expected[name], rel=1e-4), name
    weights = torch.load(tmp_path / "3.pt", weights_only=True)["model"]
    for name, value in alone[-1][1]["model"].items():
        assert torch.allclose(weights[name], value, atol=1e-5), name


def test_two_processes_draw_the_same_balanced_sample(group: WorkerGroup) -> None:
    balanced = {"balanced_sampling": True}
    together = train_together(group, 3, model="baseline", num_train=21, config=balanced)
    alone = fit(build_exact("baseline")[0], make_splits(21), SMOOTH | balanced, seed=5)
    for metrics, (expected, _) in zip(together, alone, strict=True):
        for name in ("train_loss", "train_top1", "val_loss", "val_top1", "val_balanced_accuracy", "val_f1"):
            assert metrics[name] == pytest.approx(expected[name], rel=1e-4), name


def test_two_processes_average_as_one(group: WorkerGroup) -> None:
    recipe = {"averaging": True, "layer_rate_factor": 0.1, "warmup_steps": 2}
    together = train_together(group, 3, model="baseline", num_train=19, config=recipe)
    alone = fit(build_exact("baseline")[0], make_splits(19), SMOOTH | recipe, seed=5)
    for metrics, (expected, _) in zip(together, alone, strict=True):
        for name in ("train_loss", "train_top1", "val_loss", "val_top1", "raw_val_top1", "learning_rate"):
            assert metrics[name] == pytest.approx(expected[name], rel=1e-4), name


@pytest.mark.parametrize("num_train", [8, 11])
def test_batch_norm_sees_the_parts(group: WorkerGroup, tmp_path: Path, num_train: int) -> None:
    """As one process does that cuts its batches in two; of 3 drawings one process takes all."""
    (metrics,) = train_together(group, 1, model="densenet121", num_train=num_train, save=str(tmp_path))
    parts = SmallDevice(build_exact("densenet121")[0], 4)
    expected, _ = next(fit(parts, make_splits(num_train), SLOW, seed=5))
    whole, _ = next(fit(build_exact("densenet121")[0], make_splits(num_train), SLOW, seed=5))
    assert metrics["train_loss"] == pytest.approx(expected["train_loss"], rel=1e-4)
    assert metrics["train_loss"] != pytest.approx(whole["train_loss"], rel=1e-4), "the difference that is documented"
    if num_train == 8:  # batch norm over 3 drawings in maps of one pixel makes large numbers of rounding errors
        weights = torch.load(tmp_path / "1.pt", weights_only=True)["model"]
        for name, parameter in parts.network.named_parameters():
            assert torch.allclose(weights[name], parameter, atol=1e-5), name


def test_a_resumed_group_goes_on_bit_for_bit(group: WorkerGroup, tmp_path: Path) -> None:
    whole = train_together(group, 3, model="densenet121", num_train=16, save=str(tmp_path))
    resumed = train_together(group, 2, model="densenet121", num_train=16, state=str(tmp_path / "1.pt"))
    assert [without_times(metrics) for metrics in resumed] == [without_times(metrics) for metrics in whole[1:]]


def test_only_the_process_that_could_not_write_tries_again(group: WorkerGroup) -> None:
    group.begin({"model": "baseline", "num_train": 16, "end": "full"})
    reports = [group.step() for _ in range(4)]
    assert [type(report) for report in reports] == [EpochReport, NotWrittenReport, EpochReport, EpochReport]
    assert [report.number for report in reports if isinstance(report, EpochReport)] == [1, 2, 3]


def test_an_ending_of_one_process_ends_all(group: WorkerGroup) -> None:
    group.begin({"model": "baseline", "num_train": 16, "end": "failed"})
    assert isinstance(group.step(), EpochReport)
    processes = group.processes
    assert group.step() == EndingReport("failed", "process 1 alone")
    assert not any(process.is_alive() for process in processes)


def test_what_a_process_raises_is_raised(group: WorkerGroup) -> None:
    group.begin({"model": "baseline", "num_train": 16, "end": "raised"})
    group.step()
    with pytest.raises(FileNotFoundError, match="no data here"):
        group.step()
    assert group.processes == []


def test_a_dead_process_is_an_error_and_the_next_job_gets_new_ones(group: WorkerGroup) -> None:
    group.begin({"model": "baseline", "num_train": 16, "end": "died"})
    group.step()
    processes = group.processes
    with pytest.raises(ProcessDiedError, match="process 1 of 2 ended with code -9"):
        group.step()
    assert not any(process.is_alive() for process in processes)


@pytest.mark.real
@pytest.mark.parallel
@pytest.mark.timeout(600)
def test_a_search_with_two_gpus_for_each_trial_outlives_one_of_its_processes(tmp_path: Path) -> None:
    """Ray is told of two GPUs that are not there, so the processes train on the CPU."""
    search = Search(tmp_path, {"RAY_OVERRIDE_RESOURCES": '{"GPU": 2}'})
    try:
        process = search.start("--num-samples", 1, "--finalists", 0, "--gpus-per-trial", 2)
        search.wait_for_epochs(process, 2, timeout=200)
        workers = [relative for relative in family(process) if "spawn_main" in " ".join(relative.cmdline())]
        assert len(workers) == 2
        workers[1].kill()
        text = search.finish(process)
        assert "1 trial at once, each with 2 GPU" in text
        assert "it goes on from its checkpoint (retry 1 of 3)" in text
        assert not any(member.is_running() for member in workers)
        recorded = snapshot(search.run)
        assert [trial.status for trial in recorded.values()] == ["completed"] * 3, "trial, retraining, last step"
        epochs = recorded["trial-0000"].epochs
        assert [epoch.number for epoch in epochs] == list(range(1, 10))
        assert {epoch.metrics["micro_batch"] for epoch in epochs} == {29}, "half of 58 drawings, less than a batch"
    finally:
        search.close()

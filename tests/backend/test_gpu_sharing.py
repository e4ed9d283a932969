"""How many trials share a GPU: by measured rate and memory, where measuring is worth it; no machine here has one."""

import dataclasses
import time
from dataclasses import replace

import psutil
import pytest
import torch

import tune_sketch.backend.gpu_sharing
from tests.support.facts import make_facts, make_session
from tests.support.jobs import decode_doodles, make_job
from tests.support.small_training import CONFIG
from tune_sketch.backend.allocation import allocate_workers
from tune_sketch.backend.gpu_sharing import describe_sharing, measure_gpu_sharing
from tune_sketch.config.flags import make_settings
from tune_sketch.storage.facts import GpuSharing
from tune_sketch.storage.run_directory import RunDirectory
from tune_sketch.trainables.batches import RESIDENT_FRACTION, resident_limit_bytes
from tune_sketch.trainables.speed import devices
from tune_sketch.trainables.speed.throughput import (
    JobTrainings,
    Throughput,
    choose_trials_per_device,
    fit_into_memory,
    measure_packing,
)
from tune_sketch.trainables.trial import time_epoch

GIB = 2**30


def settings_of(**choices):
    return make_settings("baseline", {"weights": "none"} | choices)


class FakeTrainings:
    """A device on which one training's rate and memory are known."""

    def __init__(self, rates, memory):
        self.rates, self.memory, self.num_started = rates, memory, 0

    def start(self, num_trainings):
        if self.memory is not None:
            assert num_trainings * self.memory[0] <= self.memory[1], "out of memory"
        self.num_started = max(self.num_started, num_trainings)

    def images_per_second(self, num_trainings):
        assert num_trainings <= self.num_started
        return self.rates[num_trainings - 1]

    def memory_bytes(self):
        assert self.num_started == 1, "the memory of one"
        return self.memory


@pytest.mark.parametrize(
    ("rates", "memory", "most", "number", "num_measured"),
    [
        ([100, 190, 250, 255, 400], (GIB, 80 * GIB), 5, 3, 4),  # the fourth gains 2 %
        ([100, 90, 300], (GIB, 80 * GIB), 3, 1, 2),  # a saturated GPU
        ([100, 200, 300, 400], (5 * GIB, 16 * GIB), 4, 2, 2),  # 3 would need 15 of 14.4
        ([100, 200], (15 * GIB, 16 * GIB), 2, 1, 1),
        ([100, 200, 300], None, 2, 2, 2),
    ],
)
def test_trials_per_gpu_by_memory_and_rate(rates, memory, most, number, num_measured):
    seen = measure_packing(FakeTrainings(rates, memory), most)
    assert seen == Throughput(tuple(rates[:num_measured]), memory, number)


def test_choices():
    assert choose_trials_per_device([10.0]) == 1
    assert fit_into_memory((GIB, 10 * GIB), 16) == 9  # head-room
    assert fit_into_memory((20 * GIB, 10 * GIB), 16) == 1
    assert fit_into_memory(None, 16) == 16


def find(tmp_path, settings, num_train=20_000, sessions=()):
    facts = make_facts(settings, sessions=(*sessions, make_session(0.0)))
    data = dataclasses.replace(facts.data, num_train=num_train)
    return measure_gpu_sharing(RunDirectory(tmp_path), dataclasses.replace(facts, data=data))


def test_a_search_measures_where_it_is_worth_it(machines, monkeypatch, tmp_path):
    jobs = []

    def measure(job, most, cores):
        jobs.append((job, most, cores))
        return GpuSharing(3, images_per_second=(1.0, 2.0), memory_bytes=(GIB, 16 * GIB), batch_size=128)

    monkeypatch.setattr(tune_sketch.backend.gpu_sharing, "measure", measure)
    settings = settings_of(num_samples=50, max_epochs=80)
    machines((2, 0))
    assert find(tmp_path, settings) == GpuSharing(1, "no choice")
    machines((16, 2))
    assert find(tmp_path, settings_of(num_samples=2, max_epochs=80)).reason == "no choice", "one GPU each"
    assert find(tmp_path, settings_of(gpus_per_trial=1.0, num_samples=50)).reason == "no choice"
    assert "short search" in find(tmp_path, settings, num_train=100).reason
    for budget in ({"time_budget_seconds": 500.0}, {"total_time_seconds": 500.0}, {"gpu_hours": 0.1}):
        assert "short search" in find(tmp_path, settings_of(max_epochs=80, **budget)).reason
    assert jobs == []
    found = find(tmp_path, settings)
    assert found == GpuSharing(3, "", (1.0, 2.0), (GIB, 16 * GIB), 128, ("accelerator_type:T4",), 8)
    (job, most, cores), *_ = jobs
    assert (most, cores, job.num_threads, job.gpus) == (8, 8, 1, 1.0)
    assert (job.config["batch_size"], job.config["freeze"]) == (128, "none"), "what takes most memory"
    known = [make_session(0.0, gpu_sharing=found)]
    assert find(tmp_path, settings, sessions=known) == found
    assert len(jobs) == 1, "known from an earlier session"
    machines((16, 1))
    find(tmp_path, settings, sessions=known)
    assert len(jobs) == 2, "other machines"
    workers = allocate_workers(settings, 50, trials_per_gpu=found.trials_per_gpu)
    assert describe_sharing(found, workers) == (
        " (measured on one GPU, batches of 128: 1, 2 images/s for 1, 2, ... trials, 1.0 of 16.0 GiB for one)"
    )
    assert describe_sharing(GpuSharing(1, "no choice"), workers) == ""
    assert describe_sharing(GpuSharing(1, "measuring failed: x"), workers) == " (measuring failed: x)"
    assert describe_sharing(GpuSharing(1, "a short search"), replace(workers, gpus=0.0)) == ""


def test_a_trial_is_held_to_its_fraction_of_the_memory(monkeypatch):
    fractions = []
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device=None: (10 * GIB, 16 * GIB))
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", fractions.append)
    monkeypatch.setattr(devices, "default_device", lambda: "cuda")
    assert devices.device_of(1.0) == devices.device_of(2.0) == "cuda"
    assert fractions == []
    assert devices.device_of(0.0) == "cpu"
    assert devices.device_of(0.25) == "cuda"
    (fraction,) = fractions
    assert 4 * (fraction * 16 * GIB + devices.CUDA_CONTEXT_BYTES) == pytest.approx(16 * GIB), "four fit"
    monkeypatch.setattr(torch.cuda, "get_per_process_memory_fraction", lambda: fraction)
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda: GIB)
    limit = resident_limit_bytes(torch.device("cuda"))
    assert limit == int((int(fraction * 16 * GIB - GIB)) * RESIDENT_FRACTION), "drawings beside its own network alone"


@pytest.fixture
def job(tmp_path):
    return make_job(tmp_path, decode_doodles(tmp_path / "cache"), CONFIG)


def test_a_dry_run_times_an_epoch_or_says_why_it_cannot(job):
    assert time_epoch(job) > 0
    with pytest.raises(ValueError, match="cannot be trained: ValueError: unknown optimizer 'adm'"):
        time_epoch(replace(job, config=job.config | {"optimizer": "adm"}))


@pytest.mark.slow
def test_a_trial_of_one_thread_uses_one_core(job):
    with JobTrainings(job, seconds=1.0) as trainings:
        trainings.start(1)
        process = psutil.Process(trainings.members[0].process.pid)
        used, started = sum(process.cpu_times()[:2]), time.monotonic()
        assert trainings.images_per_second(1) > 0
        assert (sum(process.cpu_times()[:2]) - used) / (time.monotonic() - started) < 1.3
        trainings.members[0].process.kill()
        with pytest.raises(RuntimeError, match="a training ended with code -9 while it was measured"):
            trainings.images_per_second(1)

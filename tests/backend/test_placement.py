"""Which cores, threads and GPUs a trial gets, and how many trials share a GPU; no machine here has one."""

import time
from dataclasses import replace

import psutil
import pytest
import torch
import tune_sketch.backend.execution
from tune_sketch.backend.execution import count_on_gpus, place

import tune_sketch.backend.gpu_sharing
from benchmarks.packing import make_job
from tune_sketch.backend.gpu_sharing import find_trials_per_gpu, placement_text
from tune_sketch.config.flags import make_settings
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


@pytest.fixture
def machines(monkeypatch):
    """Give Ray machines by their cores and GPUs."""

    def have(*pairs):
        rows = [{"CPU": float(cpus), "GPU": float(gpus), "accelerator_type:T4": 1.0} for cpus, gpus in pairs]
        for module in (tune_sketch.backend.execution, tune_sketch.backend.gpu_sharing):
            monkeypatch.setattr(module, "list_machines", lambda: rows)

    return have


def settings_of(**choices):
    return make_settings("baseline", {"weights": "none"} | choices)


@pytest.mark.parametrize(
    ("have", "num_trainings", "choices", "expected"),
    [
        ([(2, 0)], 8, {}, (2, 1, 0)),  # trials beside each other rather than threads
        ([(2, 0)], 1, {}, (1, 2, 0)),  # but no core is left idle
        ([(2, 0)], 8, {"max_concurrent": 1}, (1, 2, 0)),
        ([(2, 0)], 8, {"max_concurrent": 1, "cpus_per_trial": 1.0}, (1, 1, 0)),
        ([(16, 0)], 6, {}, (6, 2, 0)),
        ([(64, 0)], 1, {}, (1, 8, 0)),
        ([(0, 0), (4, 0), (4, 0)], 3, {}, (3, 2, 0)),
        ([(16, 1)], 50, {}, (3, 5, 0.3333)),
        ([(16, 2)], 50, {}, (6, 2, 0.3333)),
        ([(16, 2)], 2, {}, (2, 8, 1)),  # each has a GPU of its own
        ([(16, 2)], 3, {}, (3, 4, 0.5)),
        ([(16, 2)], 50, {"gpus_per_trial": 0.4}, (4, 3, 0.4)),
        ([(16, 4)], 50, {"gpus_per_trial": 2.0}, (2, 8, 2)),
        ([(16, 4)], 50, {"gpus_per_trial": 0.0}, (16, 1, 0)),
    ],
)
def test_placement(machines, have, num_trainings, choices, expected):
    machines(*have)
    workers = place(settings_of(**choices), num_trainings, trials_per_gpu=3)
    at_once = min(workers.num_workers, num_trainings)
    assert (at_once, workers.num_threads, workers.gpus) == expected
    assert at_once * workers.num_threads <= sum(cpus for cpus, _ in have), "no core has two threads"


def test_two_gpus_must_be_on_one_machine(machines):
    machines((8, 1), (8, 1))
    with pytest.raises(ValueError, match=r"2 GPUs, the largest machine has 8 CPUs and 1 GPUs"):
        place(settings_of(gpus_per_trial=2.0), 8)


@pytest.mark.parametrize("number", range(1, 12))
def test_a_fraction_fits_as_often_as_it_was_meant(number):
    assert count_on_gpus(2.0, 10_000 // number / 10_000) == 2 * number


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


def find(tmp_path, settings, num_train=20_000, earlier=()):
    search = {
        "data": {"num_train": num_train, "cache": "", "published": ""},
        "weights": {"pretrained": False, "path": None},
        "sittings": [*earlier, {}],
    }
    return find_trials_per_gpu(RunDirectory(tmp_path), search, settings)


def test_a_search_measures_where_it_is_worth_it(machines, monkeypatch, tmp_path):
    jobs = []

    def measure(job, most, cores):
        jobs.append((job, most, cores))
        return {
            "trials_per_gpu": 3,
            "images_per_second": [1.0, 2.0],
            "memory_bytes": (GIB, 16 * GIB),
            "batch_size": 128,
        }

    monkeypatch.setattr(tune_sketch.backend.gpu_sharing, "measure", measure)
    settings = settings_of(num_samples=50, max_epochs=80)
    machines((2, 0))
    assert find(tmp_path, settings) == {"trials_per_gpu": 1, "reason": "no choice"}
    machines((16, 2))
    assert find(tmp_path, settings_of(num_samples=2, max_epochs=80))["reason"] == "no choice", "one GPU each"
    assert find(tmp_path, settings_of(gpus_per_trial=1.0, num_samples=50))["reason"] == "no choice"
    assert "short search" in find(tmp_path, settings, num_train=100)["reason"]
    assert jobs == []
    found = find(tmp_path, settings)
    assert found["trials_per_gpu"] == 3
    (job, most, cores), *_ = jobs
    assert (most, cores, job["num_threads"], job["gpus"]) == (8, 8, 1, 1.0)
    assert (job["config"]["batch_size"], job["config"]["freeze"]) == (128, "none"), "what takes most memory"
    assert find(tmp_path, settings, earlier=[{"packing": found}]) == found
    assert len(jobs) == 1, "known from an earlier sitting"
    machines((16, 1))
    find(tmp_path, settings, earlier=[{"packing": found}])
    assert len(jobs) == 2
    workers = place(settings, 50, trials_per_gpu=found["trials_per_gpu"])
    assert placement_text(workers, found) == (
        "3 trials at once, each with 0.333 GPU and 5 threads (measured on one GPU, batches of 128: 1, 2 images/s for "
        "1, 2, ... trials, 1.0 of 16.0 GiB for one)"
    )


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


def test_a_dry_run_times_an_epoch_or_says_why_it_cannot():
    job = make_job("baseline", 32, num_threads=1)
    assert time_epoch(job) > 0
    with pytest.raises(ValueError, match="cannot be trained: ValueError: unknown optimizer 'adm'"):
        time_epoch(replace(job, config=job.config | {"optimizer": "adm"}))


@pytest.mark.slow
def test_a_trial_of_one_thread_uses_one_core():
    with JobTrainings(make_job("baseline", 32, num_threads=1), seconds=1.0) as trainings:
        trainings.start(1)
        process = psutil.Process(trainings.members[0].process.pid)
        used, started = sum(process.cpu_times()[:2]), time.monotonic()
        assert trainings.images_per_second(1) > 0
        assert (sum(process.cpu_times()[:2]) - used) / (time.monotonic() - started) < 1.3
        trainings.members[0].process.kill()
        with pytest.raises(RuntimeError, match="a training ended with code -9 while it was measured"):
            trainings.images_per_second(1)

"""Measures how many trainings should share a device, by its memory and by their drawings per second all together.

Gain: on two CPU cores two trainings of one thread train 1.06 to 1.48 times as many drawings per second as one with two
threads (benchmarks/results/packing-cpu.md). Not measured on a GPU, where a search uses this.
"""

import multiprocessing
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from tune_sketch.events import Job
from tune_sketch.trainables.augmentation import augment, draw_for_batches
from tune_sketch.trainables.averaging import average_weights
from tune_sketch.trainables.batches import BatchSource, shuffled_batches
from tune_sketch.trainables.evaluation import to_unit
from tune_sketch.trainables.job import open_job
from tune_sketch.trainables.networks.freezing import set_training_mode
from tune_sketch.trainables.optimizer import build_optimizer
from tune_sketch.trainables.speed.data_parallel import end_with_parent
from tune_sketch.trainables.speed.devices import move_to_device
from tune_sketch.trainables.training import accumulate_gradients, seed_epoch

FEWEST_STEPS = 3  # of each training in a measurement
STEPS_AHEAD = 4  # that a GPU may have to do while the next is prepared, as in a training, which does not wait for it
HEADROOM = 0.9  # of the device's memory: peaks differ between configurations
LEAST_GAIN = 1.05  # by one more training: less is not worth trials that each take longer


class Trainings(Protocol):
    """Trainings on one device that run on demand: real ones, or those of a test."""

    def start(self, num_trainings: int) -> None:
        """Make that many ready to run."""

    def images_per_second(self, num_trainings: int) -> float:
        """Drawings per second of the first `num_trainings`, side by side, all together."""

    def memory_bytes(self) -> tuple[int, int] | None:
        """(bytes in use with all that were started, bytes of the device), or None where that is not known."""


@dataclass(frozen=True)
class Throughput:
    """The measured speed of trainings beside each other, and how many to run."""

    images_per_second: tuple[float, ...]  # of 1, 2, ... trainings, all together
    memory_bytes: tuple[int, int] | None  # of one training, of the device
    trials_per_device: int


def measure_packing(trainings: Trainings, most: int) -> Throughput:
    """Start one training, then one more beside it, and so on, while memory holds them and they gain by it.

    Returns images_per_second of 1, 2, ... trainings all together, memory_bytes of one and of the device (or None), and
    trials_per_device: how many to run.
    """
    trainings.start(1)
    rates = [trainings.images_per_second(1)]
    memory = trainings.memory_bytes()
    most = min(most, fit_into_memory(memory, most))
    if most > 1:
        trainings.start(most)
    while len(rates) < most and choose_trials_per_device(rates) == len(rates):
        rates.append(trainings.images_per_second(len(rates) + 1))
    return Throughput(tuple(rates), memory, choose_trials_per_device(rates))


def fit_into_memory(memory: tuple[int, int] | None, most: int) -> int:
    """The number of trainings that the device's memory holds, at least one, of (bytes of one, bytes of the device)."""
    if memory is None:
        return most
    bytes_of_one, bytes_of_device = memory
    return max(1, int(HEADROOM * bytes_of_device // bytes_of_one))


def choose_trials_per_device(images_per_second: list[float]) -> int:
    """The number from which one more training no longer gains, from the rates of 1, 2, ... all together."""
    number = 1
    while number < len(images_per_second) and images_per_second[number] >= LEAST_GAIN * images_per_second[number - 1]:
        number += 1
    return number


class JobTrainings:
    """Processes of this machine that train a job for ever, on demand, without validation or checkpoints."""

    def __init__(self, job: Job, seconds: float = 2.0) -> None:
        self.job, self.seconds = job, seconds
        self.context = multiprocessing.get_context("spawn")
        self.members: list[Member] = []

    def __enter__(self) -> "JobTrainings":
        return self

    def __exit__(self, *error: object) -> None:
        for member in self.members:
            member.process.kill()
            member.process.join()

    def start(self, num_trainings: int) -> None:
        self.members += [Member(self.context, self.job) for _ in range(num_trainings - len(self.members))]
        for member in self.members:
            member.wait_for(1)  # after the first step all memory is taken and kernels are chosen

    def images_per_second(self, num_trainings: int) -> float:
        running = self.members[:num_trainings]
        for member in running:
            member.running.set()
        for member in running:  # the step in which it was let run is not counted
            member.wait_for(member.read()[0] + 1)
        first = [member.read() for member in running]
        time.sleep(self.seconds)
        for member, (num_steps, _, _) in zip(running, first, strict=True):
            member.wait_for(num_steps + FEWEST_STEPS)
        last = [member.read() for member in running]
        for member in running:
            member.running.clear()
        return sum(
            (images - images_before) / (at - at_before)
            for (_, images, at), (_, images_before, at_before) in zip(last, first, strict=True)
        )

    def memory_bytes(self) -> tuple[int, int] | None:
        used, of_device = (max(member.memory[i] for member in self.members) for i in (0, 1))
        return (used, of_device) if of_device else None


def measure_job(job: Job, most: int) -> Throughput:
    """`measure_packing` with a job on the device that this process was given."""
    with JobTrainings(job) as trainings:
        return measure_packing(trainings, most)


class Member:
    """One process of JobTrainings, with the progress and memory that it reports."""

    def __init__(self, context: Any, job: Job) -> None:
        self.running = context.Event()
        self.progress = context.Array("d", 3)  # steps, images, time of the last step
        self.memory = context.Array("q", 2)  # bytes in use on the device, bytes of the device
        self.process = context.Process(
            target=train_for_ever, args=(job, self.running, self.progress, self.memory), daemon=True
        )
        self.process.start()

    def read(self) -> list[float]:
        with self.progress.get_lock():
            return list(self.progress)

    def wait_for(self, num_steps: float) -> None:
        """Wait until the process has done `num_steps` steps. Raises RuntimeError when it is gone."""
        while self.read()[0] < num_steps:
            if not self.process.is_alive():
                raise RuntimeError(f"a training ended with code {self.process.exitcode} while it was measured")
            time.sleep(0.005)


def train_for_ever(job: Job, running: Any, progress: Any, memory: Any) -> None:
    """Train a job step by step, the first one at once and each further one only while `running` is set."""
    threading.Thread(target=end_with_parent, daemon=True).start()
    ahead: deque[torch.cuda.Event] = deque()
    for number, num_images in enumerate(train_steps(job)):
        if torch.cuda.is_available():
            if number < FEWEST_STEPS:  # afterwards all memory is taken
                torch.cuda.synchronize()
                free_bytes, memory[1] = torch.cuda.mem_get_info()
                memory[0] = max(memory[0], memory[1] - free_bytes)
            ahead.append(torch.cuda.Event())  # type: ignore[no-untyped-call]
            ahead[-1].record()
            if len(ahead) > STEPS_AHEAD:
                ahead.popleft().synchronize()
        with progress.get_lock():
            progress[:] = [progress[0] + 1, progress[1] + num_images, time.monotonic()]
        running.wait()


def train_steps(job: Job) -> Iterator[int]:
    """The steps of `fit` without the rest of an epoch; yields the number of drawings of each."""
    model, splits, name = open_job(job)
    device = torch.device(name)
    config: Mapping[str, Any] = job.config
    move_to_device(model, device)
    set_training_mode(model)
    optimizer = build_optimizer(model, config, device)
    averaged = average_weights(model) if config["averaging"] else None
    train = BatchSource(splits.train, device)
    micro_batch, epoch = config["batch_size"], 0
    while True:
        epoch += 1
        generator = seed_epoch(job.seed, epoch)
        batches = shuffled_batches(len(splits.train), config["batch_size"], generator)
        changes = draw_for_batches(model, batches, config, generator, device)
        for (images, labels), change in zip(train.iterate(batches), changes, strict=True):
            inputs = augment(to_unit(images), change, splits.invert)
            _, micro_batch = accumulate_gradients(
                model, inputs, labels, len(labels), config["label_smoothing"], job.pretrained, micro_batch
            )
            optimizer.step()
            optimizer.zero_grad()
            if averaged is not None:
                averaged.update()
            yield len(labels)

"""Trains one network on several devices of one machine, with a process for each.

Gain: not measured. No machine with several GPUs was to be had; the tests run it on CPUs.
"""

import datetime
import multiprocessing
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn

from tune_sketch.events import EndingReport, EpochReport, HinderedReport, Job, NotWrittenReport

JOINING_SECONDS = 600  # the longest that one process waits for another's numbers
PATIENCE_SECONDS = 5.0  # for the other processes' reports, once one of them has reported an ending
DEATH_SECONDS = 1.0  # for a death to show, once another process has reported an error that may come of it


class ProcessDiedError(RuntimeError):
    """A process of a training is gone: what a retry can mend."""


@dataclass(frozen=True)
class Rank:
    """The part of every batch that one process trains, and how its sums are joined with those of the others.

    Every process draws the same batches with the same changes and trains its rows of them. The gradients are summed
    once per step, after the last backward pass, and not within it as DistributedDataParallel does: so each process may
    halve its part, or have none of a small last batch, while the others wait for nothing but the sum. In a step batch
    norm takes its statistics from the part (as in the paper: 32 drawings on each of two GPUs); those for validation
    are taken anew after every epoch, in each process from the same drawings. So after an epoch each process holds the
    same network, and one's state is the whole state.
    """

    index: int = 0  # 0 to num_processes - 1
    num_processes: int = 1

    def rows(self, num_rows: int, fewest: int = 1) -> slice:
        """This process's rows of a batch: parts as even as can be, of at least `fewest`; the last may have none."""
        num_parts = max(1, min(self.num_processes, num_rows // fewest))
        if self.index >= num_parts:
            return slice(num_rows, num_rows)
        size, num_larger = divmod(num_rows, num_parts)
        start = self.index * size + min(self.index, num_larger)
        return slice(start, start + size + (self.index < num_larger))

    def sum(self, values: Tensor) -> Tensor:
        """The sum over all processes, the same in each."""
        if self.num_processes == 1:
            return values
        total = values.clone()
        dist.all_reduce(total)
        return total

    def sum_gradients(self, model: nn.Module) -> None:
        """Give every process the sum of all gradients, in one transfer."""
        if self.num_processes == 1:
            return
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        for parameter in parameters:
            if parameter.grad is None:  # this process had no rows
                parameter.grad = torch.zeros_like(parameter)
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        joined = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(joined)
        sizes = [gradient.numel() for gradient in gradients]
        for gradient, total in zip(gradients, torch.split(joined, sizes), strict=True):
            gradient.copy_(total.view(gradient.shape))  # keeps the layout, which the optimizer relies on


StepReport = EpochReport | EndingReport | HinderedReport | NotWrittenReport


class Worker(Protocol):
    """Trains an epoch of its job at each step."""

    def begin(self, job: Job) -> None: ...

    def step(self) -> StepReport: ...

    def close(self) -> None: ...


class WorkerGroup:
    """A worker made of several processes of this machine, which stay from one job to the next.

    make_worker: makes one process's worker for its rank, and can be pickled. Process r uses GPU r of those that this
    process may see, where there are GPUs. All processes end with this one, however it ends.
    """

    def __init__(self, num_processes: int, make_worker: Callable[[Rank], Worker]) -> None:
        self.num_processes, self.make_worker = num_processes, make_worker
        self.processes: list[Any] = []
        self.connections: list[Connection] = []

    def begin(self, job: Job) -> None:
        """Hand every process the next job, whatever became of the one before."""
        if not self.processes:
            self.start()
        self.behind: list[int] = []
        self.send(job, range(self.num_processes))

    def step(self) -> StepReport:
        """The first process's report of the epoch; or the ending, where any process reports one.

        After a NotWrittenReport only the process that could not write tries again: the others have done the epoch.
        Raises what a process's worker raises, and ProcessDiedError when a process is gone: no other can go on.
        """
        asked = self.behind or list(range(self.num_processes))
        self.send(None, asked)
        reports: dict[int, StepReport] = {}
        endings: list[EndingReport | HinderedReport] = []
        waits_until = float("inf")
        while len(reports) < len(asked) and time.monotonic() < waits_until:
            open_ = {self.connections[rank]: rank for rank in asked if rank not in reports}
            for connection in wait(list(open_), PATIENCE_SECONDS):
                report = self.receive(connection)  # type: ignore[arg-type]
                if isinstance(report, Exception):
                    died = self.died_text(DEATH_SECONDS)  # then the others' errors are of the connection to it
                    self.close()
                    raise report if died is None else ProcessDiedError(died) from report
                reports[open_[connection]] = report  # type: ignore[index]
                if isinstance(report, EndingReport | HinderedReport):
                    endings.append(report)
                    # Those that did not end with it wait for its numbers in vain.
                    waits_until = min(waits_until, time.monotonic() + PATIENCE_SECONDS)
        if not endings:
            self.behind = [rank for rank in asked if isinstance(reports[rank], NotWrittenReport)]
            return reports[min(asked)]
        if len(endings) < self.num_processes:
            self.close()
        return endings[0]

    def start(self) -> None:
        """Start the processes; they find each other by a file that only this user can read."""
        context = multiprocessing.get_context("spawn")  # a forked process could not use CUDA
        self.folder = tempfile.TemporaryDirectory(prefix="tune_sketch-")
        for index in range(self.num_processes):
            rank = Rank(index, self.num_processes)
            here, there = context.Pipe()
            process = context.Process(
                target=serve, args=(rank, Path(self.folder.name) / "meeting", there, self.make_worker), daemon=True
            )
            process.start()
            there.close()  # so that the end of the process ends the connection
            self.processes.append(process)
            self.connections.append(here)

    def send(self, message: Job | None, ranks: Iterable[int]) -> None:
        try:
            for rank in ranks:
                self.connections[rank].send(message)
        except OSError as error:
            self.close()
            raise ProcessDiedError("a process of the training is gone") from error

    def receive(self, connection: Connection) -> Any:
        try:
            return connection.recv()
        except (EOFError, OSError) as error:
            rank = self.connections.index(connection)
            self.processes[rank].join(PATIENCE_SECONDS)
            died = self.died_text(0.0)
            self.close()
            raise ProcessDiedError(died or f"process {rank} of {self.num_processes} does not answer") from error

    def died_text(self, seconds: float) -> str | None:
        """The process that has ended, or does within a number of seconds, in words; None where all live."""
        wait([process.sentinel for process in self.processes], seconds)
        for rank, process in enumerate(self.processes):
            if process.exitcode is not None:
                return f"process {rank} of {self.num_processes} ended with code {process.exitcode}"
        return None

    def close(self) -> None:
        """End all processes: what is to be kept was written before they answered."""
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.join()
        for connection in self.connections:
            connection.close()
        if self.processes:
            self.folder.cleanup()
        self.processes, self.connections = [], []


def serve(rank: Rank, meeting: Path, connection: Connection, make_worker: Callable[[Rank], Worker]) -> None:
    """One process of a group: a message is a job to begin, or None for a step, which is answered."""
    threading.Thread(target=end_with_parent, daemon=True).start()
    join_group(rank, meeting)
    worker = make_worker(rank)
    while True:
        try:
            message = connection.recv()
        except EOFError:
            return
        if message is not None:
            worker.begin(message)
        else:
            try:
                connection.send(worker.step())
            except Exception as error:  # raised where the step was asked for
                connection.send(error)


def end_with_parent() -> None:
    """End this process as soon as the one that started it is gone, be it in the middle of a sum."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def join_group(rank: Rank, meeting: Path) -> None:
    """Join torch's process group of this machine: NCCL between GPUs, else gloo."""
    if sys.platform == "linux":  # nobody outside of this machine has to reach them
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        os.environ.setdefault("NCCL_SOCKET_IFNAME", "lo")
    device = None
    if torch.cuda.is_available():
        if torch.cuda.device_count() < rank.num_processes:
            raise ValueError(f"{rank.num_processes} processes need as many GPUs, got {torch.cuda.device_count()}")
        device = torch.device("cuda", rank.index)
        torch.cuda.set_device(device)
    dist.init_process_group(
        "gloo" if device is None else "nccl",
        init_method=f"file://{meeting}",
        rank=rank.index,
        world_size=rank.num_processes,
        timeout=datetime.timedelta(seconds=JOINING_SECONDS),
        device_id=device,
    )

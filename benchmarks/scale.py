"""How many workers one driver can feed: real Ray actors up to 64, a simulation without Ray up to 1,000 workers.

    python -m benchmarks.scale [--quick]

ray        Our sampler, ASHA, journal, TensorBoard log and screen drive Ray Tune over actors whose epoch is a
           sleep. All share this machine: each actor is a process of about 100 MB without torch.
simulated  The same without Ray, against a clock that jumps: W workers ask, report epochs and end, and only our own work
           takes time. So the driver is always busy, and what it gets done is the most that it can.

What a write costs on its own: benchmarks/storage_writes.py.
"""

import argparse
import contextlib
import heapq
import io
import itertools
import json
import os
import random
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
from optuna.storages import JournalStorage
from ray import tune

from benchmarks.machine import result_path, spread, write_result
from tests.support.untrained import make_job
from tune_sketch.backend import ray_tune
from tune_sketch.backend.base import Workers
from tune_sketch.backend.cluster import start_ray
from tune_sketch.callbacks.cleanup import Cleanup
from tune_sketch.callbacks.progress import Progress
from tune_sketch.callbacks.tensorboard import TensorBoardLog
from tune_sketch.config.seeds import derive_seed
from tune_sketch.events import EpochReport, Job, Trial, Worker
from tune_sketch.samplers.base import SearchTask
from tune_sketch.samplers.incumbent import IncumbentSampler
from tune_sketch.schedulers.asha import ASHA
from tune_sketch.schedulers.queue import TrialQueue
from tune_sketch.schedulers.recorder import Recorder
from tune_sketch.schedulers.rungs import default_grace_epochs, expected_epochs_per_trial, rung_epochs
from tune_sketch.schedulers.stop_signal import StopSignal
from tune_sketch.search_spaces import SpaceLimits, known_space
from tune_sketch.storage.files import write_csv, write_json
from tune_sketch.storage.journal import Journal
from tune_sketch.storage.journal_file import WholeLinesBackend
from tune_sketch.storage.run_directory import RunDirectory
from tune_sketch.trainables.trial import this_worker

MODEL, FACTOR = "baseline", 3
RAY_EPOCHS, SIMULATED_EPOCHS = 50, 9  # of a trial at most; of the short ones most are stopped after the first
STEPS = {1: (1.0,), 8: (1.0,), 40: (1.0,), 64: (1.0, 0.5, 0.25)}  # workers: seconds of an epoch
SPOT_MACHINES = 40  # to be fed with epochs of one second
LEAST_FED, MOST_PROPOSE_MS = 0.9, 20.0  # what this benchmark promises, or it fails
FULL_CORE = 0.9  # of the driver's one: here it saturates
SHOWN = ["epochs_per_second", "trials_per_minute", "writes_per_second", "driver_cores", "machine_cores"]
TIMES = ["propose_ms", "epoch_ms", "end_ms"]
COLUMNS = ["part", "workers", "epoch_seconds", "trials_before", "trials", "epochs", "writes", "seconds", "fed"]


class SleepingTrial(tune.Trainable):
    """Reports like `SketchTrial`, with a sleep instead of an epoch."""

    def setup(self, config: dict[str, Any]) -> None:
        self.job, self.epoch = config["job"], 0

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.setup(new_config)
        return True

    def step(self) -> dict[str, Any]:
        time.sleep(json.loads(Path(self.job.data).read_text()))
        self.epoch += 1
        return {"report": pretended_report(self.job, self.epoch, this_worker())}


def pretended_report(job: Job, epoch: int, worker: Worker) -> EpochReport:
    """A report as `SketchTrial` makes it, of a learning curve with its own height and pace."""
    draw = random.Random(job.seed)
    value = draw.uniform(0.1, 0.9) * (1 - draw.uniform(0.3, 0.8) ** epoch)
    names = ("val_top1", "val_top5", "val_loss", "train_top1", "train_top5", "train_loss")
    metrics = {"epoch_seconds": 1.0, "learning_rate": 0.1, "images_per_second": 1.0} | dict.fromkeys(names, value)
    return EpochReport(epoch, metrics, worker, checkpoint_epoch=epoch)


class CountingBackend(WholeLinesBackend):
    """The journal's own log file, with a count of the writes to it."""

    num_writes = 0

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        super().append_logs(logs)
        self.num_writes += 1


class Bench:
    """A search without data: run directory, journal, sampler, queue, recorder and callbacks as `run.py` makes them."""

    def __init__(self, folder: Path, max_epochs: int) -> None:
        self.num_workers, self.epoch_seconds = 1, 1.0
        grace_epochs = default_grace_epochs(max_epochs)
        self.run = RunDirectory(folder)
        self.run.path.mkdir()
        self.pace = folder / "pace.json"  # the seconds of an epoch, which may change while trials run
        self.log = CountingBackend(self.run.journal_log)
        self.journal = Journal(JournalStorage(self.log), "scale", create=True)
        rungs = rung_epochs(grace_epochs, max_epochs, FACTOR)
        limits = SpaceLimits(max_epochs=max_epochs, pretrained=False)
        self.sampler = IncumbentSampler(SearchTask(known_space(MODEL).space, limits, rungs, num_samples=10**6))
        self.stop = StopSignal(self.run, lambda line: None)
        self.queue = TrialQueue(
            self.journal,
            [],
            self.propose,
            lambda trial: replace(make_job(trial), data=str(self.pace)),
            may_start=lambda: self.stop.may_start() and len(self.queue.running) < self.num_workers,
        )
        screen = Progress(10**6, expected_epochs_per_trial(rungs, FACTOR), 0.0, io.StringIO())
        log, tidy = TensorBoardLog(self.run.tensorboard, []), Cleanup(self.run, self.journal, self.stop)
        self.recorder = Recorder(
            self.journal,
            self.queue,
            ASHA(rungs, FACTOR),
            callbacks=[screen, log, tidy, self],
            stop_requested=self.stop.requested,
        )
        self.processes: set[int] = set()  # that have reported an epoch
        self.num_epochs = self.num_ended = 0
        self.times: dict[str, list[float]] = {"propose": [], "epoch": [], "end": []}  # ms

    def propose(self) -> Trial:
        proposal = self.sampler.next(self.journal)
        assert proposal is not None
        return self.journal.add_trial(proposal, derive_seed(0, "trial", len(self.journal.trials)))

    def on_epoch(self, trial: Trial) -> None:
        self.num_epochs += 1
        worker = trial.epochs[-1].worker
        assert worker is not None
        self.processes.add(worker.process)

    def on_end(self, trial: Trial) -> None:
        self.num_ended += 1

    @contextlib.contextmanager
    def window(self, part: str) -> Iterator[dict[str, Any]]:
        """Fill in a row of the results with what happens meanwhile."""
        before = (self.num_ended, self.num_epochs, self.log.num_writes)
        row: dict[str, Any] = {"part": part, "workers": self.num_workers, "epoch_seconds": self.epoch_seconds}
        row["trials_before"] = len(self.journal.trials)
        for times in self.times.values():
            times.clear()
        psutil.cpu_percent()  # from here
        start, cpu = time.monotonic(), time.process_time()
        yield row
        row["machine_cores"] = psutil.cpu_percent() * psutil.cpu_count() / 100
        seconds, cpu = time.monotonic() - start, time.process_time() - cpu
        counts = (self.num_ended, self.num_epochs, self.log.num_writes)
        trials, epochs, num_writes = (now - then for now, then in zip(counts, before, strict=True))
        row |= rates(trials, epochs, num_writes, seconds, cpu)
        row |= {f"{name}_ms": statistics.median(times) for name, times in self.times.items() if times}
        print(
            {name: round(v, 3) if isinstance(v, float) else v for name, v in row.items()}, file=sys.stderr, flush=True
        )


def simulate(folder: Path, num_workers: int, num_windows: int, seconds: float) -> list[dict[str, Any]]:
    """W workers against a clock that jumps."""
    bench = Bench(folder / f"simulated-{num_workers}", SIMULATED_EPOCHS)
    bench.num_workers = num_workers
    draw, tickets = random.Random(1), itertools.count()
    due: list[tuple[float, int, Job, int]] = []  # (time of the clock, ticket, job, epoch that ends then)

    def begin(now: float) -> None:
        start = time.perf_counter()
        job = next(bench.queue)
        bench.times["propose"].append(1000 * (time.perf_counter() - start))
        assert job is not None
        heapq.heappush(due, (now + draw.uniform(0.5, 1.5), next(tickets), job, 1))

    def advance() -> None:
        now, _, job, epoch = heapq.heappop(due)
        report = pretended_report(job, epoch, Worker("", process=epoch))
        start = time.perf_counter()
        goes_on = bench.recorder(job.key, report) == "continue"
        bench.times["epoch" if goes_on else "end"].append(1000 * (time.perf_counter() - start))
        if goes_on:
            heapq.heappush(due, (now + draw.uniform(0.5, 1.5), next(tickets), job, epoch + 1))
        else:
            begin(now)

    for _ in range(num_workers):
        begin(0.0)
    rows = []
    for _ in range(num_windows):
        end = time.monotonic() + seconds
        with bench.window("simulated") as row:
            while time.monotonic() < end:
                advance()
        rows.append(row)
    return rows


def run_on_ray(
    folder: Path, num_workers: int, paces: Sequence[float], num_windows: int, seconds: float
) -> list[dict[str, Any]]:
    """A search over W real actors with epochs of a given length in seconds, one pace after the other."""
    ray_tune.SketchTrial = SleepingTrial  # type: ignore[attr-defined, assignment]
    start_ray(None)
    bench = Bench(folder / f"ray-{num_workers}", RAY_EPOCHS)
    bench.epoch_seconds = paces[0]
    write_json(bench.pace, bench.epoch_seconds)
    rows = []

    def measure() -> None:
        try:
            while not bench.stop.requested() and len(bench.processes) < num_workers:
                bench.num_workers = min(num_workers, len(bench.processes) + 4)  # not all start at one moment
                time.sleep(0.2)
            for bench.epoch_seconds in paces:
                write_json(bench.pace, bench.epoch_seconds)
                time.sleep(2.0)  # epochs of the former pace end
                for _ in range(num_windows):
                    with bench.window("ray") as row:
                        time.sleep(seconds)
                    row["fed"] = row["epochs"] * bench.epoch_seconds / num_workers / row["seconds"]
                    rows.append(row)
        finally:
            bench.stop.request("measured")

    thread = threading.Thread(target=measure)
    thread.start()
    # As in a real search there is room for W actors and no more: else Tune starts others when a trial ends.
    cpus = 10_000 * (os.cpu_count() or 1) // num_workers / 10_000  # Ray counts in ten-thousandths
    ray_tune.run_jobs(bench.queue, bench.recorder, Workers(num_workers, num_workers, cpus, 0.0, 1), bench.run)
    thread.join()
    return rows


def rates(trials: int, epochs: int, num_writes: int, seconds: float, cpu_seconds: float) -> dict[str, Any]:
    """Columns of a row: what happened in that many seconds."""
    return {
        "trials": trials,
        "epochs": epochs,
        "writes": num_writes,
        "seconds": seconds,
        "trials_per_minute": 60 * trials / seconds,
        "epochs_per_second": epochs / seconds,
        "writes_per_second": num_writes / seconds,
        "driver_cores": cpu_seconds / seconds,
    }


def table(rows: list[dict[str, Any]], columns: list[str]) -> list[str]:
    """One line for each number of workers and length of epochs: median (least to most) of its windows."""
    names = ["workers", "s / epoch", *(name.replace("_", " ").replace(" per ", " / ") for name in columns), "n"]
    lines = ["| " + " | ".join(names) + " |", "|---" * len(names) + "|"]
    for key, windows in itertools.groupby(rows, key=lambda row: (row["workers"], row["epoch_seconds"])):
        some = list(windows)
        cells = [spread([row[name] for row in some if name in row]) for name in columns]
        lines.append("| " + " | ".join([f"{key[0]}", f"{key[1]:g}", *cells, f"{len(some)}"]) + " |")
    return lines


def judge(rows: list[dict[str, Any]]) -> tuple[str, bool]:
    """(what the rows say, whether the targets are met)."""
    fed = [
        row["fed"] for row in rows if (row["workers"], row["epoch_seconds"]) == (SPOT_MACHINES, 1.0) and "fed" in row
    ]
    propose = [row["propose_ms"] for row in rows if row["part"] == "simulated" and row["trials_before"] >= 1000]
    said = f"{SPOT_MACHINES} workers with epochs of 1 s are fed to {spread(fed)} of what they could do "
    said += f"(at least {LEAST_FED}), n = {len(fed)} windows; ms of a proposal after 1,000 trials: {spread(propose)} "
    said += f"(under {MOST_PROPOSE_MS:g}), n = {len(propose)}"
    full = [row["epochs_per_second"] for row in rows if row["part"] == "ray" and row["driver_cores"] > FULL_CORE]
    if full:
        said += f"; with real workers the driver fills its core at {spread(full)} epochs per second, n = {len(full)}"
    return said, statistics.median(fed) >= LEAST_FED and statistics.median(propose) < MOST_PROPOSE_MS


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter windows; writes no result file")
    quick = parser.parse_args().quick
    num_windows, seconds = (1, 6.0) if quick else (3, 6.0)
    with tempfile.TemporaryDirectory(prefix="scale-") as name:
        folder, simulated, on_ray = Path(name), [], []
        for num_workers in (1, 1000) if quick else (1, 100, 1000):
            simulated += simulate(folder, num_workers, num_windows, seconds)
        for num_workers in (8, SPOT_MACHINES) if quick else STEPS:
            on_ray += run_on_ray(folder, num_workers, STEPS[num_workers], num_windows, seconds)
    rows = [*on_ray, *simulated]
    lines = ["Ray:", "", *table(on_ray, ["fed", *SHOWN]), "", "Simulated:", "", *table(simulated, [*SHOWN, *TIMES])]
    said, met = judge(rows)
    if not quick:
        write_csv(result_path("scale", ".csv"), [*COLUMNS, *SHOWN, *TIMES], rows)
        write_result("scale", "How many workers one driver can feed", [*lines, "", said])
    print("\n".join([*lines, "", said]))
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())

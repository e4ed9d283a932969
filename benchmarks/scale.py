"""How many workers one driver can feed: real Ray actors up to 64, a simulation without Ray up to 1,000 workers.

    python -m benchmarks.scale [--quick]

ray        Our searcher, scheduler, journal, TensorBoard log and screen drive Ray Tune over actors whose epoch is a
           sleep. All share this machine: each actor is a process of about 100 MB without torch.
simulated  The same without Ray, against a clock that jumps: W workers ask, report epochs and end, and only our own work
           takes time. So the driver is always busy, and what it gets done is the most that it can.

What a commit costs beside Optuna's own calls: benchmarks/commits.py.
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
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import sqlalchemy
from ray import tune
from tune_sketch.backend.execution import Stopping, Workers, run_trainings, start_ray
from tune_sketch.backend.scheduler import JournaledASHA

import tune_sketch.trainables.trial
from benchmarks.machine import result_path, spread, write_result
from tune_sketch.callbacks.cleanup import Housekeeping
from tune_sketch.callbacks.progress import Progress
from tune_sketch.callbacks.tensorboard import TensorBoardLog
from tune_sketch.config.settings import SearchSettings, default_grace_epochs
from tune_sketch.samplers.incumbent import RungSearcher
from tune_sketch.schedulers.rungs import expected_epochs_per_trial, rung_epochs
from tune_sketch.search_spaces import SPACES
from tune_sketch.search_spaces.common import SpaceLimits
from tune_sketch.storage.journal import Journal, Record
from tune_sketch.storage.run_directory import RunDirectory, write_csv, write_json
from tune_sketch.trainables.trial import this_worker

MODEL, FACTOR = "baseline", 3
RAY_EPOCHS, SIMULATED_EPOCHS = 50, 9  # of a trial at most; of the short ones most are stopped after the first
STEPS = {1: (1.0,), 8: (1.0,), 40: (1.0,), 64: (1.0, 0.5, 0.25)}  # workers: seconds of an epoch
SPOT_MACHINES = 40  # to be fed with epochs of one second
LEAST_FED, MOST_SUGGEST_MS = 0.9, 20.0  # what this benchmark promises, or it fails
FULL_CORE = 0.9  # of the driver's one: here it saturates
SHOWN = ["epochs_per_second", "trials_per_minute", "commits_per_second", "driver_cores", "machine_cores"]
TIMES = ["suggest_ms", "epoch_ms", "end_ms"]
COLUMNS = ["part", "workers", "epoch_seconds", "trials_before", "trials", "epochs", "commits", "seconds", "fed"]


class SleepingTrial(tune.Trainable):
    """What `SketchTrial` tells the scheduler, with a sleep in place of an epoch."""

    def setup(self, config: dict[str, Any]) -> None:
        self.job, self.epoch = config, 0

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.setup(new_config)
        return True

    def step(self) -> dict[str, Any]:
        time.sleep(json.loads(Path(self.job["pace"]).read_text()))
        self.epoch += 1
        return pretended_result(self.job, self.epoch, asdict(this_worker()))


def pretended_result(job: dict[str, Any], epoch: int, place: dict[str, Any]) -> dict[str, Any]:
    """A report as `SketchTrial` makes it, of a learning curve with its own height and pace."""
    draw = random.Random(job["seed"])
    value = draw.uniform(0.1, 0.9) * (1 - draw.uniform(0.3, 0.8) ** epoch)
    names = ("val_top1", "val_top5", "val_loss", "train_top1", "train_top5", "train_loss")
    metrics = {"epoch": epoch, "epoch_seconds": 1.0, "learning_rate": 0.1, "images_per_second": 1.0, **place}
    metrics |= dict.fromkeys(names, value)
    return {"status": "epoch", "warning": "", "val_top1": value, "metrics": metrics, "checkpoint_epoch": epoch}


class Bench:
    """A search without data: run directory, journal, searcher, scheduler and watchers as `search.py` makes them."""

    def __init__(self, folder: Path, max_epochs: int) -> None:
        self.num_workers, self.epoch_seconds = 1, 1.0
        grace_epochs = default_grace_epochs(max_epochs)
        settings = SearchSettings(MODEL, "doodles", 32, 10**6, max_epochs, grace_epochs)
        self.run = RunDirectory(folder)
        self.run.path.mkdir()
        search = {"study_name": "scale", "storage": None, "settings": settings.to_json(), "sittings": []}
        write_json(self.run.search_json, search)
        self.pace = folder / "pace.json"  # the seconds of an epoch, which may change while trials run
        self.journal = Journal(f"sqlite:///{self.run.study_db}", "scale", create=True)
        sqlalchemy.event.listen(self.journal.storage.engine, "commit", self.on_commit)
        rungs = rung_epochs(grace_epochs, max_epochs, FACTOR)
        self.stopping = Stopping(self.run, lambda line: None)
        self.searcher = RungSearcher(
            self.journal,
            SPACES[MODEL],
            SpaceLimits(max_epochs=max_epochs, pretrained=False),
            rungs,
            seed=0,
            num_samples=10**6,
            first=[],
            job=lambda r: {"key": r.key, "seed": r.seed, "pace": str(self.pace)},
            may_ask=lambda: not self.stopping.asked() and len(self.searcher.handed_out) < self.num_workers,
        )
        screen = Progress(10**6, expected_epochs_per_trial(rungs, FACTOR), 0.0, io.StringIO())
        log, tidy = TensorBoardLog(self.run.tensorboard, []), Housekeeping(self.run, self.journal, self.stopping)
        self.scheduler = JournaledASHA(self.journal, rungs, FACTOR, watchers=[screen, log, tidy, self])
        self.processes: set[int] = set()  # that have reported an epoch
        self.num_epochs = self.num_ended = self.num_commits = 0
        self.times: dict[str, list[float]] = {"suggest": [], "epoch": [], "end": []}  # ms

    def on_commit(self, connection: Any) -> None:
        self.num_commits += 1

    def on_epoch(self, record: Record) -> None:
        self.num_epochs += 1
        self.processes.add(record.epochs[-1]["process"])

    def on_end(self, record: Record) -> None:
        self.num_ended += 1

    @contextlib.contextmanager
    def window(self, part: str) -> Iterator[dict[str, Any]]:
        """Fill in a row of the results with what happens meanwhile."""
        before = (self.num_ended, self.num_epochs, self.num_commits)
        row: dict[str, Any] = {"part": part, "workers": self.num_workers, "epoch_seconds": self.epoch_seconds}
        row["trials_before"] = len(self.journal.trials)
        for times in self.times.values():
            times.clear()
        psutil.cpu_percent()  # from here
        start, cpu = time.monotonic(), time.process_time()
        yield row
        row["machine_cores"] = psutil.cpu_percent() * psutil.cpu_count() / 100
        seconds, cpu = time.monotonic() - start, time.process_time() - cpu
        counts = (self.num_ended, self.num_epochs, self.num_commits)
        row |= rates(*(now - then for now, then in zip(counts, before, strict=True)), seconds, cpu)
        row |= {f"{name}_ms": statistics.median(times) for name, times in self.times.items() if times}
        print(
            {name: round(v, 3) if isinstance(v, float) else v for name, v in row.items()}, file=sys.stderr, flush=True
        )


def simulate(folder: Path, num_workers: int, num_windows: int, seconds: float) -> list[dict[str, Any]]:
    """W workers against a clock that jumps."""
    bench = Bench(folder / f"simulated-{num_workers}", SIMULATED_EPOCHS)
    bench.num_workers = num_workers
    draw, tickets = random.Random(1), itertools.count()
    due: list[tuple[float, int, Any, int]] = []  # (time of the clock, ticket, trial, epoch that ends then)

    def begin(now: float) -> None:
        trial = SimpleNamespace(trial_id=f"t{next(tickets)}", error_file=None)
        start = time.perf_counter()
        trial.config = bench.searcher.suggest(trial.trial_id)
        bench.times["suggest"].append(1000 * (time.perf_counter() - start))
        heapq.heappush(due, (now + draw.uniform(0.5, 1.5), next(tickets), trial, 1))

    def advance() -> None:
        now, _, trial, epoch = heapq.heappop(due)
        result = pretended_result(trial.config, epoch, {"process": epoch})
        result |= {f"metrics/{name}": value for name, value in result.pop("metrics").items()}
        start = time.perf_counter()
        goes_on = bench.scheduler.on_trial_result(None, trial, result) == "CONTINUE"
        bench.times["epoch" if goes_on else "end"].append(1000 * (time.perf_counter() - start))
        if goes_on:
            heapq.heappush(due, (now + draw.uniform(0.5, 1.5), next(tickets), trial, epoch + 1))
        else:
            bench.searcher.on_trial_complete(trial.trial_id)
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
    """A search over W real actors, whose epochs last so many seconds, one pace after the other."""

    tune_sketch.trainables.trial.SketchTrial = SleepingTrial  # type: ignore[misc, assignment]
    start_ray(None)
    bench = Bench(folder / f"ray-{num_workers}", RAY_EPOCHS)
    bench.epoch_seconds = paces[0]
    write_json(bench.pace, bench.epoch_seconds)
    rows = []

    def measure() -> None:
        try:
            while not bench.stopping.asked() and len(bench.processes) < num_workers:
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
            bench.stopping.ask("measured")

    thread = threading.Thread(target=measure)
    thread.start()
    # As in a real search there is room for so many actors and no more: else Tune starts others when a trial ends.
    cpus = 10_000 * (os.cpu_count() or 1) // num_workers / 10_000  # Ray counts in ten-thousandths
    run_trainings(bench.searcher, bench.scheduler, bench.run, Workers(num_workers, num_workers, cpus, 0.0, 1))
    thread.join()
    return rows


def rates(trials: int, epochs: int, num_commits: int, seconds: float, cpu_seconds: float) -> dict[str, Any]:
    """Columns of a row: what happened in so many seconds."""
    return {
        "trials": trials,
        "epochs": epochs,
        "commits": num_commits,
        "seconds": seconds,
        "trials_per_minute": 60 * trials / seconds,
        "epochs_per_second": epochs / seconds,
        "commits_per_second": num_commits / seconds,
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
    suggest = [row["suggest_ms"] for row in rows if row["part"] == "simulated" and row["trials_before"] >= 1000]
    said = f"{SPOT_MACHINES} workers with epochs of 1 s are fed to {spread(fed)} of what they could do "
    said += f"(at least {LEAST_FED}), n = {len(fed)} windows; ms of a suggestion after 1,000 trials: {spread(suggest)} "
    said += f"(under {MOST_SUGGEST_MS:g}), n = {len(suggest)}"
    full = [row["epochs_per_second"] for row in rows if row["part"] == "ray" and row["driver_cores"] > FULL_CORE]
    if full:
        said += f"; with real workers the driver fills its core at {spread(full)} epochs per second, n = {len(full)}"
    return said, statistics.median(fed) >= LEAST_FED and statistics.median(suggest) < MOST_SUGGEST_MS


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

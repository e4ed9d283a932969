"""A search of known curves with all that records and shows it, which tells what its process holds as trials end.

python -m tests.support.long_search FOLDER NUM_TRIALS [LEAK]   prints {"trials": [bytes, descriptors], ...} as JSON
"""

import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil

from tests.support.fake_runs import make_metrics
from tests.support.in_process import InProcessBackend
from tests.support.whole_run import make_run
from tune_sketch.backend.base import OnReport, Workers
from tune_sketch.events import EpochReport, Job, Worker
from tune_sketch.run import open_run, search_trials
from tune_sketch.storage.lock import lock
from tune_sketch.storage.run_directory import RunDirectory

LEAKED_BYTES = 300_000  # of each trial, where a leak is asked for


class CurvesBackend(InProcessBackend):
    """Reports a rising curve for every trial, better or worse with its learning rate. leaks: for each trial."""

    def __init__(self, looks: tuple[int, ...], leak: str) -> None:
        super().__init__()
        self.looks, self.leak, self.held = looks, leak, list[object]()
        self.found: dict[int, tuple[int, int]] = {}

    def run(self, jobs: Iterator[Job | None], on_report: OnReport, workers: Workers, run: RunDirectory) -> None:
        for number, job in enumerate(jobs, start=1):
            assert job is not None
            quality = 0.8 - 0.1 * abs(math.log10(float(job.config["learning_rate"])) + 3)
            for epoch in range(1, int(job.config["epochs"]) + 1):
                metrics = make_metrics(epoch, quality, job)  # type: ignore[arg-type]  # it asks for the configuration
                if on_report(job.key, EpochReport(epoch, metrics, Worker("here", 7), epoch)) == "stop":
                    break
            if self.leak == "memory":
                self.held.append(b"x" * LEAKED_BYTES)
            elif self.leak == "descriptor":
                self.held.append(Path(__file__).open())  # noqa: SIM115 (that is the leak)
            if number in self.looks:
                process = psutil.Process()
                self.found[number] = process.memory_info().rss, process.num_fds()


def main(folder: str, num_trials: str, leak: str = "") -> None:
    first, last = 50, int(num_trials)
    run = make_run(Path(folder), num_samples=last, max_epochs=9)
    backend = CurvesBackend((first, last), leak)
    with lock(run), open_run(run, backend, None) as work:
        search_trials(work)
    print(json.dumps(backend.found))


if __name__ == "__main__":
    main(*sys.argv[1:])

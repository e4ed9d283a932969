"""A backend that trains in this process, one job after the other: a whole search in seconds, without Ray."""

from collections.abc import Callable, Iterable, Iterator

from tune_sketch.backend.base import OnReport, Workers
from tune_sketch.config.settings import Settings
from tune_sketch.events import Job, Report, Scores, Worker
from tune_sketch.storage.facts import Facts, GpuSharing
from tune_sketch.storage.run_directory import RunDirectory
from tune_sketch.trainables.job import make_worker, score_on_test


class InProcessBackend:
    """`before_report` is called with every report before the search hears of it: it may signal, or raise."""

    def __init__(self, before_report: Callable[[str, Report], None] = lambda key, report: None) -> None:
        self.before_report = before_report
        self.num_reports = self.num_scored = 0

    def start(self) -> None:
        pass

    def describe_reach(self) -> str:
        return ""

    def share_gpus(self, run: RunDirectory, facts: Facts) -> GpuSharing:
        return GpuSharing(1, "no choice")

    def allocate(self, settings: Settings, num_trainings: int, sharing: GpuSharing) -> Workers:
        return Workers(1, 1, 1.0, 0.0, 1)

    def run(self, jobs: Iterator[Job | None], on_report: OnReport, workers: Workers, run: RunDirectory) -> None:
        for job in jobs:
            if job is None:
                return
            worker = make_worker(1, Worker("here", 0))
            worker.begin(job)
            verdict = "continue"
            while verdict == "continue":
                report = worker.step()
                self.num_reports += 1
                verdict = on_report(job.key, self.pass_on(job.key, report))
            worker.close()

    def pass_on(self, key: str, report: Report) -> Report:
        """The report as the search hears of it."""
        self.before_report(key, report)
        return report

    def score_on_test(self, jobs: Iterable[tuple[Job, str]], workers: Workers) -> Iterator[tuple[str, Scores]]:
        for job, weights in jobs:
            self.num_scored += 1
            yield job.key, score_on_test(job, weights)

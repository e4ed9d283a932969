"""A backend whose trainings are known learning curves and whose clock is simulated: for tests and benchmarks."""

import heapq
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from tune_sketch.backend.base import OnReport
from tune_sketch.events import EpochReport, Job, Worker


@dataclass(frozen=True)
class Curve:
    """One training's validation top-1, validation loss and duration in seconds, by epoch."""

    values: Sequence[float]
    losses: Sequence[float]
    seconds: Sequence[float]


@dataclass
class SimulatedBackend:
    """Workers that each train one job at a time, and one driver that asks for jobs, one after the other.

    What the driver takes for a job, times `driver_speed`, passes on the simulated clock too; 0: nothing, so that the
    same search gives the same events every time.
    """

    curve_of: Callable[[Job], Curve]
    num_workers: int = 1
    driver_speed: float = 0.0  # simulated seconds per second of processor time
    end_at: float = float("inf")  # simulated seconds
    now: float = 0.0
    driver_seconds: float = 0.0  # of processor time, for jobs
    num_jobs: int = 0
    running: list[tuple[float, int, Job, Curve, int]] = field(default_factory=list)  # (end of epoch, order, ...)

    def clock(self) -> float:
        """The simulated time, for the journal."""
        return self.now

    def simulate(
        self, jobs: Iterator[Job | None], on_report: OnReport, on_time: Callable[[float], None] = lambda now: None
    ) -> None:
        """Run the jobs. on_time: hears of the time of every epoch's end, before the clock is set to it."""
        num_idle, num_events, driver_free_at = self.num_workers, 0, 0.0
        while True:
            while num_idle:
                started = time.thread_time()
                job = next(jobs, None)
                seconds = time.thread_time() - started
                self.driver_seconds += seconds
                driver_free_at = max(driver_free_at, self.now) + self.driver_speed * seconds
                if job is None:
                    break
                curve, begun = self.curve_of(job), job.num_recorded or 0
                if begun and on_report(job.key, report_of(curve, begun)) == "stop":
                    continue  # a training that goes on reports the epoch of its checkpoint once more
                num_idle, num_events, self.num_jobs = num_idle - 1, num_events + 1, self.num_jobs + 1
                ends_at = driver_free_at + curve.seconds[min(begun, len(curve.seconds) - 1)]
                heapq.heappush(self.running, (ends_at, num_events, job, curve, begun + 1))
            if not self.running:
                return
            then, _, job, curve, epoch = heapq.heappop(self.running)
            on_time(then)
            if then > self.end_at:
                return
            self.now = then
            if on_report(job.key, report_of(curve, epoch)) == "continue":
                num_events += 1
                seconds = curve.seconds[min(epoch, len(curve.seconds) - 1)]
                heapq.heappush(self.running, (self.now + seconds, num_events, job, curve, epoch + 1))
            else:
                num_idle += 1


def report_of(curve: Curve, epoch: int) -> EpochReport:
    """A training's report of an epoch, from 1."""
    metrics = {
        "val_top1": float(curve.values[epoch - 1]),
        "val_loss": float(curve.losses[epoch - 1]),
        "epoch_seconds": float(curve.seconds[epoch - 1]),
    }
    return EpochReport(epoch, metrics, Worker("simulated", 0), epoch)

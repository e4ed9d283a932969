"""The backend of real searches: Ray, on this machine or a cluster."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from tune_sketch.backend.allocation import allocate_workers
from tune_sketch.backend.base import OnReport, Workers
from tune_sketch.backend.cluster import check_address, describe_reach, start_ray, watch_ray
from tune_sketch.backend.gpu_sharing import measure_gpu_sharing
from tune_sketch.backend.private_folder import choose_parent
from tune_sketch.backend.watch import Gate, watched
from tune_sketch.config.settings import Settings
from tune_sketch.events import DeathReport, Job, Report, Scores, Verdict
from tune_sketch.storage.facts import Facts, GpuSharing
from tune_sketch.storage.run_directory import RunDirectory

# Ray Tune takes a second to import, for which no wrong flag need wait: ray_tune.py is imported once Ray is started.
T = TypeVar("T")


@dataclass(frozen=True)
class RayBackend:
    """Ray at an address, or on this machine alone."""

    address: str | None = None

    def check(self) -> None:
        """Raises ValueError for what would keep Ray from starting here, before anything waits for it."""
        if self.address is None:
            choose_parent()
        else:
            check_address(self.address)

    def start(self) -> None:
        start_ray(self.address)

    def describe_reach(self) -> str:
        return describe_reach()

    def watch(self, call: Callable[[], T]) -> T:
        """The result of a call of Ray; BackendLostError if Ray dies, for which most of its calls would wait."""
        return watched(call, watch_ray())

    def share_gpus(self, run: RunDirectory, facts: Facts) -> GpuSharing:
        return self.watch(lambda: measure_gpu_sharing(run, facts))

    def allocate(self, settings: Settings, num_trainings: int, sharing: GpuSharing) -> Workers:
        may_grow = self.address is not None
        return self.watch(
            lambda: allocate_workers(settings, num_trainings, trials_per_gpu=sharing.trials_per_gpu, may_grow=may_grow)
        )

    def run(self, jobs: Iterator[Job | None], on_report: OnReport, workers: Workers, run: RunDirectory) -> None:
        from tune_sketch.backend.ray_tune import run_jobs

        gate = Gate(watch_ray())

        def next_jobs() -> Iterator[Job | None]:
            none = object()
            while (job := gate.through(lambda: next(jobs, none))) is not none:
                yield job  # type: ignore[misc]

        def report(key: str, report: Report) -> Verdict:
            # Processes that die with Ray are not the fault of what they train.
            return gate.through(lambda: on_report(key, report), look=isinstance(report, DeathReport))

        try:
            self.watch(lambda: run_jobs(next_jobs(), report, workers, run))
        finally:
            gate.close()

    def score_on_test(self, jobs: Iterable[tuple[Job, str]], workers: Workers) -> Iterator[tuple[str, Scores]]:
        from tune_sketch.backend.ray_tune import score_jobs

        results = self.watch(lambda: score_jobs(jobs, workers))
        while (result := self.watch(lambda: next(results, None))) is not None:
            yield result

    def time_epoch(self, job: Job, workers: Workers) -> float:
        """Seconds of one epoch of a job on a worker."""
        import ray

        from tune_sketch.trainables.trial import time_epoch

        measure = ray.remote(num_cpus=workers.cpus, num_gpus=workers.gpus)(time_epoch)
        seconds: float = self.watch(lambda: ray.get(measure.remote(job)))
        return seconds

"""The backend of real searches: Ray, on this machine or a cluster."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from tune_sketch.backend.allocation import allocate_workers
from tune_sketch.backend.base import OnReport, Workers
from tune_sketch.backend.cluster import check_address, choose_folder, start_ray
from tune_sketch.backend.gpu_sharing import measure_gpu_sharing
from tune_sketch.config.settings import Settings
from tune_sketch.events import Job, TestResult
from tune_sketch.storage.facts import Facts, GpuSharing
from tune_sketch.storage.run_directory import RunDirectory

# Ray Tune takes a second to import, for which no wrong flag need wait: ray_tune.py is imported once Ray is started.


@dataclass(frozen=True)
class RayBackend:
    """Ray at an address, or on this machine alone."""

    address: str | None = None

    def check(self) -> None:
        """Raises ValueError for what would keep Ray from starting here, before anything waits for it."""
        if self.address is None:
            choose_folder()
        else:
            check_address(self.address)

    def start(self) -> None:
        start_ray(self.address)

    def share_gpus(self, run: RunDirectory, facts: Facts) -> GpuSharing:
        return measure_gpu_sharing(run, facts)

    def allocate(self, settings: Settings, num_trainings: int, sharing: GpuSharing) -> Workers:
        return allocate_workers(
            settings, num_trainings, trials_per_gpu=sharing.trials_per_gpu, may_grow=self.address is not None
        )

    def run(self, jobs: Iterator[Job | None], on_report: OnReport, workers: Workers, run: RunDirectory) -> None:
        from tune_sketch.backend.ray_tune import run_jobs

        run_jobs(jobs, on_report, workers, run)

    def score_on_test(
        self, jobs: Iterable[tuple[Job, str]], workers: Workers
    ) -> Iterator[tuple[str, TestResult, np.ndarray]]:
        from tune_sketch.backend.ray_tune import score_jobs

        return score_jobs(jobs, workers)

    def time_epoch(self, job: Job, workers: Workers) -> float:
        """Seconds of one epoch of a job on a worker."""
        import ray

        from tune_sketch.trainables.trial import time_epoch

        measure = ray.remote(num_cpus=workers.cpus, num_gpus=workers.gpus)(time_epoch)
        seconds: float = ray.get(measure.remote(job))
        return seconds

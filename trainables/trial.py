"""Runs trainings as a Ray Tune trainable; job.py does the work, and imports torch, which the driver does without."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray.util
from ray import tune

from tune_sketch.events import Job, Scores, Worker
from tune_sketch.trainables.importing import import_ahead

if TYPE_CHECKING:
    from tune_sketch.trainables.speed.throughput import Throughput


class SketchTrial(tune.Trainable):
    """One training, one epoch per `step`. ASHA stops it by not asking for the next.

    Ray hands over {"job": Job} and is given {"report": ...} of what a step reports. An error is raised only where
    another process may do better: one of several processes died, or this machine cannot get at the data
    (NotStagedError). None is the configuration's: `report_of_error` (backend/ray_tune.py) relies on it.
    """

    def setup(self, config: dict[str, Any]) -> None:
        # torch._dynamo, as an optimizer's first step would
        import_ahead(("tune_sketch.trainables.job", "torch._dynamo"))
        from tune_sketch.trainables.job import make_worker

        self.worker = make_worker(config["job"].num_processes, this_worker())
        self.worker.begin(config["job"])

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next job in the same process, which has torch and the data loaded already."""
        self.worker.begin(new_config["job"])
        return True

    def step(self) -> dict[str, Any]:
        return {"report": self.worker.step()}

    def cleanup(self) -> None:
        self.worker.close()


def this_worker() -> Worker:
    """This process: its machine's address in Ray's cluster, its id there, and the GPUs that it sees ("0 1")."""
    gpus = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    address: Callable[[], str] = ray.util.get_node_ip_address
    return Worker(address(), os.getpid(), gpus.replace(",", " "))


# For ray.remote, which pickles them by name: the functions that they call, without torch in the driver.


def time_epoch(job: Job) -> float:
    from tune_sketch.trainables import job as training

    return training.time_epoch(job)


def keep_weights(checkpoints: Path, path: Path, key: str) -> None:
    from tune_sketch.trainables import job as training

    training.keep_weights(checkpoints, path, key)


def score_on_test(job: Job, weights: str) -> Scores:
    from tune_sketch.trainables import job as training

    return training.score_on_test(job, weights)


def measure_job(job: Job, most: int) -> "Throughput":
    from tune_sketch.trainables.speed import throughput

    return throughput.measure_job(job, most)

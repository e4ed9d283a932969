"""The interface of a backend: what runs trainings, wherever that is."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from tune_sketch.config.settings import Settings
from tune_sketch.events import Job, Report, Scores, Verdict
from tune_sketch.storage.facts import Facts, GpuSharing
from tune_sketch.storage.run_directory import RunDirectory

OnReport = Callable[[str, Report], Verdict]


class BackendLostError(RuntimeError):
    """The cluster that runs the trainings is gone. All records are safe, and the search can go on from them."""

    num_epochs = 0  # that the session recorded before
    was_stopping = False  # the search was winding up when it happened


@dataclass(frozen=True)
class Workers:
    """How many trainings run at once, and the resources of each."""

    num_workers: int  # trainings at once, on the machines that there are now
    most: int | None  # trainings at once; None: one more than fits, which makes a cluster grow
    cpus: float  # of each
    gpus: float
    num_threads: int  # of torch in each

    def resources(self) -> dict[str, float]:
        return {"cpu": self.cpus, "gpu": self.gpus}


class Backend(Protocol):
    """Runs trainings and says what they report. The only part of a search that knows Ray."""

    def start(self) -> None:
        """Begin to be of use. Raises ValueError when the machines cannot be reached.

        This and all below raise BackendLostError as soon as what runs the trainings is gone.
        """

    def describe_reach(self) -> str:
        """From where it can be reached, in words; empty where that is not ours to say."""

    def share_gpus(self, run: RunDirectory, facts: Facts) -> GpuSharing:
        """How many trials should share a GPU."""

    def allocate(self, settings: Settings, num_trainings: int, sharing: GpuSharing) -> Workers:
        """The workers of a number of trainings. Raises ValueError when no machine can take one."""

    def run(self, jobs: Iterator[Job | None], on_report: OnReport, workers: Workers, run: RunDirectory) -> None:
        """Run jobs until there are no more. A None among them: none now, ask again after the next report."""

    def score_on_test(self, jobs: Iterable[tuple[Job, str]], workers: Workers) -> Iterator[tuple[str, Scores]]:
        """(key, scores) of networks, from (job, weights file)."""

"""Runs trainings on Ray Tune: one Tuner, fed by a queue of jobs, that does what the recorder says."""

import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.experiment import Trial as RayTrial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher
from ray.widgets.util import in_notebook

from tune_sketch.backend.allocation import has_room
from tune_sketch.backend.base import OnReport, Workers
from tune_sketch.events import DeathReport, Job, Report, Scores
from tune_sketch.storage.run_directory import RunDirectory
from tune_sketch.trainables.trial import SketchTrial, score_on_test


class Errors:
    """The first error of a call from Ray, which wraps what its callbacks raise into text."""

    def __init__(self) -> None:
        self.first: Exception | None = None

    def keep(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except Exception as error:
            self.first = self.first or error
            raise


class RayJobs(Searcher):
    """Hands Ray the jobs of a queue."""

    def __init__(self, jobs: Iterator[Job | None], may_run: Callable[[int], bool], errors: Errors) -> None:
        super().__init__(metric="val_top1", mode="max")
        self.jobs, self.may_run, self.errors = jobs, may_run, errors
        self.running: set[str] = set()

    def suggest(self, trial_id: str) -> Any:
        """The next job; None while there may be one later; FINISHED when there is none."""
        if not self.may_run(len(self.running)):
            return None
        job = self.errors.keep(lambda: next(self.jobs, Searcher.FINISHED))
        if not isinstance(job, Job):
            return job
        self.running.add(trial_id)
        return {"job": job}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        self.running.discard(trial_id)

    def save(self, checkpoint_path: str) -> None:
        """Satisfy Ray's snapshots; the journal is what a resumed search starts from."""
        Path(checkpoint_path).write_text(json.dumps({"state": "in the journal"}))

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore."""

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Ray pickles its tuner, but what a resume needs is in the journal."""
        return {}


class ReportScheduler(FIFOScheduler):
    """Passes on every report, and does what it is told; a process that becomes free is for the newest trial."""

    def __init__(self, on_report: OnReport, errors: Errors) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.on_report, self.errors = on_report, errors

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: what a resume needs is in the journal."""
        return {}

    def report(self, trial: RayTrial, report: Report) -> str:
        verdict = self.errors.keep(lambda: self.on_report(trial.config["job"].key, report))
        return TrialScheduler.CONTINUE if verdict == "continue" else TrialScheduler.STOP

    def on_trial_result(self, tune_controller: Any, trial: RayTrial, result: dict[str, Any]) -> str:
        return self.report(trial, result["report"])

    def on_trial_error(self, tune_controller: Any, trial: RayTrial) -> None:
        """A process died."""
        self.report(trial, DeathReport(describe_death(trial)))

    def choose_trial_to_run(self, tune_controller: Any) -> RayTrial | None:
        """Of the trials that wait, the last: the process of a trial that has just ended is free for it.

        Ray's choice is the first, whose own process may be starting on another machine and is then killed for nothing.
        Where trials are shorter than the start of a process, as many never start: new machines would stay unused.
        """
        pending = (trial for trial in reversed(tune_controller.get_trials()) if trial.status == RayTrial.PENDING)
        return next(pending, None)


class NoReporter(tune.ProgressReporter):
    """Shows nothing. In a notebook Ray's own clears the cell, and with it the lines of our progress."""

    def should_report(self, trials: list[RayTrial], done: bool = False) -> bool:
        return False

    def report(self, trials: list[RayTrial], done: bool, *sys_info: str) -> None:
        """Is never called."""


def run_jobs(jobs: Iterator[Job | None], on_report: OnReport, workers: Workers, run: RunDirectory) -> None:
    """Let Ray Tune run jobs until there are no more, one process per worker, reused."""
    errors = Errors()
    tuner = tune.Tuner(
        tune.with_resources(SketchTrial, workers.resources()),
        tune_config=tune.TuneConfig(
            search_alg=RayJobs(jobs, lambda num_running: has_room(workers, num_running), errors),
            scheduler=ReportScheduler(on_report, errors),
            num_samples=-1,  # the queue says when there are no more
            reuse_actors=True,
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(run.ray.absolute()),
            verbose=0,
            progress_reporter=NoReporter() if in_notebook() else None,  # elsewhere Ray warns that it ignores it
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),  # we keep our own
            failure_config=tune.FailureConfig(max_failures=0),  # the queue hands a dead trial out again
        ),
    )
    try:
        tuner.fit()
    except tune.TuneError as error:
        if isinstance(errors.first, OSError):
            raise OSError(f"{errors.first}. What was recorded is safe; mend the disk, then resume.") from errors.first
        raise errors.first or error from None
    finally:
        shutil.rmtree(run.ray, ignore_errors=True)  # Ray's own snapshots: the journal is what a resume starts from


def score_jobs(jobs: Iterable[tuple[Job, str]], workers: Workers) -> Iterator[tuple[str, Scores]]:
    """(key, scores) of networks, from (job, weights file), in the order of ending."""
    score = ray.remote(num_cpus=workers.cpus, num_gpus=min(1.0, workers.gpus))(score_on_test)
    futures = {score.remote(job, weights): job.key for job, weights in jobs}
    while futures:
        (future,), _ = ray.wait(list(futures), num_returns=1)
        yield futures.pop(future), ray.get(future)


def describe_death(trial: RayTrial) -> str:
    """The death of a trial's process, in words: on which machine, where that is known, and its last output."""
    address = getattr(trial, "node_ip", None)
    said = Path(trial.error_file).read_text() if trial.error_file and Path(trial.error_file).exists() else ""
    reason = said.strip().rpartition("NotStagedError: ")[2] if "NotStagedError: " in said else ""
    return "its process died" + (f" on {address}" if address else "") + (f" ({reason})" if reason else "")

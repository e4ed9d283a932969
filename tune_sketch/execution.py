"""Runs trainings on Ray: starts or joins it, drives one Tuner, and stops when asked or when nothing can succeed."""

import logging
import os
import secrets
import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import Any

from tune_sketch.journal import Journal, Record
from tune_sketch.run_directory import RunDirectory
from tune_sketch.scheduler import JournaledASHA
from tune_sketch.settings import SearchSettings

NUM_SAME_FAILURES = 3  # when the first so many trials fail for one reason, and none succeeded, the search ends


@dataclass(frozen=True)
class Workers:
    """How a search's trainings are placed on the machines that Ray has."""

    num_workers: int  # trainings at once
    cpus: float  # of each
    gpus: float
    num_threads: int  # of torch in each

    def resources(self) -> dict[str, float]:
        return {"cpu": self.cpus, "gpu": self.gpus}


def start_ray(address: str | None) -> None:
    """Join the cluster at `address`, or start Ray on this machine alone, behind a token that only we know.

    Raises ValueError when there is no cluster at the address.
    """
    # Endings carry no accuracy: a trial that diverged has none, and none is made up for it.
    os.environ["TUNE_DISABLE_STRICT_METRIC_CHECKING"] = "1"
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"  # our own files are cleaner, see run_directory.py
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"  # its boxes, which verbose=0 does not silence
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"  # ours checkpoints, see Stopping
    os.environ["TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S"] = "0"
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    if address is None:
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    import ray

    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # what goes wrong is said by our own scheduler
    common: dict[str, Any] = {"log_to_driver": False, "logging_level": "error", "configure_logging": True}
    if address is None:
        ray.init(include_dashboard=False, **common)
        return
    try:
        ray.init(address=address, **common)
    except ConnectionError as error:
        raise ValueError(f"--address {address}: no Ray cluster answers there ({error})") from None


def place(settings: SearchSettings) -> Workers:
    """How many trainings run at once and what each gets. Raises ValueError when not even one fits."""
    import ray

    have = ray.cluster_resources()
    num_cpus, num_gpus = have.get("CPU", 0.0), have.get("GPU", 0.0)
    gpus = settings.gpus_per_trial
    if gpus is None:
        gpus = 1.0 if num_gpus >= 1 else 0.0
    cpus = settings.cpus_per_trial
    if cpus is None:
        cpus = max(1.0, num_cpus * gpus // num_gpus) if gpus else 1.0
    if cpus > num_cpus or gpus > num_gpus:
        raise ValueError(
            f"one trial asks for {cpus:g} CPUs and {gpus:g} GPUs, Ray has {num_cpus:g} CPUs and {num_gpus:g} GPUs: "
            "lower --cpus-per-trial or --gpus-per-trial"
        )
    fit = min(num_cpus // cpus, num_gpus // gpus if gpus else num_cpus)
    num_workers = int(min(fit, settings.max_concurrent or fit))
    return Workers(num_workers, cpus, gpus, max(1, int(cpus)))


class Stopping:
    """Knows whether to wind up: Ctrl-C or SIGTERM, the time budget, or failures that all have one reason.

    The first signal lets each training finish its epoch and keep a checkpoint; the second leaves at once.
    """

    def __init__(self, run: RunDirectory, say: Callable[[str], None]) -> None:
        self.run, self.say = run, say
        self.by_signal = False
        self.reason = ""
        self.deadline: float | None = None
        self.run.stop_file.unlink(missing_ok=True)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self.on_signal)

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.by_signal:
            print("\nleft at once; resume with the command above", file=sys.stderr, flush=True)
            os._exit(130)
        self.by_signal = True
        self.ask(
            f"{signal.Signals(number).name}: each training finishes its epoch and keeps a checkpoint. "
            "Once more leaves at once.\n"
            f"resume with:  python -m tune_sketch.search --resume {self.run.path}"
        )

    def ask(self, reason: str) -> None:
        """Begin to wind up."""
        self.reason = reason
        try:
            self.run.stop_file.touch()  # trainings look for it after every epoch and keep a checkpoint
        except OSError as error:
            reason += f" (no file can be written: {error})"
        self.say(reason)

    def asked(self) -> bool:
        """Whether to wind up; looks at the clock as well."""
        if not self.reason and self.deadline is not None and time.time() > self.deadline:
            self.ask("the time budget is spent: the search ends, each training finishes its epoch")
        return bool(self.reason)

    def look_at_failures(self, journal: Journal) -> None:
        """Wind up when every trial so far has failed, at least three, and all for one reason."""
        ended = [record for record in journal.trials if not record.is_unfinished]
        errors = {record.error for record in ended}
        failed = all(record.status in ("failed", "out_of_memory") for record in ended)
        if not self.reason and len(ended) >= NUM_SAME_FAILURES and failed and len(errors) == 1:
            self.ask(f"every trial fails for one reason, so the search ends: {errors.pop()}")

    def clear(self) -> None:
        """Forget a spent time budget: what comes after the search is not part of it."""
        if not self.by_signal:
            self.reason, self.deadline = "", None
            self.run.stop_file.unlink(missing_ok=True)


def run_trainings(searcher: Any, scheduler: JournaledASHA, run: RunDirectory, workers: Workers) -> None:
    """Let Ray Tune run what the searcher suggests until it has no more, one process per worker, reused."""
    from ray import tune

    from trainables.trial import SketchTrial

    tuner = tune.Tuner(
        tune.with_resources(SketchTrial, workers.resources()),
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=scheduler,
            num_samples=-1,  # the searcher says when it has no more
            max_concurrent_trials=workers.num_workers,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(run.ray.absolute()),
            verbose=0,
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),  # we keep our own
            failure_config=tune.FailureConfig(max_failures=0),  # the searcher hands a dead trial out again
        ),
    )
    try:
        tuner.fit()
    except tune.TuneError as error:
        raise scheduler.journal.error or error from None
    shutil.rmtree(run.ray, ignore_errors=True)  # Ray's own snapshots: the journal is what a resume starts from


def make_job(
    record: Record, run: RunDirectory, search: dict[str, Any], settings: SearchSettings, num_threads: int
) -> dict[str, Any]:
    """Everything that one training needs to know, as plain JSON."""
    path = run.path.absolute()
    return {
        "key": record.key,
        "model": settings.model,
        "config": record.config,
        "seed": record.seed,
        "data_cache": search["data"]["cache"],
        "splits": str(path / "splits.csv"),
        "checkpoints": str(RunDirectory(path).checkpoints(record.key)),
        "checkpoint_epochs": settings.checkpoint_epochs,
        "stop_file": str(path / "stop"),
        "weights_path": search["weights"]["path"],
        "pretrained": search["weights"]["pretrained"],
        "invert": settings.invert,
        "num_threads": num_threads,
    }

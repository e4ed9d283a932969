"""Runs trainings on Ray: starts or joins it, drives one Tuner, and stops when asked or when nothing can succeed."""

import logging
import math
import os
import secrets
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Any

from tune_sketch.config.settings import SearchSettings
from tune_sketch.storage.journal import Journal, Record
from tune_sketch.storage.run_directory import RunDirectory
from tune_sketch.trainables.importing import import_ahead

if TYPE_CHECKING:  # Ray Tune takes a second to import, for which no wrong flag need wait
    from tune_sketch.backend.scheduler import JournaledASHA

OF_A_SEARCH = tuple(f"tune_sketch.{name}" for name in ("scheduler", "strategies", "tensorboard_log", "watching"))
MOST_THREADS = 8.0  # of one training on a CPU, though cores be idle: more were not measured
QUIET: dict[str, Any] = {"log_to_driver": False, "logging_level": "error", "configure_logging": True}
NUM_SAME_FAILURES = 3  # when the first so many trials fail for one reason, and none succeeded, the search ends


@dataclass(frozen=True)
class Workers:
    """How a search's trainings are placed on the machines that Ray has."""

    num_workers: int  # trainings at once, on the machines that there are now
    most: int | None  # trainings at once; None: one more than fits, which makes a cluster grow
    cpus: float  # of each
    gpus: float
    num_threads: int  # of torch in each

    def resources(self) -> dict[str, float]:
        return {"cpu": self.cpus, "gpu": self.gpus}

    def have_room(self, num_running: int) -> bool:
        """Whether another training may be begun beside so many: machines join and leave a cluster."""
        most = self.most if self.most is not None else count_places(self.cpus, self.gpus) + 1
        return num_running < most


def start_ray(address: str | None) -> None:
    """Join the cluster at `address`, or start Ray on this machine alone, behind a token that only we know.

    On one machine too, since Ray listens on all of its addresses. Raises ValueError when no cluster at the address
    takes us.
    """
    if "ray" in sys.modules and sys.modules["ray"].is_initialized():
        return  # by the search of an earlier model
    # Endings carry no accuracy: a trial that diverged has none, and none is made up for it.
    os.environ["TUNE_DISABLE_STRICT_METRIC_CHECKING"] = "1"
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"  # our own files are cleaner, see run_directory.py
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"  # its boxes, which verbose=0 does not silence
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"  # ours checkpoints, see Stopping
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = "10000"  # how many may run or wait is for Workers.have_room to say
    os.environ["TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S"] = "0"
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # Ray would start a process per core beforehand; Tune's trials, with an environment of their own, cannot use these
    os.environ.setdefault("RAY_prestart_worker_first_driver", "false")
    if address is None:
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    import ray
    from ray._raylet import Config  # type: ignore[attr-defined]

    Config.initialize("")  # read the environment again: ray may have been imported before the token was made
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # what goes wrong is said by our own scheduler
    ahead = threading.Thread(target=import_ahead, args=(OF_A_SEARCH,), daemon=True)  # while Ray's processes start
    ahead.start()
    if address is None:
        ray.init(address="local", include_dashboard=False, **QUIET)  # "local": not where RAY_ADDRESS points
    else:
        join_cluster(address)
    ahead.join()


def join_cluster(address: str) -> None:
    """Connect to a Ray that runs. Raises ValueError when none answers there, or when it does not take us."""
    import ray
    from ray.exceptions import AuthenticationError

    try:
        ray.init(address=address, **QUIET)
    except ConnectionError as error:
        raise ValueError(f"--address {address}: no Ray cluster answers there ({error})") from None
    except AuthenticationError:
        raise ValueError(
            f"--address {address}: that cluster asks for its token: set RAY_AUTH_MODE=token and put the token into "
            "~/.ray/auth_token"
        ) from None


def place(settings: SearchSettings, num_trainings: int, *, trials_per_gpu: int = 1, may_grow: bool = False) -> Workers:
    """How many of so many trainings run at once and what each gets; one training is on one machine.

    trials_per_gpu: what was measured, for where --gpus-per-trial does not say. may_grow: machines may join later, as in
    a cluster that starts them when trials wait. Raises ValueError when no machine can take one training, unless a
    cluster may grow and was told what a training needs.
    """
    machines = list_machines()
    at_once = min(num_trainings, settings.max_concurrent or num_trainings)
    gpus = settings.gpus_per_trial
    if gpus is None:
        num_gpus = sum(int(have.get("GPU", 0.0)) for have in machines)
        # Ray counts in ten-thousandths. Rather every GPU with one training than one GPU with all.
        gpus = 10_000 // min(trials_per_gpu, math.ceil(at_once / num_gpus)) / 10_000 if num_gpus else 0.0
    cpus = settings.cpus_per_trial
    if cpus is None:
        cpus = share_of_cores(machines, gpus, at_once)
    num_workers = count_places(cpus, gpus)
    if num_workers == 0 and not (may_grow and settings.gpus_per_trial is not None):
        most_cpus = max((have.get("CPU", 0.0) for have in machines), default=0.0)
        most_gpus = max((have.get("GPU", 0.0) for have in machines), default=0.0)
        raise ValueError(
            f"one trial asks for {cpus:g} CPUs and {gpus:g} GPUs, the largest machine has {most_cpus:g} CPUs and "
            f"{most_gpus:g} GPUs: lower --cpus-per-trial or --gpus-per-trial"
            + (", or give --gpus-per-trial to wait for machines that have as many" if may_grow else "")
        )
    most = settings.max_concurrent if may_grow else min(num_workers, settings.max_concurrent or num_workers)
    return Workers(max(1, min(num_workers, most or num_workers)), most, cpus, gpus, max(1, int(cpus)))


def share_of_cores(machines: list[dict[str, float]], gpus: float, at_once: int) -> float:
    """Cores of one training, which has as many threads.

    With GPUs, its GPU's share, so that none of a machine's GPUs is left without. Else one core, for trainings beside
    each other use cores better than threads do (benchmarks/packing.py), and more only where cores would be idle.
    """
    if gpus:
        shares = [have.get("CPU", 0.0) * gpus // have["GPU"] for have in machines if have.get("GPU", 0.0)]
        return max(1.0, min(shares, default=1.0))
    cores = [have["CPU"] for have in machines if have.get("CPU", 0.0) >= 1]
    return max(1.0, min([sum(cores) // at_once, MOST_THREADS, *cores]))


def list_machines() -> list[dict[str, float]]:
    """What each machine that Ray has now offers: {"CPU": 48.0, "GPU": 4.0, ...}."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def count_places(cpus: float, gpus: float) -> int:
    """How many trainings the machines that Ray has now can take at once."""
    num_places = 0
    for have in list_machines():
        num_places += int(min(have.get("CPU", 0.0) // cpus, count_on_gpus(have.get("GPU", 0.0), gpus)))
    return num_places


def count_on_gpus(num_gpus: float, gpus: float) -> float:
    """How many trainings so many GPUs take: one is on whole GPUs, or on a fraction of a single one."""
    if gpus >= 1 or not gpus:
        return num_gpus // gpus if gpus else math.inf
    return int(num_gpus) * int(1 / gpus + 1e-9)


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


def run_trainings(searcher: Any, scheduler: "JournaledASHA", run: RunDirectory, workers: Workers) -> None:
    """Let Ray Tune run what the searcher suggests until it has no more, one process per worker, reused."""
    from ray import tune

    from tune_sketch.trainables.trial import SketchTrial

    tuner = tune.Tuner(
        tune.with_resources(SketchTrial, workers.resources()),
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=scheduler,
            num_samples=-1,  # the searcher says when it has no more
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
        raise scheduler.journal.error or scheduler.error or error from None
    finally:
        shutil.rmtree(run.ray, ignore_errors=True)  # Ray's own snapshots: the journal is what a resume starts from


def make_job(
    record: Record,
    run: RunDirectory,
    search: dict[str, Any],
    settings: SearchSettings,
    num_threads: int,
    gpus: float,
) -> dict[str, Any]:
    """Everything that one training needs to know, as plain JSON."""
    path = run.path.absolute()
    return {
        "key": record.key,
        "model": settings.model,
        "config": record.config,
        "seed": record.seed,
        "data_cache": search["data"]["published"],
        "splits": str(path / "splits.csv"),
        "checkpoints": str(RunDirectory(path).checkpoints(record.key)),
        "checkpoint_epochs": settings.checkpoint_epochs,
        "stop_file": str(path / "stop"),
        "weights_path": search["weights"]["path"],
        "pretrained": search["weights"]["pretrained"],
        "frozen_views": settings.frozen_views,
        # Trials that augment alike share views; a retraining on a fresh seed has its own.
        "views_seed": record.seed if record.is_retraining else settings.seed,
        "invert": settings.invert,
        "num_threads": num_threads,
        "num_processes": settings.num_processes,
        "gpus": gpus,
    }

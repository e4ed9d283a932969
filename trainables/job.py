"""Trains the epochs of a job in this process, keeps their checkpoints, and reports each."""

import contextlib
import os
import tempfile
import time
import traceback
import warnings
from collections.abc import Generator, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

import tune_sketch.events as events
from tune_sketch.data import NotStagedError, SketchData, open_data, stage_data
from tune_sketch.data.splits import Splits, hash_splits, read_splits
from tune_sketch.events import (
    Config,
    EndingReport,
    EpochReport,
    HinderedReport,
    Job,
    NotWrittenReport,
    Scores,
    TestResult,
)
from tune_sketch.trainables.averaging import best_weights
from tune_sketch.trainables.batches import SplitArrays, TrainingSplits
from tune_sketch.trainables.calibration import fit_temperature
from tune_sketch.trainables.checkpoints import (
    CheckpointNotWrittenError,
    Payload,
    read_newest_checkpoint,
    write_checkpoint,
)
from tune_sketch.trainables.evaluation import evaluate, predict_logits
from tune_sketch.trainables.networks.build import build_model
from tune_sketch.trainables.networks.weights import load_all, load_weights
from tune_sketch.trainables.speed.data_parallel import Rank, StepReport, Worker, WorkerGroup
from tune_sketch.trainables.speed.devices import device_of, keep_freed_memory
from tune_sketch.trainables.speed.feature_cache import CachePolicy
from tune_sketch.trainables.training import DivergedError, Metrics, OutOfMemoryError, State, fit

PAUSE_SECONDS = 1.0  # before a step that failed through no fault of its training is tried again


class InputsError(Exception):
    """An input of a training cannot be read: drawings, their division, initial weights."""


def make_worker(num_processes: int, process: events.Worker) -> Worker:
    """A trainer of jobs: this process, or a group of that many. process: reported with every epoch."""
    if num_processes == 1:
        return LocalWorker(process)
    return WorkerGroup(num_processes, partial(LocalWorker, process))


class LocalWorker:
    """Trains the epochs of a job in this process, each with its checkpoint.

    Errors are reported, not raised, so that only what a retry can mend is retried. Where the disk is full, the epoch
    is kept in memory, and the next step tries again to write it. Of a group the first process writes.
    """

    def __init__(self, process: events.Worker, rank: Rank = Rank()) -> None:  # noqa: B008  (immutable)
        self.process, self.rank = process, rank
        self.epochs: Generator[tuple[Metrics, State], None, None] | None = None

    def begin(self, job: Job) -> None:
        """Note the job, and let go of the one before. The work begins in `step`, where an error can be reported."""
        self.close()
        self.job = job
        self.epochs = None
        self.trained: Payload | None = None  # an epoch that is neither safe nor reported yet
        self.checkpoint_epoch = 0
        self.warning = ""

    def step(self) -> StepReport:
        """Train one epoch, keep a checkpoint where one is due, and report. Raises NotStagedError."""
        try:
            return self.train_epoch()
        except DivergedError as error:
            return EndingReport("diverged", str(error))
        except OutOfMemoryError as error:
            return EndingReport("out_of_memory", str(error))
        except CheckpointNotWrittenError as error:  # no fault of the trial: there may be room in a while
            time.sleep(PAUSE_SECONDS)
            return NotWrittenReport(str(error))
        except NotStagedError:  # to be tried again, perhaps on a machine that can reach the data
            raise
        except (InputsError, OSError, MemoryError, ImportError, torch.AcceleratorError):
            time.sleep(PAUSE_SECONDS)  # it may pass: it is no fault of the configuration
            return HinderedReport(traceback.format_exc())
        except Exception:  # an error in the code is a failed trial with its traceback
            return EndingReport("failed", traceback.format_exc())

    def train_epoch(self) -> EpochReport:
        """One epoch of fit(), or once, after a checkpoint was loaded, the epoch that it was made at."""
        job = self.job
        if self.epochs is None:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                self.epochs, resumed = start(job, self.rank)
            self.warning = "; ".join(str(warning.message) for warning in caught if "checkpoint" in str(warning.message))
            if resumed is not None:
                # Reported again: the driver may have died before it recorded this epoch.
                self.checkpoint_epoch = int(resumed["epoch"])
                return self.report(resumed)
        if self.trained is None:
            metrics, state = next(self.epochs)
            self.trained = {"key": job.key, "config": job.config, "metrics": metrics, "state": state}
        metrics = self.trained["metrics"]
        epoch = int(metrics["epoch"])
        is_last = epoch == job.config["epochs"]
        if epoch % job.checkpoint_epochs == 0 or is_last or Path(job.stop_file).exists():
            if self.rank.index == 0:
                write_checkpoint(Path(job.checkpoints), epoch, self.trained)
            self.checkpoint_epoch = epoch
        self.trained = None
        return self.report(metrics)

    def report(self, metrics: Metrics) -> EpochReport:
        warning, self.warning = self.warning, ""
        return EpochReport(
            number=int(metrics["epoch"]),
            metrics={name: value for name, value in metrics.items() if name != "epoch"},
            worker=replace(self.process, process=os.getpid()),
            checkpoint_epoch=self.checkpoint_epoch,
            warning=warning,
        )

    def close(self) -> None:
        """Close the epoch generator, which may hold a prefetching thread."""
        if self.epochs is not None:
            self.epochs.close()


def start(
    job: Job,
    rank: Rank = Rank(),  # noqa: B008  (immutable)
) -> tuple[Generator[tuple[Metrics, State], None, None], Metrics | None]:
    """(the epochs still to train, metrics of the checkpoint's epoch or None) for a new or a resumed job."""
    model, splits, device = open_job(job)
    checkpoint = read_newest_checkpoint(Path(job.checkpoints), lambda epoch, payload: objection(epoch, payload, job))
    payload = checkpoint[1] if checkpoint else None
    epochs = fit(
        model,
        splits,
        job.config,
        seed=job.seed,
        device=device,
        pretrained=job.pretrained,
        cache_policy=CachePolicy(job.frozen_views, job.views_seed),
        state=payload["state"] if payload else read_followed_state(job),
        rank=rank,
    )
    return epochs, payload["metrics"] if payload else None


def read_followed_state(job: Job) -> State | None:
    """The state of the training that a job goes on from, its epochs counted anew, for it is on other drawings.

    None where it follows none. None too where that one's checkpoints are gone, as they are once the test split has been
    read: the network goes on from its kept weights, with a warning, and its optimizer begins anew.
    """
    if job.followed is None:
        return None
    checkpoint = read_newest_checkpoint(Path(job.followed))
    if checkpoint is None:
        warnings.warn(f"no checkpoint is left in {job.followed}: its optimizer begins anew", stacklevel=2)
        return None
    state: State = checkpoint[1]["state"]
    return state | {"epoch": 0, "frozen": None}


def objection(epoch: int, payload: Payload, job: Job) -> str:
    """Why a job cannot go on from a checkpoint, or nothing: it is of another training, or ahead of the journal.

    The journal decides. An epoch that the driver died before it recorded is one ahead. What an earlier version did not
    have in a configuration is off in it.
    """
    config: Config = payload.get("config", {})
    if payload.get("key") != job.key or not config.items() <= job.config.items():
        return f"it belongs to {payload.get('key')} with another configuration, not to {job.key}"
    if job.num_recorded is not None and epoch > job.num_recorded + 1:
        return f"it is of epoch {epoch}, and the record of the search knows {job.num_recorded}"
    return ""


@contextlib.contextmanager
def reading_inputs() -> Iterator[None]:
    """Within it every error is an InputsError, but for those that another machine may not have."""
    try:
        yield
    except (NotStagedError, MemoryError):
        raise
    except Exception as error:
        raise InputsError(str(error)) from error


def read_job_splits(job: Job, data: SketchData) -> Splits:
    """The division of the drawings. Raises ValueError when it is not that with which the search began."""
    splits = read_splits(Path(job.splits), data)
    if job.splits_sha256 is not None and hash_splits(data, splits) != job.splits_sha256:
        raise ValueError(f"{job.splits} has been changed since the search began")
    return splits


def open_job(job: Job) -> tuple[nn.Module, TrainingSplits, str]:
    """(network, training and validation arrays, device) of a job: of a last step all to train on, none to validate."""
    torch.set_num_threads(max(1, job.num_threads // job.num_processes))
    keep_freed_memory()
    with reading_inputs():
        data = open_data(stage_data(job.data))
        splits = read_job_splits(job, data)
    torch.manual_seed(job.seed)  # initial weights; fit() reseeds every epoch from (seed, epoch)
    model = build_model(
        job.model,
        len(data.class_names),
        dropout=float(job.config["dropout"]),
        freeze=str(job.config["freeze"]),
        head=str(job.config["head"]),
        image_px=data.images.shape[1],
    )
    with reading_inputs():
        if job.network is not None:
            load_all(model, Path(job.network))
        elif job.weights is not None:
            load_weights(model, job.weights, data.class_names)
    train, validation = splits.train, splits.validation
    if job.trains_on_validation:
        train, validation = np.union1d(train, validation), validation[:0]
    arrays = TrainingSplits(
        # Views of the memory map: all trials of a machine share its pages, none copies the drawings.
        train=SplitArrays(data.images, data.labels, indices=train),
        validation=SplitArrays(data.images, data.labels, indices=validation),
        num_classes=len(data.class_names),
        invert=job.invert,
        fingerprint=data.fingerprint,
    )
    return model, arrays, device_of(job.gpus)


def time_epoch(job: Job) -> float:
    """Seconds of one epoch of a job, after a first one that warms up; nothing is kept.

    Raises ValueError with the reason where the job cannot be trained.
    """
    with tempfile.TemporaryDirectory() as folder:
        timing = replace(
            job,
            key="timing",
            config=job.config | {"epochs": 3},  # the last would write a checkpoint
            checkpoints=folder,
            checkpoint_epochs=3,
            stop_file=f"{folder}/stop",
            frozen_views=0,
            views_seed=0,
        )
        worker = make_worker(job.num_processes, events.Worker("", os.getpid()))
        try:
            worker.begin(timing)
            for _ in range(2):
                report = worker.step()
                if not isinstance(report, EpochReport):
                    reason = report.error.strip().splitlines()[-1]
                    raise ValueError(f"the paper's configuration cannot be trained: {reason}")
                seconds = report.metrics["epoch_seconds"]
        finally:
            worker.close()
    return seconds


def keep_weights(checkpoints: Path, path: Path, key: str) -> None:
    """Write the weights of the finished training `key`, from its newest checkpoint, unless they are kept already."""
    if path.exists():
        return
    checkpoint = read_newest_checkpoint(
        checkpoints,
        lambda _, payload: "" if payload.get("key") == key else f"it belongs to {payload.get('key')}",
    )
    if checkpoint is None:
        raise ValueError(f"{checkpoints} holds no checkpoint that can be read")
    temporary = path.with_name(f".{path.name}.tmp")
    torch.save(best_weights(checkpoint[1]["state"]), temporary)
    os.replace(temporary, path)


def score_on_test(job: Job, weights: str) -> Scores:
    """The test result of retrained weights, with their probabilities on the test and the validation split.

    The probabilities are calibrated on the validation split, or by the job's temperature where that was trained on.
    """
    torch.set_num_threads(job.num_threads)
    data = open_data(stage_data(job.data))
    splits = read_job_splits(job, data)
    model = build_model(
        job.model,
        len(data.class_names),
        dropout=float(job.config["dropout"]),
        head=str(job.config["head"]),
        image_px=data.images.shape[1],
    )
    load_all(model, Path(weights))
    predict = partial(predict_logits, model, device=device_of(job.gpus), pretrained=job.pretrained)
    temperature, validation = job.temperature, None
    if not job.trains_on_validation:
        logits = predict(data.images[splits.validation]).cpu()
        temperature = fit_temperature(logits.numpy(), data.labels[splits.validation])
        validation = (logits / temperature).softmax(dim=1).numpy()
    probabilities = (predict(data.images[splits.test]).cpu() / temperature).softmax(dim=1).numpy()
    result = TestResult(evaluate(probabilities, data.labels[splits.test]), len(splits.test), temperature)
    return Scores(result, probabilities, validation)

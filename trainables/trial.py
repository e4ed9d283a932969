"""Runs one training as a Ray Tune trainable: drives fit() an epoch at a time, reports it, keeps checkpoints."""

import os
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray.util
from ray import tune

from tune_sketch.trainables.importing import import_ahead

if TYPE_CHECKING:  # torch takes seconds to import; the driver, which imports this file, does without
    from tune_sketch.trainables.speed.data_parallel import Share, Team


class SketchTrial(tune.Trainable):
    """One training, one epoch per `step`. ASHA stops it by not asking for the next.

    The job (the `config` that Ray hands over) is plain JSON made by `make_job` (backend/execution.py): key, model,
    config, seed, paths of data, splits, weights and checkpoints. With more than one GPU the job is a team's. A step's
    result is that of `Training.step`; an error is raised only for what a retry can mend: a process that died, or a
    machine that cannot get at the data (NotStagedError).
    """

    def setup(self, config: dict[str, Any]) -> None:
        """Only hand on the job: the work begins in `step`, where an error can be reported."""
        self.trainer = make_trainer(config["num_processes"])
        self.trainer.begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next job in the same process, which has torch and the data loaded already."""
        self.trainer.begin(new_config)
        return True

    def step(self) -> dict[str, Any]:
        return self.trainer.step()

    def cleanup(self) -> None:
        self.trainer.close()


def make_trainer(num_processes: int) -> "Training | Team":
    """What trains jobs: this process, or a team of so many."""
    if num_processes == 1:
        return Training()
    from tune_sketch.trainables.speed.data_parallel import Team

    return Team(num_processes, Training)


class Training:
    """A job's epochs in this process, each with its checkpoint.

    A step's result holds `status`: "epoch" with `metrics`, or one of the endings "diverged", "out_of_memory", "failed"
    with `error`, or "not_written" where the disk is full: then the epoch is kept in memory, and the next step
    tries again to write it. Errors are reported, not raised, so that only what a retry can mend is retried. The first
    process of a team writes.
    """

    def __init__(self, share: "Share | None" = None) -> None:
        self.share = share  # None: all of every batch
        self.epochs: Iterator[tuple[dict, dict]] | None = None

    def begin(self, job: dict[str, Any]) -> None:
        """Note the job, and let go of the one before."""
        self.close()
        self.job = job
        self.epochs = None
        self.trained: dict[str, Any] | None = None  # an epoch that is neither safe nor reported yet
        self.checkpoint_epoch = 0
        self.warning = ""

    def step(self) -> dict[str, Any]:
        """Train one epoch, keep a checkpoint where one is due, and report."""
        # torch._dynamo, as an optimizer's first step would
        import_ahead(("tune_sketch.trainables.training", "torch._dynamo"))
        from tune_sketch.data import NotStagedError
        from tune_sketch.trainables.checkpoints import CheckpointNotWritten
        from tune_sketch.trainables.training import Diverged, OutOfMemory

        try:
            return self.train_epoch()
        except Diverged as error:
            ending, text = "diverged", str(error)
        except OutOfMemory as error:
            ending, text = "out_of_memory", str(error)
        except CheckpointNotWritten as error:  # no fault of the trial: there may be room in a while
            time.sleep(1.0)
            ending, text = "not_written", str(error)
        except NotStagedError:  # perhaps this machine alone cannot reach the data: to be tried again, on another
            raise
        except Exception:  # an error in the code or the machine is a failed trial with its traceback
            ending, text = "failed", traceback.format_exc()
        return {"status": ending, "error": text}

    def train_epoch(self) -> dict[str, Any]:
        """One epoch of fit(), or once, after a checkpoint was loaded, the epoch that it was made at."""
        from tune_sketch.trainables.checkpoints import write_checkpoint

        job = self.job
        if self.epochs is None:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                self.epochs, metrics = start(job, self.share)
            self.warning = "; ".join(str(warning.message) for warning in caught if "checkpoint" in str(warning.message))
            if metrics is not None:
                # Reported again: the driver may have died before it recorded this epoch.
                self.checkpoint_epoch = metrics["epoch"]
                return self.report(metrics)
        if self.trained is None:
            metrics, state = next(self.epochs)
            self.trained = {"key": job["key"], "config": job["config"], "metrics": metrics, "state": state}
        metrics = self.trained["metrics"]
        epoch = metrics["epoch"]
        is_last = epoch == job["config"]["epochs"]
        if epoch % job["checkpoint_epochs"] == 0 or is_last or Path(job["stop_file"]).exists():
            if self.share is None or self.share.rank == 0:
                write_checkpoint(Path(job["checkpoints"]), epoch, self.trained)
            self.checkpoint_epoch = epoch
        self.trained = None
        return self.report(metrics)

    def report(self, metrics: dict[str, Any]) -> dict[str, Any]:
        warning, self.warning = self.warning, ""
        return {
            "status": "epoch",
            "warning": warning,
            "epoch": metrics["epoch"],
            "val_top1": metrics["val_top1"],
            "metrics": metrics | find_place(),
            "checkpoint_epoch": self.checkpoint_epoch,
        }

    def close(self) -> None:
        """Close the epoch generator, which may hold a prefetching thread."""
        if self.epochs is not None:
            self.epochs.close()  # type: ignore[attr-defined]


def find_place() -> dict[str, Any]:
    """Where this process trains: the machine's address, its own id there, and the GPUs that it sees ("0 1")."""
    gpus = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return {"node": ray.util.get_node_ip_address(), "process": os.getpid(), "gpus": gpus.replace(",", " ")}


def start(
    job: dict[str, Any], share: "Share | None" = None
) -> tuple[Iterator[tuple[dict, dict]], dict[str, Any] | None]:
    """(the epochs still to train, metrics of the checkpoint's epoch or None) for a new or a resumed job."""
    from tune_sketch.trainables.checkpoints import read_newest_checkpoint
    from tune_sketch.trainables.speed.data_parallel import Share
    from tune_sketch.trainables.speed.feature_cache import FrozenViews
    from tune_sketch.trainables.training import fit

    model, splits, device = open_job(job)
    checkpoint = read_newest_checkpoint(Path(job["checkpoints"]))
    payload = checkpoint[1] if checkpoint else None
    if payload is not None and (payload["key"], payload["config"]) != (job["key"], job["config"]):
        raise ValueError(
            f"the checkpoint in {job['checkpoints']} belongs to {payload['key']} with another configuration, "
            f"not to {job['key']}: remove that folder to train it anew"
        )
    epochs = fit(
        model,
        splits,
        job["config"],
        seed=job["seed"],
        device=device,
        pretrained=job["pretrained"],
        frozen_views=FrozenViews(job["frozen_views"], job["views_seed"]),
        state=payload["state"] if payload else None,
        share=share or Share(),
    )
    return epochs, payload["metrics"] if payload else None


def open_job(job: dict[str, Any]) -> tuple[Any, Any, str]:
    """(network, training and validation arrays, device) of a job."""
    import torch

    from tune_sketch.data import open_data, stage_data
    from tune_sketch.data.splits import read_splits
    from tune_sketch.trainables.networks.architecture import build_model
    from tune_sketch.trainables.speed.devices import keep_freed_memory
    from tune_sketch.trainables.training import SplitArrays, TrainingSplits

    torch.set_num_threads(max(1, int(job["num_threads"]) // job["num_processes"]))
    keep_freed_memory()
    data = open_data(stage_data(job["data_cache"]))
    if isinstance(job["splits"], str):
        splits = read_splits(Path(job["splits"]), data)
        train, validation = splits.train, splits.validation
    else:
        train, validation = job["splits"]  # of a dry run, which writes no file
    config = job["config"]
    torch.manual_seed(job["seed"])  # initial weights; fit() reseeds every epoch from (seed, epoch)
    model = build_model(
        job["model"],
        len(data.class_names),
        dropout=config.get("dropout", 0.0),
        freeze=config["freeze"],
        weights_path=job["weights_path"],
    )
    arrays = TrainingSplits(
        # Views of the memory map: all trials of a machine share its pages, none copies the drawings.
        train=SplitArrays(data.images, data.labels, indices=train),
        validation=SplitArrays(data.images, data.labels, indices=validation),
        num_classes=len(data.class_names),
        invert=job["invert"],
        fingerprint=data.fingerprint,
    )
    return model, arrays, device_of(job)


def device_of(job: dict[str, Any]) -> str:
    """The device that Ray gave the trial, of which it may use its fraction."""
    from tune_sketch.trainables.speed.devices import default_device, limit_cuda_memory

    device = default_device()
    if device != "cuda":
        return device
    if not job["gpus"]:
        return "cpu"
    limit_cuda_memory(job["gpus"])
    return device


def time_epoch(job: dict[str, Any]) -> float:
    """Seconds of one epoch of a job, after a first one that warms up; nothing is kept."""
    with tempfile.TemporaryDirectory() as folder:
        config = job["config"] | {"epochs": 3}  # the last would write a checkpoint
        paths = {"checkpoints": folder, "checkpoint_epochs": 3, "stop_file": f"{folder}/stop"}
        timing = {"key": "timing", "config": config, "frozen_views": 0, "views_seed": 0}
        trainer = make_trainer(job["num_processes"])
        try:
            trainer.begin(job | paths | timing)
            for _ in range(2):
                result = trainer.step()
                if result["status"] != "epoch":
                    reason = result["error"].strip().splitlines()[-1]
                    raise ValueError(f"the study's configuration cannot be trained: {reason}")
        finally:
            trainer.close()
    return result["metrics"]["epoch_seconds"]


def keep_weights(checkpoints: Path, path: Path) -> None:
    """Write the weights of a finished training, from its newest checkpoint, unless they are kept already."""
    import torch

    from tune_sketch.trainables.checkpoints import read_newest_checkpoint

    if path.exists():
        return
    checkpoint = read_newest_checkpoint(checkpoints)
    if checkpoint is None:
        raise ValueError(f"{checkpoints} holds no checkpoint that can be read")
    temporary = path.with_name(f".{path.name}.tmp")
    torch.save(checkpoint[1]["state"]["model"], temporary)
    os.replace(temporary, path)


def score_on_test(job: dict[str, Any], weights: str) -> tuple[dict[str, Any], Any]:
    """(metrics, probabilities float32 [num_test, num_classes]) of retrained weights on the test split."""
    import torch

    from tune_sketch.data import open_data, stage_data
    from tune_sketch.data.splits import read_splits
    from tune_sketch.trainables.networks.architecture import build_model
    from tune_sketch.trainables.training import evaluate, predict_probabilities

    torch.set_num_threads(job["num_threads"])
    data = open_data(stage_data(job["data_cache"]))
    test = read_splits(Path(job["splits"]), data).test
    model = build_model(job["model"], len(data.class_names), dropout=job["config"].get("dropout", 0.0))
    model.load_state_dict(torch.load(weights, weights_only=True, map_location="cpu"))
    probabilities = predict_probabilities(
        model, data.images[test], device=device_of(job), invert=job["invert"], pretrained=job["pretrained"]
    )
    return evaluate(probabilities, data.labels[test]) | {"num_images": len(test)}, probabilities

"""Builds small run directories through the real journal and data layer, without any training."""

import math
import time
from pathlib import Path
from unittest import mock

import numpy as np
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from tune_sketch.config.plan import Inputs, describe_data, describe_machine
from tune_sketch.config.settings import SearchSettings
from tune_sketch.data import open_data, prepare_data
from tune_sketch.data.splits import make_splits, read_splits, write_splits
from tune_sketch.schedulers.rungs import rung_epochs
from tune_sketch.search_spaces import SPACES
from tune_sketch.search_spaces.common import SpaceLimits
from tune_sketch.storage.journal import Journal, Record
from tune_sketch.storage.run_directory import RunDirectory, write_json, write_tables

DISTRIBUTIONS = {
    "optimizer": CategoricalDistribution(("sgd", "rmsprop", "adam", "adamw")),
    "learning_rate": FloatDistribution(1e-5, 1e-1, log=True),
    "batch_size": CategoricalDistribution((16, 32, 64, 128)),
    "dropout": FloatDistribution(0.0, 0.7),
    "flip": CategoricalDistribution((False, True)),
    "epochs": IntDistribution(1, 1000),
}


def begin_run(path: Path, *, num_samples=12, max_epochs=9, model="baseline", **choices) -> tuple[RunDirectory, Journal]:
    """A run directory as a search leaves it before its first trial: search.json, splits.csv, an empty study."""
    choices = {"data": "doodles", "image_px": 32, "classes": 6, "per_class": 12, "protocol": "small"} | choices
    grace = choices.pop("grace_epochs", 1)
    settings = SearchSettings(
        model=model, num_samples=num_samples, max_epochs=max_epochs, grace_epochs=grace, **choices
    )
    cache = prepare_data(settings.data_request(), cache_dir=path.parent / "cache", progress=False)
    data = open_data(cache)
    splits = make_splits(
        data.labels, data.groups, protocol=settings.protocol, split_by=settings.split_by, seed=settings.seed
    )
    inputs = Inputs(cache, str(cache), data, splits, None, f"{model}: trained from scratch", False)
    run = RunDirectory(path)
    path.mkdir(parents=True)
    write_splits(run.splits_csv, data, splits)
    search = {
        "study_name": "fake",
        "storage": None,
        "settings": settings.to_json(),
        "data": describe_data(settings, inputs),
        "weights": {"path": None, "description": inputs.weights_description, "pretrained": False},
        "sittings": [describe_machine() | {"started_at": 0.0, "address": None}],
    }
    write_json(run.search_json, search)
    return run, Journal(f"sqlite:///{run.study_db}", "fake", create=True)


def add_trials(run: RunDirectory, journal: Journal, num_trials: int, *, failed: int = 0, running: int = 0) -> None:
    """Trials with plausible curves, stopped as ASHA would; the last ones fail or are left running."""
    settings = run.read_settings()
    rungs = rung_epochs(settings.grace_epochs, settings.max_epochs, settings.reduction_factor)
    rng = np.random.default_rng(len(journal.trials))
    limits = SpaceLimits(max_epochs=settings.max_epochs, pretrained=False)
    for place in range(num_trials):
        params = {
            "optimizer": str(rng.choice(["sgd", "rmsprop", "adam", "adamw"])),
            "learning_rate": float(10 ** rng.uniform(-5, -1)),
            "batch_size": int(rng.choice([16, 32, 64, 128])),
            "dropout": float(rng.uniform(0, 0.7)),
            "flip": bool(rng.integers(2)),
            "epochs": settings.max_epochs,
        }
        config = SPACES[settings.model].STUDY | params
        config.pop("decay_kind")
        config["decay"] = float(10 ** rng.uniform(-5, -2)) if rng.integers(2) else 0.0
        if params["optimizer"] == "sgd":
            config["momentum"] = 0.9
        assert limits.max_epochs >= config["epochs"]
        origin = {"kind": "study" if not journal.trials else "random" if place % 3 else "model", "rung": None}
        distributions = {name: DISTRIBUTIONS[name] for name in params}
        record = journal.add_trial(config, params, distributions, seed=place, origin=origin)
        quality = 0.9 - 0.12 * abs(math.log10(params["learning_rate"]) + 3) + 0.02 * rng.normal()
        if place >= num_trials - failed:
            journal.end(record, "diverged" if place % 2 else "failed", error="loss is not finite")
            continue
        passes = [place % 3 == 0, place % 6 == 0, place % 9 == 0]
        reached = [rung for index, rung in enumerate(rungs) if all(passes[:index])]
        add_epochs(journal, record, reached[-1] if place < num_trials - running - failed else 1, quality)
        if place < num_trials - failed - running:
            journal.end(record, "completed" if reached[-1] == settings.max_epochs else "stopped")


def add_epochs(journal: Journal, record: Record, num_epochs: int, quality: float) -> None:
    """Epochs with a curve that rises towards `quality`, on that of two workers which is free first."""
    free_at = journal.__dict__.setdefault("fake_free_at", [time.time()] * 2)
    worker = free_at.index(min(free_at))
    free_at[worker] += 0.5  # to begin
    for epoch in range(1, num_epochs + 1):
        top1 = quality * (1 - math.exp(-epoch / 3))
        metrics = {
            "epoch": epoch,
            "train_loss": 3 * math.exp(-epoch / 4),
            "train_top1": min(1.0, top1 + 0.05),
            "train_top5": min(1.0, top1 + 0.2),
            "val_loss": 3.2 * math.exp(-epoch / 5) + 1 - quality,
            "val_top1": top1,
            "val_top5": min(1.0, top1 + 0.15),
            "learning_rate": record.config["learning_rate"],
            "images_per_second": 500.0,
            "epoch_seconds": 1.5,
            "micro_batch": record.config["batch_size"],
            "frozen_views": 0,
            "node": "127.0.0.1",
            "process": 1000 + worker,
            "gpus": "",
        }
        free_at[worker] += metrics["epoch_seconds"]
        with mock.patch("tune_sketch.storage.journal.time.time", return_value=free_at[worker]):
            journal.record_epoch(record, metrics)


def add_confirmation(run: RunDirectory, journal: Journal, *, seeds: int = 2) -> None:
    """Retrainings of trials 0 and 1, test results, predictions and best/ with random weights of the real network."""
    import torch

    from tune_sketch.retraining.results import write_results
    from tune_sketch.trainables.evaluation import evaluate
    from tune_sketch.trainables.networks.build import build_model

    search, settings = run.read_search(), run.read_settings()
    data = open_data(Path(search["data"]["cache"]))
    test = read_splits(run.splits_csv, data).test
    labels = data.labels[test]
    rng = np.random.default_rng(0)
    run.retrained.mkdir()
    records = []
    for number in (0, 1):
        for index in range(1, seeds + 1):
            record = journal.add_retraining(number, index, journal.trials[number].config, seed=100 + index)
            add_epochs(journal, record, settings.max_epochs, 0.7 + 0.05 * number + 0.01 * index)
            journal.end(record, "completed")
            logits = rng.normal(size=(len(test), len(data.class_names)))
            logits[np.arange(len(test)), labels] += 2.0
            probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
            np.savez_compressed(
                run.retrained / f"{record.key}-test.npz", probabilities=probabilities.astype(np.float32)
            )
            torch.manual_seed(index)
            model = build_model(settings.model, len(data.class_names))
            torch.save(model.state_dict(), run.retrained / f"{record.key}.pt")
            journal.record_test(record, evaluate(probabilities, labels) | {"num_images": len(test)})
            records.append(record)
    best = records[-1]
    write_results(run, search, settings, journal, best.number, best)


def make_finished_run(path: Path, *, num_trials: int = 12, failed: int = 1, **choices) -> RunDirectory:
    """A run directory of a search that was brought to its end."""
    run, journal = begin_run(path, num_samples=num_trials, **choices)
    add_trials(run, journal, num_trials, failed=failed)
    add_confirmation(run, journal)
    write_tables(run, journal)
    journal.close()
    return run

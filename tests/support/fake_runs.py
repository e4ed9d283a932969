"""Builds small run directories through the real journal and data layer, without any training."""

import math
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from tune_sketch.config.plan import Inputs, describe_data
from tune_sketch.config.settings import Settings
from tune_sketch.data import open_data, prepare_data
from tune_sketch.data.splits import read_splits, split_data, write_splits
from tune_sketch.events import Epoch, Proposal, Source, TestResult, Trial, Worker
from tune_sketch.samplers import SAMPLERS
from tune_sketch.samplers.base import SearchTask
from tune_sketch.schedulers.asha import ASHA, NEVER_STOP
from tune_sketch.schedulers.rungs import rung_epochs
from tune_sketch.search_spaces import SPACES, SpaceLimits, paper_configuration
from tune_sketch.storage.database import open_log
from tune_sketch.storage.facts import Facts, Host, Session, WeightsFacts, read_facts, write_facts
from tune_sketch.storage.journal import Journal
from tune_sketch.storage.run_directory import RunDirectory
from tune_sketch.storage.tables import write_tables

DISTRIBUTIONS = {
    "optimizer": CategoricalDistribution(("sgd", "rmsprop", "adam", "adamw")),
    "learning_rate": FloatDistribution(1e-5, 1e-1, log=True),
    "batch_size": CategoricalDistribution((16, 32, 64, 128)),
    "dropout": FloatDistribution(0.0, 0.7),
    "flip": CategoricalDistribution((False, True)),
    "epochs": IntDistribution(1, 1000),
}
EPOCH_SECONDS = 1.5
TEMPERATURE = 1.25  # of every retrained network


class FakeClock:
    """The time of the machine, or a moment that was set; knows when each of two workers is free."""

    def __init__(self) -> None:
        self.moment: float | None = None
        self.free_at = [time.time()] * 2

    def __call__(self) -> float:
        return time.time() if self.moment is None else self.moment


def begin_run(path: Path, *, num_samples=12, max_epochs=9, model="baseline", **choices) -> tuple[RunDirectory, Journal]:
    """A run directory as a search leaves it before its first trial: search.json, splits.csv, an empty journal."""
    common = {"data": "doodles", "image_px": 32, "classes": 6, "per_class": 12, "protocol": "small", "last_step": False}
    choices = common | choices
    grace = choices.pop("grace_epochs", 1)
    settings = Settings(model=model, num_samples=num_samples, max_epochs=max_epochs, grace_epochs=grace, **choices)
    cache = prepare_data(settings.data_request(), cache_dir=path.parent / "cache", progress=False)
    data = open_data(cache)
    splits = split_data(data, protocol=settings.protocol, split_by=settings.split_by, seed=settings.seed)
    weights = WeightsFacts(None, f"{model}: trained from scratch", False)
    run = RunDirectory(path)
    path.mkdir(parents=True)
    write_splits(run.splits_csv, data, splits)
    facts = Facts(
        study_name="fake",
        storage=None,
        settings=settings,
        data=describe_data(settings, Inputs(cache, str(cache), data, splits, weights)),
        weights=weights,
        sessions=(Session(0.0, "then", ("search",), {"python": "3"}, None, Host("Linux", "x86_64", 2)),),
    )
    write_facts(run, facts)
    return run, Journal(open_log(run.journal_log), facts.study_name, create=True, clock=FakeClock())


def add_trials(run: RunDirectory, journal: Journal, num_trials: int, *, failed: int = 0, running: int = 0) -> None:
    """Trials with plausible curves, stopped as ASHA would; the last ones fail or are left running."""
    settings = read_facts(run).settings
    rungs = rung_epochs(settings.grace_epochs, settings.max_epochs, settings.reduction_factor)
    rng = np.random.default_rng(len(journal.trials))
    for index in range(num_trials):
        params = {
            "optimizer": str(rng.choice(["sgd", "rmsprop", "adam", "adamw"])),
            "learning_rate": float(10 ** rng.uniform(-5, -1)),
            "batch_size": int(rng.choice([16, 32, 64, 128])),
            "dropout": float(rng.uniform(0, 0.7)),
            "flip": bool(rng.integers(2)),
            "epochs": settings.max_epochs,
        }
        config = SPACES[settings.model].PAPER | params
        config.pop("decay_kind")
        config["decay"] = float(10 ** rng.uniform(-5, -2)) if rng.integers(2) else 0.0
        if params["optimizer"] == "sgd":
            config["momentum"] = 0.9
        source = Source("paper" if not journal.trials else "random" if index % 3 else "tpe")
        distributions = {name: DISTRIBUTIONS[name] for name in params}
        trial = journal.add_trial(Proposal(config, params, distributions, source), seed=index)
        quality = 0.9 - 0.12 * abs(math.log10(params["learning_rate"]) + 3) + 0.02 * rng.normal()
        if index >= num_trials - failed:
            journal.end(trial.key, "diverged" if index % 2 else "failed", error="loss is not finite")
            continue
        passes = [index % 3 == 0, index % 6 == 0, index % 9 == 0]
        reached = [rung for index, rung in enumerate(rungs) if all(passes[:index])]
        add_epochs(journal, trial, reached[-1] if index < num_trials - running - failed else 1, quality)
        if index < num_trials - failed - running:
            journal.end(trial.key, "completed" if reached[-1] == settings.max_epochs else "stopped")


def add_epochs(journal: Journal, trial: Trial, num_epochs: int, quality: float) -> None:
    """Epochs with a curve that rises towards `quality`, on the one of two workers that is free first."""
    clock = journal.clock
    worker = clock.free_at.index(min(clock.free_at))
    clock.free_at[worker] += 0.5  # to begin
    for number in range(1, num_epochs + 1):
        clock.free_at[worker] += EPOCH_SECONDS
        clock.moment = clock.free_at[worker]
        metrics = make_metrics(number, quality, trial)
        journal.record_epoch(trial.key, Epoch(number, metrics, Worker("127.0.0.1", 1000 + worker)))
    clock.moment = None


def make_metrics(number: int, quality: float, trial: Trial) -> dict[str, float]:
    """Metrics of one epoch as training reports them."""
    top1 = quality * (1 - math.exp(-number / 3))
    return {
        "train_loss": 3 * math.exp(-number / 4),
        "train_top1": min(1.0, top1 + 0.05),
        "train_top5": min(1.0, top1 + 0.2),
        "val_loss": 3.2 * math.exp(-number / 5) + 1 - quality,
        "val_top1": top1,
        "raw_val_top1": 0.97 * top1,
        "averaged_val_top1": top1,
        "val_top5": min(1.0, top1 + 0.15),
        "learning_rate": trial.config["learning_rate"],
        "images_per_second": 500.0,
        "epoch_seconds": EPOCH_SECONDS,
        "micro_batch": trial.config["batch_size"],
        "frozen_views": 0,
    }


def add_retrainings(run: RunDirectory, journal: Journal, *, seeds: int = 2) -> None:
    """Retrainings of trials 0 and 1, test results, predictions and best/ with random weights of the real network."""
    import torch

    from tune_sketch.retraining.results import write_results
    from tune_sketch.trainables.evaluation import evaluate
    from tune_sketch.trainables.networks.build import build_model

    facts = read_facts(run)
    data = open_data(Path(facts.data.cache))
    test = read_splits(run.splits_csv, data).test
    labels = data.labels[test]
    rng = np.random.default_rng(0)
    run.retrained.mkdir()
    trials = []
    for number in (0, 1):
        for index in range(1, seeds + 1):
            trial = journal.add_retraining(number, index, journal.trials[number].config, seed=100 + index)
            add_epochs(journal, trial, facts.settings.max_epochs, 0.7 + 0.05 * number + 0.01 * index)
            trials.append(journal.end(trial.key, "completed"))
    reading = {"chosen": 1, "shipped": trials[-1].key, "networks": [trial.key for trial in trials]}
    journal.note("test_readings", [reading])
    for trial in trials:
        logits = rng.normal(size=(len(test), len(data.class_names)))
        logits[np.arange(len(test)), labels] += 2.0
        powers = np.exp(logits / TEMPERATURE)
        probabilities = powers / powers.sum(axis=1, keepdims=True)
        np.savez_compressed(run.test_probabilities(trial.key), probabilities=probabilities.astype(np.float32))
        torch.manual_seed(trial.seed_index)
        head = str(trial.config.get("head", "plain"))
        model = build_model(facts.settings.model, len(data.class_names), head=head)
        torch.save(model.state_dict(), run.retrained / f"{trial.key}.pt")
        journal.record_test(trial.key, TestResult(evaluate(probabilities, labels), len(test), TEMPERATURE))
    write_results(run, facts, journal, journal.retrainings[trials[-1].key])


def make_finished_run(path: Path, *, num_trials: int = 12, failed: int = 1, **choices) -> RunDirectory:
    """A run directory of a finished search."""
    run, journal = begin_run(path, num_samples=num_trials, **choices)
    add_trials(run, journal, num_trials, failed=failed)
    add_retrainings(run, journal)
    write_tables(run, journal)
    journal.close()
    return run


def search_by_strategy(run: RunDirectory, journal: Journal) -> None:
    """The trials that the run's strategy proposes one after the other, each trained by a formula.

    Best are rmsprop, a learning rate of 1e-4 and a decay of 1e-3.
    """
    settings = read_facts(run).settings
    limits = SpaceLimits(settings.max_epochs, pretrained=False)
    task = SearchTask(
        SPACES[settings.model].space,
        limits,
        rung_epochs(settings.grace_epochs, settings.max_epochs, settings.reduction_factor),
        num_samples=settings.num_samples,
        first=[(paper_configuration(settings.model, limits), Source("paper"))],
    )
    sampler = SAMPLERS[settings.strategy](task)
    asha = ASHA(task.rungs, settings.reduction_factor) if sampler.stops_trials else NEVER_STOP
    while (proposal := sampler.next(journal)) is not None:
        trial, config = journal.add_trial(proposal, seed=0), proposal.config
        quality = 0.9 - 0.1 * abs(math.log10(config["learning_rate"]) + 4) - 0.1 * (config["optimizer"] != "rmsprop")
        quality -= 0.02 * abs(math.log10(config["decay"] or 1e-6) + 3)
        status = "completed"
        for number in range(1, config["epochs"] + 1):
            metrics = make_metrics(number, quality, trial)
            epoch = Epoch(number, metrics | {"val_loss": 3 - 3 * metrics["val_top1"]})
            decision = asha.decide(trial.with_epoch(epoch), journal.trials)
            trial = journal.record_epoch(trial.key, replace(epoch, decision=decision))
            if decision is not None and decision.verdict == "stop":
                status = "stopped"
                break
        journal.end(trial.key, status)

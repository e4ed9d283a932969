"""Builds the ensemble of the winner's networks and compares it with each: the rows of winner.csv."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tune_sketch.commands import command_text
from tune_sketch.data import open_data
from tune_sketch.data.bounds import parsing
from tune_sketch.data.splits import read_splits
from tune_sketch.events import Trial
from tune_sketch.formatting import percent
from tune_sketch.retraining.finalists import chosen_finalist, retrainings_that_count, shipped_network
from tune_sketch.retraining.last_step import find_last_step
from tune_sketch.statistics import wilson_interval
from tune_sketch.storage.facts import Facts
from tune_sketch.storage.files import Row, read_csv
from tune_sketch.storage.history import History
from tune_sketch.storage.probabilities import read_probabilities
from tune_sketch.storage.run_directory import RunDirectory

WINNER_COLUMNS = (
    "network",
    "seed_index",
    "num_networks",
    "num_train",
    "val_top1",
    "num_test",
    "test_top1",
    "test_top1_wilson_low",
    "test_top1_wilson_high",
    "test_top5",
    "train_seconds",
    "is_in_best",
)
NUMBERS = tuple(name for name in WINNER_COLUMNS if name not in ("network", "is_in_best"))
MAY_LACK = ("seed_index", "val_top1")
OWN, RETRAINED, ENSEMBLE, LAST_STEP = "of the search", "retrained", "ensemble", "last step"


def winner_rows(run: RunDirectory, facts: Facts, history: History) -> list[Row]:
    """One row for each network of the winner that has a test result, and one for the ensemble of its retrainings.

    num_networks: that look at each drawing, and so how many times the time of one it takes. A last step has no
    validation accuracy, and nothing here was chosen by a test result.
    """
    shipped = shipped_network(history)
    members = ensemble_members(history)
    last = [trial for trial in history.last_steps.values() if trial == shipped]
    rows = [network_row(trial, facts, history, is_in_best=trial == shipped) for trial in (*members, *last)]
    if len(members) > 1:
        rows.insert(len(members), ensemble_row(run, facts, members))
    return rows


def ensemble_members(history: History) -> list[Trial]:
    """The winner's retrainings that the test split was read for, by seed index."""
    number = chosen_finalist(history)
    own = [] if number is None else retrainings_that_count(history, number)
    return sorted((trial for trial in own if trial.test is not None), key=lambda trial: trial.key)


def network_row(trial: Trial, facts: Facts, history: History, *, is_in_best: bool) -> Row:
    """The row of one network; its time is also that of the network that went on."""
    assert trial.test is not None
    before = [] if trial.follows is None else [history.retrainings[trial.follows]]
    low, high = wilson_interval(trial.test.top1, trial.test.num_images)
    return {
        "network": LAST_STEP if trial.is_last_step else OWN if trial.is_of_search else RETRAINED,
        "seed_index": None if trial.is_last_step else trial.seed_index,
        "num_networks": 1,
        "num_train": facts.data.num_train + (facts.data.num_validation if trial.is_last_step else 0),
        "val_top1": None if trial.is_last_step else trial.epochs[-1].val_top1,
        "num_test": trial.test.num_images,
        "test_top1": trial.test.top1,
        "test_top1_wilson_low": low,
        "test_top1_wilson_high": high,
        "test_top5": trial.test.metrics["top5"],
        "train_seconds": sum(training.train_seconds for training in (*before, trial)),
        "is_in_best": is_in_best,
    }


def ensemble_row(run: RunDirectory, facts: Facts, members: Sequence[Trial]) -> Row:
    """The row of the mean of the members' probabilities, which are kept: no drawing is looked at again."""
    from tune_sketch.trainables.evaluation import evaluate  # imports torch, which no reader of rows need wait for

    data = open_data(Path(facts.data.cache))
    splits = read_splits(run.splits_csv, data)
    test = evaluate(mean_probabilities([run.test_probabilities(t.key) for t in members]), data.labels[splits.test])
    files = [run.validation_probabilities(trial.key) for trial in members]
    validation = None
    if all(file.is_file() for file in files):  # networks of earlier versions have none
        validation = evaluate(mean_probabilities(files), data.labels[splits.validation])
    low, high = wilson_interval(test["top1"], len(splits.test))
    return {
        "network": ENSEMBLE,
        "num_networks": len(members),
        "num_train": facts.data.num_train,
        "val_top1": None if validation is None else validation["top1"],
        "num_test": len(splits.test),
        "test_top1": test["top1"],
        "test_top1_wilson_low": low,
        "test_top1_wilson_high": high,
        "test_top5": test["top5"],
        "train_seconds": sum(trial.train_seconds for trial in members),
        "is_in_best": False,
    }


def mean_probabilities(files: Sequence[Path]) -> np.ndarray:
    """Float64 [N, classes]: the mean of the probabilities that files hold."""
    mean: np.ndarray = np.mean([read_probabilities(file).astype(np.float64) for file in files], axis=0)
    return mean


def read_winner(run: RunDirectory) -> list[dict[str, str]]:
    """The rows of winner.csv, none where there is none. Raises ValueError where it is damaged."""
    rows = read_csv(run.winner_csv) if run.winner_csv.is_file() else []
    with parsing(run.winner_csv):
        for row in rows:
            if row["network"] not in (OWN, RETRAINED, ENSEMBLE, LAST_STEP) or set(row) != set(WINNER_COLUMNS):
                raise ValueError(f"no network of a winner: {row!r:.200}")
            numbers = [float(row[name] or (0 if name in MAY_LACK else "")) for name in NUMBERS]
            if not all(map(math.isfinite, numbers)) or int(row["num_networks"]) < 1 or int(row["num_train"]) < 1:
                raise ValueError(f"numbers that none has: {row!r:.200}")
    return rows


def winner_lines(run: RunDirectory, history: History) -> list[str]:
    """The screen's lines on the ensemble and the last step; none in runs that have neither."""
    rows = read_winner(run)
    last, shipped = find_last_step(history), shipped_network(history)
    lines = []
    if last is not None and last != shipped:
        lines.append(f"the last step {last.status.replace('_', ' ')}, so best/ has the winner's best: {last.error}")
    for row in rows:
        low, high = (100 * float(row[f"test_top1_wilson_{end}"]) for end in ("low", "high"))
        test = f"test top-1 {percent(float(row['test_top1']))} [{low:.1f}, {high:.1f}]"
        if row["network"] == LAST_STEP:
            lines.append(
                f"in best/: the winner's network after more epochs, on {row['num_train']} training and validation "
                f"drawings: {test}, no validation"
            )
        elif row["network"] == ENSEMBLE:
            validation = f"validation {percent(float(row['val_top1']))}, " if row["val_top1"] else ""
            lines.append(
                f"{command_text('predict', run.path, '--ensemble')}: the mean of the winner's {row['num_networks']} "
                f"seeds, {row['num_networks']} times the time for a drawing: {validation}{test}"
            )
    return lines

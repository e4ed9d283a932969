"""Reads what a search has recorded, and checks that a finished one is complete."""

import json
from collections import Counter

from optuna.storages.journal._storage import JournalOperation
from optuna.trial import TrialState

from tune_sketch.events import Epoch, Trial
from tune_sketch.storage.facts import read_facts
from tune_sketch.storage.files import read_csv
from tune_sketch.storage.reading import read_history
from tune_sketch.storage.run_directory import RunDirectory

GOOD_ENDINGS = ("completed", "stopped", "diverged")


def snapshot(run: RunDirectory, url: str | None = None) -> dict[str, Trial]:
    """The present record; nothing before there is one."""
    if not run.search_json.exists():
        return {}
    history = read_history(run, url)
    return {trial.key: trial for trial in history.trials} | history.later_trainings


def recorded_epochs(run: RunDirectory) -> dict[tuple[str, int], Epoch]:
    """{(training, number): epoch} of all that is recorded now."""
    return {(key, epoch.number): epoch for key, trial in snapshot(run).items() for epoch in trial.epochs}


def count_epochs(run: RunDirectory) -> int:
    return len(recorded_epochs(run))


def written_lines(run: RunDirectory) -> Counter[tuple[str, str]]:
    """{(training, what): how often journal.log has it}, what: "created", "epoch_0003", ..., "ended".

    Straight from the file, without the code under test: a reader would take the last of two lines in silence.
    """
    lines: Counter[tuple[str, str]] = Counter()
    keys: list[str] = []  # of trainings in the order of the log, which is that of Optuna's ids
    *whole, _ = run.journal_log.read_bytes().split(b"\n")  # what follows the last line's end is of a torn one
    for event in map(json.loads, whole):
        if event["op_code"] == JournalOperation.CREATE_TRIAL:
            keys.append(event["user_attrs"]["key"])
            lines[keys[-1], "created"] += 1
        elif event["op_code"] == JournalOperation.SET_TRIAL_USER_ATTR:
            for name in event["user_attr"]:
                if name.startswith("epoch_"):
                    lines[keys[event["trial_id"]], name] += 1
        elif "state" in event and TrialState(event["state"]).is_finished():
            lines[keys[event["trial_id"]], "ended"] += 1
    return lines


def values_of(run: RunDirectory) -> dict[str, list[tuple[float, ...]]]:
    """Per training the numbers that do not depend on time."""
    names = ("train_loss", "train_top1", "val_loss", "val_top1", "val_top5", "learning_rate")
    return {
        key: [(epoch.number, *(epoch.metrics.get(name, -1.0) for name in names)) for epoch in trial.epochs]
        for key, trial in snapshot(run).items()
    }


def untimed(run: RunDirectory) -> dict[str, tuple]:
    """All that a search recorded, but for times: they depend on the machine."""
    values = values_of(run)
    return {
        key: (
            trial.config,
            trial.seed,
            trial.status,
            trial.params,
            trial.source,
            values[key],
            [epoch.decision for epoch in trial.epochs],
            trial.test,
        )
        for key, trial in snapshot(run).items()
    }


def check_complete(run: RunDirectory) -> None:
    """A finished search: every trial ended, every finalist retrained and tested, every file there, none with gaps."""
    settings = read_facts(run).settings
    recorded = snapshot(run)
    trials = [trial for trial in recorded.values() if not trial.is_retraining]
    assert len(trials) == settings.num_samples
    bad = [(trial.key, trial.status, trial.error) for trial in trials if trial.status not in GOOD_ENDINGS]
    assert not bad, bad
    last_steps = [trial for trial in recorded.values() if trial.is_last_step]
    assert len(last_steps) == settings.last_step
    assert all(trial.status == "completed" and trial.test for trial in last_steps)
    retrainings = [trial for trial in recorded.values() if trial.is_retraining and not trial.is_last_step]
    assert len(retrainings) == settings.num_retrainings
    assert all(trial.test for trial in retrainings if trial.status == "completed")
    rows = [(int(row["trial"]), int(row["epoch"])) for row in read_csv(run.epochs_csv)]
    assert rows == [(trial.number, epoch) for trial in trials for epoch in range(1, len(trial.epochs) + 1)]
    retrained = [(int(row["trial"]), int(row["seed_index"])) for row in read_csv(run.retraining_csv)]
    assert retrained == sorted((trial.number, trial.seed_index) for trial in retrainings)
    for path in (run.trials_csv, run.epochs_csv, run.finalists_csv, run.predictions_csv, run.report_html):
        assert path.stat().st_size > 0
    assert json.loads((run.best / "model.json").read_text())["architecture"] == settings.model

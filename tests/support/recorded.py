"""Reads what a search has recorded, and checks that a finished one is complete."""

import contextlib
import json
import sqlite3
import urllib.parse
from typing import Any

from tune_sketch.events import Trial as Record
from tune_sketch.storage.files import read_csv
from tune_sketch.storage.run_directory import RunDirectory

GOOD_ENDINGS = ("completed", "stopped", "diverged")


def snapshot(run: RunDirectory) -> dict[str, Record]:
    """What the journal holds now; nothing before there is one."""
    if not run.search_json.exists():
        return {}
    journal = run.open_journal(read_only=True)
    records = {record.key: record for record in journal.trials} | journal.retrainings
    journal.close()
    return records


def recorded_epochs(run: RunDirectory) -> dict[tuple[str, int], dict[str, Any]]:
    """{(training, epoch): metrics} straight from SQLite: without the code under test, and in a few milliseconds."""
    if not run.study_db.exists():
        return {}
    path = urllib.parse.quote(str(run.study_db.absolute()))
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)) as connection:
        trials = connection.execute(
            "SELECT number, key, value_json FROM trial_user_attributes JOIN trials USING (trial_id) "
            "WHERE key LIKE 'epoch_%'"
        ).fetchall()
        retrainings = connection.execute(
            "SELECT key, value_json FROM study_user_attributes WHERE key LIKE 'confirm-%'"
        ).fetchall()
    epochs = {(f"trial-{number:04d}", int(key[6:])): json.loads(text) for number, key, text in trials}
    for key, text in retrainings:
        epochs |= {(key, index): metrics for index, metrics in enumerate(json.loads(text)["epochs"], start=1)}
    return epochs


def count_epochs(run: RunDirectory) -> int:
    return len(recorded_epochs(run))


def values_of(run: RunDirectory) -> dict[str, list[tuple[float, ...]]]:
    """Per training the numbers that do not depend on time."""
    names = ("epoch", "train_loss", "train_top1", "val_loss", "val_top1", "val_top5", "learning_rate")
    return {k: [tuple(e[n] for n in names) for e in r.epochs] for k, r in snapshot(run).items()}


def untimed(run: RunDirectory) -> dict[str, tuple]:
    """All that a search recorded, but for times: they depend on the machine."""
    values = values_of(run)
    return {
        key: (record.config, record.seed, record.status, record.params, record.origin, values[key], record.test)
        for key, record in snapshot(run).items()
    }


def check_complete(run: RunDirectory) -> None:
    """A finished search: every trial ended, every finalist retrained and tested, every file there, none with gaps."""
    settings = run.read_settings()
    records = snapshot(run)
    trials = [record for record in records.values() if not record.is_retraining]
    assert len(trials) == settings.num_samples
    bad = [(record.key, record.status, record.error) for record in trials if record.status not in GOOD_ENDINGS]
    assert not bad, bad
    retrainings = [record for record in records.values() if record.is_retraining]
    assert len(retrainings) == (settings.confirm_top + 1) * settings.confirm_seeds
    assert all(record.test for record in retrainings if record.status == "completed")
    rows = [(int(row["trial"]), int(row["epoch"])) for row in read_csv(run.epochs_csv)]
    assert rows == [(record.number, epoch) for record in trials for epoch in range(1, len(record.epochs) + 1)]
    for path in (run.trials_csv, run.epochs_csv, run.confirm_csv, run.predictions_csv, run.report_html):
        assert path.stat().st_size > 0
    assert json.loads((run.best / "model.json").read_text())["architecture"] == settings.model

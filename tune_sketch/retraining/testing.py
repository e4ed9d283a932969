"""Chooses the winner on validation, then reads the test split, once for each retrained network."""

import numpy as np

from tune_sketch.backend.base import Backend, Workers
from tune_sketch.backend.jobs import job_of
from tune_sketch.retraining.finalists import choose_winner, comparable
from tune_sketch.retraining.results import write_results
from tune_sketch.storage.facts import Facts
from tune_sketch.storage.journal import Journal
from tune_sketch.storage.run_directory import RunDirectory
from tune_sketch.trainables.job import keep_weights


def read_test_split(run: RunDirectory, facts: Facts, journal: Journal, backend: Backend, workers: Workers) -> None:
    """Choose, then score every retrained network that has not been, and write the results.

    Raises ValueError when no retraining came to its end.
    """
    completed = [trial for trial in journal.retrainings.values() if trial.status == "completed"]
    if not completed:
        reasons = sorted({trial.error for trial in journal.retrainings.values() if trial.error})
        raise ValueError(f"no finalist could be retrained: {'; '.join(reasons)} (tracebacks in {run.errors})")
    run.retrained.mkdir(exist_ok=True)
    for trial in completed:
        keep_weights(run.checkpoints(trial.key), run.retrained / f"{trial.key}.pt")
    chosen = choose_winner(completed)
    unread = [trial for trial in completed if trial.test is None]
    readings = journal.notes.get("test_readings", [])
    if unread or not readings:
        # The choice is recorded before the test split is touched, and every reading of it is counted.
        journal.note("test_readings", [*readings, {"chosen": chosen, "networks": [trial.key for trial in unread]}])
        jobs = [
            (job_of(trial, run, facts, workers), str((run.retrained / f"{trial.key}.pt").absolute()))
            for trial in unread
        ]
        for key, result, probabilities in backend.score_on_test(jobs, workers):
            np.savez_compressed(run.test_probabilities(key), probabilities=probabilities)
            journal.record_test(key, result)
    tested = [trial for trial in journal.retrainings.values() if trial.number == chosen and trial.test is not None]
    best = max(comparable(tested), key=lambda trial: (trial.epochs[-1].val_top1, trial.key))
    write_results(run, facts, journal, best)
    for trial in completed:
        run.remove_checkpoints(trial.key)

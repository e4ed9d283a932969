"""Chooses the winner on validation, then reads the test split, once for each retrained network."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from tune_sketch.backend.base import Backend, Workers
from tune_sketch.backend.jobs import job_of
from tune_sketch.events import Trial
from tune_sketch.retraining.finalists import (
    choose_network,
    choose_winner,
    completed_retrainings,
    eligible_retrainings,
    retrainings_that_count,
)
from tune_sketch.retraining.last_step import find_last_step
from tune_sketch.retraining.results import write_results
from tune_sketch.storage.facts import Facts
from tune_sketch.storage.journal import Journal
from tune_sketch.storage.kept_checkpoints import sweep_checkpoints
from tune_sketch.storage.run_directory import RunDirectory
from tune_sketch.trainables.calibration import mean_temperature
from tune_sketch.trainables.job import keep_weights


def read_test_split(
    run: RunDirectory, facts: Facts, journal: Journal, backend: Backend, workers: Workers, say: Callable[[str], None]
) -> None:
    """Choose, then score every retrained network that has not been, and write the results.

    The network to ship is the last step's where there is one, else the winner's best on validation. Raises ValueError
    when no retraining came to its end.
    """
    completed = completed_retrainings(journal)
    if not completed:
        reasons = sorted({trial.error for trial in journal.retrainings.values() if trial.error})
        raise ValueError(f"no finalist could be retrained: {'; '.join(reasons)} (tracebacks in {run.errors})")
    chosen = choose_winner(eligible_retrainings(journal))
    last = find_last_step(journal) if facts.settings.last_step else None
    last = last if last is not None and last.status == "completed" else None
    networks = completed if last is None else [*completed, last]
    shipped = choose_network(retrainings_that_count(journal, chosen)) if last is None else last
    for trial in networks:
        keep_network(run, journal, trial)
    unread = [trial for trial in networks if trial.test is None]
    readings = journal.notes.get("test_readings", [])
    if unread or not readings:
        # The choice is recorded before the test split is touched, and every reading of it is counted.
        reading = {"chosen": chosen, "shipped": shipped.key, "networks": [trial.key for trial in unread]}
        journal.note("test_readings", [*readings, reading])
        say("reading the test split")  # takes a minute or two after a long search
        for trials in ([t for t in unread if not t.is_last_step], [t for t in unread if t.is_last_step]):
            jobs = [
                (
                    replace(job_of(trial, run, facts, workers), temperature=temperature_of(journal, trial)),
                    str(run.kept_weights(trial.key).absolute()),
                )
                for trial in trials
            ]
            for key, scores in backend.score_on_test(jobs, workers):
                np.savez_compressed(run.test_probabilities(key), probabilities=scores.test)
                if scores.validation is not None:
                    np.savez_compressed(run.validation_probabilities(key), probabilities=scores.validation)
                journal.record_test(key, scores.result)
    write_results(run, facts, journal, journal.later_trainings[shipped.key])
    for trial in networks:
        run.remove_checkpoints(trial.key)
    sweep_checkpoints(run, [trial for trial in journal.later_trainings.values() if trial.status != "completed"])


def keep_network(run: RunDirectory, journal: Journal, trial: Trial) -> None:
    """Write the weights of a training that has ended to where they stay."""
    trained_as = journal.trials[trial.number].key if trial.is_of_search else trial.key
    run.retrained.mkdir(exist_ok=True)
    keep_weights(run.checkpoints(trial.key), run.kept_weights(trial.key), trained_as)


def temperature_of(journal: Journal, trial: Trial) -> float:
    """The temperature of a last step, which has no drawings to fit one on: the mean of its configuration's seeds."""
    seeds = [t for t in completed_retrainings(journal) if t.number == trial.number and t.test is not None]
    return mean_temperature([t.test.temperature for t in seeds if t.test is not None]) if trial.is_last_step else 1.0

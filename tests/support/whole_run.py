"""A whole small search in this process: its settings, its end by a kill, and all that it records but times."""

from tune_sketch.config.plan import prepare_inputs
from tune_sketch.config.settings import Settings
from tune_sketch.new_run import create_run
from tune_sketch.storage.reading import read_history

CHOICES = {
    "classes": 3,
    "per_class": 12,
    "weights": "none",
    "num_samples": 5,
    "max_epochs": 3,
    "grace_epochs": 1,
    "finalists": 1,
    "retraining_seeds": 1,
}


class Killed(BaseException):
    """The driver is gone."""


def make_run(path, storage=None, **changes):
    settings = Settings("baseline", **(CHOICES | changes))
    return create_run(path, settings, prepare_inputs(settings), storage)


def kill_at(backend, moment):
    """Let the driver be gone when the backend has passed on a number of reports."""

    def kill(key, report):
        if backend.num_reports == moment:
            raise Killed

    backend.before_report = kill


def untimed(run, url=None):
    """All that is recorded, but for times and the process."""
    history = read_history(run, url)
    times = {"epoch_seconds", "images_per_second"}
    return {
        trial.key: (
            trial.config,
            trial.seed,
            trial.status,
            trial.source,
            [(e.number, e.decision, {n: v for n, v in e.metrics.items() if n not in times}) for e in trial.epochs],
            trial.test,
        )
        for trial in [*history.trials, *history.later_trainings.values()]
    }

"""Trials for tests: metrics, epochs, proposals, and trainings of known values in a journal."""

from collections.abc import Iterable

from optuna.distributions import FloatDistribution

from tune_sketch.events import Decision, Ending, Epoch, Proposal, Source, Trial, Worker
from tune_sketch.storage.journal import Journal, retraining_key


def make_metrics(value: float = 0.5, **changes: float) -> dict[str, float]:
    """An epoch's metrics with this validation top-1."""
    return {"val_top1": value, "val_top5": 0.9, "val_loss": 1.0, "epoch_seconds": 2.0} | changes


def make_epoch(number: int, value: float = 0.5, *, decision: Decision | None = None, **changes: float) -> Epoch:
    """An epoch with this validation top-1, trained by some worker."""
    return Epoch(number, make_metrics(value, **changes), Worker("10.0.0.7", 42, "0"), decision=decision)


def make_proposal(epochs: int = 3, *, source: Source = Source("random"), **config: object) -> Proposal:  # noqa: B008
    """A configuration with this number of epochs, of which the learning rate was sampled."""
    return Proposal(
        {"learning_rate": 0.1, "epochs": epochs} | config,
        {"learning_rate": 0.1},
        {"learning_rate": FloatDistribution(0.01, 1.0, log=True)},
        source,
    )


def add_trial(journal: Journal, epochs: int = 3, **how: object) -> Trial:
    """A new trial with this number of epochs."""
    return journal.add_trial(make_proposal(epochs, **how), seed=5)


def train(journal: Journal, trial: Trial, values: Iterable[float], status: Ending | None = None, **changes) -> Trial:
    """Record an epoch for each value, after those that are there, and the ending if one is given."""
    for number, value in enumerate(values, start=len(trial.epochs) + 1):
        trial = journal.record_epoch(trial.key, make_epoch(number, value, **changes))
    return trial if status is None else journal.end(trial.key, status)


def make_trial(number: int, values: Iterable[float] = (), *, recorded_at: float = 0.0, **fields) -> Trial:
    """A trial, or with `seed_index` a retraining, without a journal; its epochs were recorded a second apart."""
    epochs = tuple(
        Epoch(index, make_metrics(value), recorded_at=recorded_at + index)
        for index, value in enumerate(values, start=1)
    )
    key = retraining_key(number, fields["seed_index"]) if "seed_index" in fields else f"trial-{number:04d}"
    return Trial(key, number, {"epochs": 9}, 0, epochs=epochs, **fields)


def make_ended_trials(values, seconds=2.0, epochs=1, num_given=0):
    """Trials that have ended after these numbers of epochs with these values, in this order; the first were given."""
    return [
        Trial(
            f"trial-{number:04d}",
            number,
            {"epochs": 9},
            seed=0,
            status="stopped",
            epochs=tuple(
                Epoch(epoch, make_metrics(value, epoch_seconds=seconds), recorded_at=10.0 * number + epoch)
                for epoch in range(1, epochs + 1)
            ),
            ended_at=10.0 * number + epochs,
            source=Source("recipe" if number < num_given else "random"),
        )
        for number, value in enumerate(values)
    ]

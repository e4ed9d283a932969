"""Writes the history of a search as tables: trials.csv, epochs.csv and retraining_epochs.csv."""

from dataclasses import asdict

from tune_sketch.events import Epoch, Source, Trial
from tune_sketch.storage.files import Row, write_csv
from tune_sketch.storage.history import History
from tune_sketch.storage.run_directory import RunDirectory

METRICS = (  # of one epoch, in the order of epochs.csv; fractions in [0, 1], losses in nats
    "train_loss",
    "train_top1",
    "train_top5",
    "val_loss",
    "val_top1",
    "val_top5",
    "val_balanced_accuracy",
    "val_f1",
    "raw_val_top1",  # of the weights without averaging
    "averaged_val_top1",  # of their average
    "learning_rate",
    "images_per_second",
    "epoch_seconds",
    "micro_batch",
    "frozen_views",  # stored views that the epoch's activations of frozen layers came from; 0: computed anew
)
WORKER = ("node", "process", "gpus")  # that trained the epoch: address, process id, GPUs
DECISION = ("verdict", "cutoff", "num_better", "num_compared")  # ASHA's, where the epoch is a rung
SOURCE = tuple(f"source_{name}" for name in Source.__dataclass_fields__ if name != "kind")
TRIAL_COLUMNS = (  # then one column config/NAME for each value of the configuration
    "trial",
    "status",
    "source",
    *SOURCE,
    "num_epochs",
    "best_epoch",
    "best_val_top1",
    "last_val_top1",
    "last_val_top5",
    "last_val_loss",
    "train_seconds",
    "started_at",
    "ended_at",
    "seed",
    "error",
)
EPOCH_COLUMNS = ("epoch", *METRICS, *WORKER, *DECISION, "recorded_at")


def write_tables(run: RunDirectory, history: History) -> None:
    """Write trials.csv and epochs.csv, and retraining_epochs.csv once finalists are being retrained."""
    names = sorted({name for trial in history.trials for name in trial.config})
    columns = [*TRIAL_COLUMNS, *(f"config/{name}" for name in names)]
    write_csv(run.trials_csv, columns, map(trial_row, history.trials))
    write_csv(
        run.epochs_csv,
        ["trial", *EPOCH_COLUMNS],
        ({"trial": trial.number} | epoch_row(epoch) for trial in history.trials for epoch in trial.epochs),
    )
    if history.retrainings:
        write_csv(
            run.retraining_epochs_csv,
            ["trial", "seed_index", *EPOCH_COLUMNS],  # without a seed index: of the last step
            (
                {"trial": trial.number, "seed_index": None if trial.is_last_step else trial.seed_index}
                | epoch_row(epoch)
                for trial in (*dict(sorted(history.retrainings.items())).values(), *history.last_steps.values())
                for epoch in trial.epochs
            ),
        )


def trial_row(trial: Trial) -> Row:
    """One row of trials.csv."""
    best, last = trial.best_epoch, trial.last_epoch
    source = {f"source_{name}": value for name, value in asdict(trial.source).items() if name != "kind"}
    if trial.source.compared_with is not None:
        source["source_compared_with"] = " ".join(map(str, trial.source.compared_with))
    return {
        "trial": trial.number,
        "status": trial.status,
        "source": trial.source.kind,
        **source,
        "num_epochs": len(trial.epochs),
        "best_epoch": best and best.number,
        "best_val_top1": best and best.val_top1,
        "last_val_top1": last and last.val_top1,
        "last_val_top5": last and last.metrics.get("val_top5"),
        "last_val_loss": last and last.metrics.get("val_loss"),
        "train_seconds": trial.train_seconds,
        "started_at": trial.started_at,
        "ended_at": trial.ended_at,
        "seed": trial.seed,
        "error": trial.error,
        **{f"config/{name}": value for name, value in trial.config.items()},
    }


def epoch_row(epoch: Epoch) -> Row:
    """One epoch's part of a row of epochs.csv."""
    worker = asdict(epoch.worker) if epoch.worker else {}
    decision = asdict(epoch.decision) if epoch.decision else {}
    metrics = {name: epoch.metrics[name] for name in METRICS if name in epoch.metrics}
    return {"epoch": epoch.number, **metrics, **worker, **decision, "recorded_at": epoch.recorded_at}

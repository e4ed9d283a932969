"""Shows the cost of a search: trainings, epochs, worker time and speed of the search and of the retrainings."""

from tune_sketch.analysis.rows import Rows
from tune_sketch.analysis.run_data import RunData
from tune_sketch.analysis.tables.base import Table
from tune_sketch.analysis.text import seconds_text
from tune_sketch.formatting import short_text


def tabulate_costs(run: RunData) -> Rows:
    """Training time and epochs of the search and of the retrainings; images per second."""
    rows: Rows = []
    retrainings = [trial for trial in run.retrainings if not trial.is_of_search]  # that is paid for already
    parts = (("search", run.trials), ("retraining of finalists", retrainings), ("last step", run.last_steps))
    for what, trials in parts:
        epochs = [epoch for trial in trials for epoch in trial.epochs]
        if not epochs:
            continue
        seconds = sum(epoch.seconds for epoch in epochs)
        begun = min((trial.started_at for trial in trials if trial.started_at), default=None)
        # Not negative in a run of an earlier version either, during which a machine's clock was set back.
        wall = max(0.0, max(epoch.recorded_at for epoch in epochs) - begun) if begun else None
        rates = sorted(epoch.metrics["images_per_second"] for epoch in epochs)
        rows.append(
            {
                "part": what,
                "num_trainings": len(trials),
                "num_epochs": len(epochs),
                "worker_seconds": seconds,
                "wall_seconds": wall,
                "images_per_second_median": rates[len(rates) // 2],
                "halved_batches": sum(
                    epoch.metrics["micro_batch"] < float(trial.config["batch_size"])
                    for trial in trials
                    for epoch in trial.epochs
                ),
                "epochs_from_store": sum(epoch.metrics.get("frozen_views", 0) > 0 for epoch in epochs),
            }
        )
    return rows


def show_costs(rows: Rows) -> Rows:
    """The text of the cells; what never happened has no column."""
    shown = [
        {
            "part": row["part"],
            "trainings": row["num_trainings"],
            "epochs": row["num_epochs"],
            "worker time": seconds_text(row["worker_seconds"]),
            "wall clock, pauses included": seconds_text(row["wall_seconds"]),
            "images/s (median epoch)": f"{row['images_per_second_median']:,.0f}",
            "epochs with a halved batch": short_text(row["halved_batches"]),
            "epochs with frozen layers from the store": str(row["epochs_from_store"]),
        }
        for row in rows
    ]
    for name in ("epochs with a halved batch", "epochs with frozen layers from the store"):
        if all(cells[name] == "0" for cells in shown):
            for cells in shown:
                del cells[name]
    return shown


COSTS = Table(
    "costs",
    "cost",
    "Costs",
    "Worker time is the sum over all workers. Sources: epochs.csv and retraining_epochs.csv.",
    tabulate_costs,
    show_costs,
)

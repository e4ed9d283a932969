"""The networks of a search over several: what each got of the budget, what it reached, and its best on fresh seeds."""

from tune_sketch.analysis.rows import Row, Rows
from tune_sketch.analysis.run_data import RunData
from tune_sketch.analysis.tables.base import Table
from tune_sketch.analysis.tables.finalists import interval_of_top1
from tune_sketch.analysis.text import interval_text, percent_text, seconds_text
from tune_sketch.schedulers.rungs import rank_trials


def tabulate_networks(run: RunData) -> Rows:
    """One row per network, the best first; nothing where a search has one."""
    if not run.facts.networks:
        return []
    total = sum(trial.train_seconds for trial in run.trials)
    rows: Rows = []
    for model in run.facts.models:
        trials = [trial for trial in run.trials if trial.network == model]
        seconds = sum(trial.train_seconds for trial in trials)
        row: Row = {
            "network": model,
            "num_trials": len(trials),
            "num_epochs": sum(len(trial.epochs) for trial in trials),
            "worker_seconds": seconds,
            "share": seconds / total if total else None,
        }
        for best in rank_trials(trials)[:1]:
            assert best.best_epoch is not None
            row |= {"best_trial": best.number, "best_val_top1_in_search": best.best_epoch.val_top1}
        finalists = [finalist for finalist in run.finalists if finalist.network == model]
        if finalists:
            finalist = max(finalists, key=lambda one: (one.is_chosen, one.mean("val_top1") or 0.0))
            low, high, kind = interval_of_top1(finalist)
            row |= {"finalist": finalist.number, "num_seeds": len(finalist.retrainings)}
            row |= {"val_top1": finalist.mean("val_top1"), "test_top1": finalist.mean("test_top1")}
            row |= {"test_top1_low": low, "test_top1_high": high, "interval": kind, "is_chosen": finalist.is_chosen}
            row |= {"is_of_search": finalist.is_of_search}
        rows.append(row)
    return sorted(rows, key=rank_of)


def rank_of(row: Row) -> tuple[bool, float, float]:
    """The chosen network first, then by fresh seeds, then by the search."""
    return (
        not row.get("is_chosen"),
        -(row.get("val_top1") or -1.0),
        -(row.get("best_val_top1_in_search") or -1.0),
    )


def show_networks(rows: Rows) -> Rows:
    """The text of the cells."""
    return [
        {
            "network": row["network"] + " *" * bool(row.get("is_chosen")),
            "training": seconds_text(row["worker_seconds"]),
            "share": percent_text(row["share"]),
            "trials": row["num_trials"],
            "epochs": row["num_epochs"],
            "best in search": percent_text(row.get("best_val_top1_in_search")),
            "trial": row.get("best_trial"),
            "its best finalist": row.get("finalist"),
            "validation, fresh seeds": "none" if row.get("is_of_search") else percent_text(row.get("val_top1")),
            "test top-1": percent_text(row.get("test_top1")),
            "95 % interval": interval_text(row.get("test_top1_low"), row.get("test_top1_high")),
        }
        for row in rows
    ]


NETWORKS = Table(
    "networks",
    "result",
    "The networks: what each got, and the best of each",
    "Networks were compared by the best validation top-1 that each reached within equal seconds of training; the "
    "better half went on. * chosen on validation, on fresh seeds. Share: of the search's training. Sources: "
    "trials.csv, epochs.csv and finalists.csv.",
    tabulate_networks,
    show_networks,
)

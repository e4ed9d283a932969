"""The leaderboard: every trial with its value at each rung."""

from tune_sketch.analysis.rows import Row, Rows
from tune_sketch.analysis.run_data import RunData
from tune_sketch.analysis.tables.base import Table
from tune_sketch.analysis.text import percent_text
from tune_sketch.formatting import short_text

COLUMNS = {  # on the page: what a reader compares first
    "place": "place",
    "trial": "trial",
    "status": "status",
    "epochs_trained": "epochs",
    "source": "source",
    "optimizer": "optimizer",
    "learning_rate": "learning rate",
    "batch_size": "batch",
    "decay": "decay",
    "weight_decay": "weight decay",
    "dropout": "dropout",
    "error": "error",
}


def tabulate_leaderboard(run: RunData) -> Rows:
    """Every trial, best first: validation top-1 at each rung, so that only equal epochs are compared."""
    never_trained = [trial for trial in run.trials if not trial.epochs]
    rows = []
    for rank, trial in enumerate([*run.ranked, *never_trained], start=1):
        row: Row = {
            "place": rank if trial.epochs else None,
            "trial": trial.number,
            "status": trial.status,
            "epochs_trained": len(trial.epochs),
        }
        for rung in run.rungs:
            epoch = trial.epoch_at(rung)
            row[f"top1_at_{rung}"] = epoch.val_top1 if epoch else None
        row |= {name: trial.config.get(name) for name in run.varied}
        rows.append(row | {"source": trial.source.kind, "error": trial.error or None})
    return rows


def show_leaderboard(rows: Rows) -> Rows:
    """The text of the cells: of a configuration the values in COLUMNS alone, so that a row fits a page."""
    shown = []
    for row in rows:
        cells = {}
        for name, value in row.items():
            if name.startswith("top1_at_"):
                cells[f"top-1 at {name.removeprefix('top1_at_')}"] = percent_text(value)
            elif name in COLUMNS:
                cells[COLUMNS[name]] = short_text(value)
        shown.append(cells)
    if not any(row["error"] for row in rows):
        for cells in shown:
            del cells["error"]
    return shown


LEADERBOARD = Table(
    "leaderboard",
    "search",
    "Leaderboard",
    "Validation top-1 at each rung, so that trials can be compared at equal epochs; ordered by the highest value that "
    "a trial reached. A click on a title sorts. All values of a trial are in the file, and under the pointer in the "
    "figure of every trial as a line. Sources: trials.csv and epochs.csv.",
    tabulate_leaderboard,
    show_leaderboard,
    is_long=True,
    is_of_all=True,
)

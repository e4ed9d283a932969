"""Selection bias: how much better the search saw its best configurations than fresh seeds do."""

from tune_sketch.analysis.rows import Row, Rows
from tune_sketch.analysis.run_data import RunData
from tune_sketch.analysis.tables.base import Table
from tune_sketch.analysis.text import percent_text, points_interval_text, points_text
from tune_sketch.statistics import measure_selection_bias


def tabulate_selection_bias(run: RunData) -> Rows:
    """Each finalist that the search tried: its value there and on fresh seeds after the same epoch.

    The search's own network, taken for want of time, is no fresh seed.
    """
    rows = []
    fresh = [trial for trial in run.retrainings if not trial.is_of_search]
    for rank, trial in enumerate(run.ranked, start=1):
        epoch = len(trial.epochs)
        own = [r for r in fresh if r.number == trial.number and len(r.epochs) >= epoch]
        if not own:
            continue
        retrained = [r.epochs[epoch - 1].val_top1 for r in own]
        value = trial.epochs[-1].val_top1
        bias = measure_selection_bias(value, retrained)
        row: Row = {"trial": trial.number, "place_in_search": rank, "epoch": epoch, "val_top1_in_search": value}
        row |= {"val_top1": sum(retrained) / len(retrained), "num_seeds": len(retrained)}
        rows.append(row | {"bias": bias.bias, "bias_low": bias.low, "bias_high": bias.high})
    return rows


def show_selection_bias(rows: Rows) -> Rows:
    """The text of the cells."""
    return [
        {
            "trial": f"{row['trial']}{' (paper)' * (row['trial'] == 0)}",
            "place in the search": row["place_in_search"],
            "epoch": row["epoch"],
            "in the search": percent_text(row["val_top1_in_search"]),
            "fresh seeds": percent_text(row["val_top1"]),
            "seeds": row["num_seeds"],
            "search too high by (points)": points_text(row["bias"]),
            "95 % interval": points_interval_text(row["bias_low"], row["bias_high"]),
        }
        for row in rows
    ]


SELECTION_BIAS = Table(
    "selection_bias",
    "result",
    "Selection bias: luck in the search's own values",
    "The best of many looks better than it is: validation top-1 in the search, and of fresh seeds after the same "
    "epoch. The interval is Student's t over the seeds. Sources: epochs.csv and retraining_epochs.csv.",
    tabulate_selection_bias,
    show_selection_bias,
)

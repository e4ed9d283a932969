"""Validation curves of the finalists' weights, as they are and averaged over the latest steps."""

from matplotlib.figure import Figure as Drawing

from tune_sketch.analysis.figures.base import Figure
from tune_sketch.analysis.figures.style import COLORS, label_epochs, new_figure
from tune_sketch.analysis.rows import Row, Rows
from tune_sketch.analysis.run_data import RunData

CURVES = ("raw_val_top1", "averaged_val_top1")


def tabulate_averaging(run: RunData) -> Rows:
    """Per epoch of a finalist that averages weights: mean, lowest and highest of both top-1 over its seeds."""
    rows = []
    for finalist in run.finalists:
        for index in range(max(len(trial.epochs) for trial in finalist.retrainings)):
            there = [trial.epochs[index].metrics for trial in finalist.retrainings if len(trial.epochs) > index]
            there = [metrics for metrics in there if all(name in metrics for name in CURVES)]
            if not there:
                continue
            row: Row = {"trial": finalist.number, "epoch": index + 1, "num_seeds": len(there)}
            for name in CURVES:
                values = [metrics[name] for metrics in there]
                row |= {name: sum(values) / len(values), f"{name}_low": min(values), f"{name}_high": max(values)}
            rows.append(row)
    return rows


def plot_averaging(rows: Rows, run: RunData) -> Drawing:
    """Raw dashed, averaged solid, the range over seeds as a band."""
    figure, (axis,) = new_figure(3.1, width_inches=5.2)
    for index, number in enumerate(dict.fromkeys(row["trial"] for row in rows)):
        own = [row for row in rows if row["trial"] == number]
        epochs, color = [row["epoch"] for row in own], COLORS[index % len(COLORS)]
        for name, dashes in zip(CURVES, ("--", "-"), strict=True):
            label = run.label(number) if dashes == "-" else None
            marker = "." if len(own) == 1 else None
            axis.plot(epochs, [100 * row[name] for row in own], dashes, color=color, marker=marker, label=label)
            low, high = ([100 * row[f"{name}_{end}"] for row in own] for end in ("low", "high"))
            axis.fill_between(epochs, low, high, color=color, alpha=0.12, linewidth=0)
    label_epochs(axis)
    axis.set_ylabel("top-1 in % (dashed: not averaged)")
    axis.legend(loc="best")
    return figure


AVERAGING = Figure(
    "averaging",
    "result",
    "Weights as they are, and averaged over the latest steps",
    "Of the finalists that average: mean over seeds, the range as a band. After each epoch the better of the two is "
    "the network's validation accuracy. * chosen on validation.",
    tabulate_averaging,
    plot_averaging,
)

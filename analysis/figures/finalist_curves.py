"""Training and validation curves of the finalists."""

import math

from matplotlib.figure import Figure as Drawing

from tune_sketch.analysis.figures.base import Figure
from tune_sketch.analysis.figures.style import COLORS, label_epochs, new_figure, scale_losses
from tune_sketch.analysis.rows import Row, Rows
from tune_sketch.analysis.run_data import RunData


def tabulate_finalist_curves(run: RunData) -> Rows:
    """Per epoch of a finalist: mean, lowest and highest over its seeds. The winning trial's own curve without them."""
    trials = [trial for trial in run.retrainings if trial.epochs] or run.ranked[:1]
    rows = []
    for number in dict.fromkeys(trial.number for trial in trials):
        own = [trial for trial in trials if trial.number == number]
        for index in range(max(len(trial.epochs) for trial in own)):
            row: Row = {"trial": number, "epoch": index + 1}
            there = [trial.epochs[index] for trial in own if len(trial.epochs) > index]
            for metric in ("train_loss", "val_loss", "train_top1", "val_top1"):
                values = [epoch.metrics.get(metric, math.nan) for epoch in there]
                row |= {metric: math.fsum(values) / len(values)}
                row |= {f"{metric}_low": min(values), f"{metric}_high": max(values)}
            rows.append(row | {"num_seeds": len(there)})
    return rows


def plot_finalist_curves(rows: Rows, run: RunData) -> Drawing:
    """Loss and top-1 on training (dashed) and validation, the range over seeds as a band."""
    figure, axes = new_figure(3.1, 1, 2)
    for index, number in enumerate(dict.fromkeys(row["trial"] for row in rows)):
        own = [row for row in rows if row["trial"] == number]
        epochs = [row["epoch"] for row in own]
        color = COLORS[index % len(COLORS)]
        name = run.label(number)
        for axis, metric, scale in ((axes[0], "loss", 1), (axes[1], "top1", 100)):
            for part, dashes in (("train", "--"), ("val", "-")):
                values = [scale * row[f"{part}_{metric}"] for row in own]
                marker = "." if len(own) == 1 else None
                label = name if part == "val" else None
                axis.plot(epochs, values, dashes, color=color, linewidth=1.3, marker=marker, label=label)
                low = [scale * row[f"{part}_{metric}_low"] for row in own]
                high = [scale * row[f"{part}_{metric}_high"] for row in own]
                axis.fill_between(epochs, low, high, color=color, alpha=0.15, linewidth=0)
    for axis, name in zip(axes, ("loss", "top-1 in %"), strict=True):
        label_epochs(axis)
        axis.set_ylabel(f"{name} (dashed: training)")
    scale_losses(axes[0], [row[f"{part}_loss"] for row in rows for part in ("train", "val")])
    axes[1].legend(loc="best")
    return figure


FINALIST_CURVES = Figure(
    "finalist_curves",
    "result",
    "Training and validation curves of the finalists (paper: Figs. 6 to 8)",
    "Mean over the seeds, with the range over seeds as a band; dashed: training. * chosen on validation.",
    tabulate_finalist_curves,
    plot_finalist_curves,
)

"""Several runs side by side: their test results with intervals, and the curves of the chosen configurations."""

import math
from collections.abc import Sequence

from matplotlib.figure import Figure as Drawing

from tune_sketch.analysis import paper
from tune_sketch.analysis.figures.base import Figure
from tune_sketch.analysis.figures.style import COLORS, label_epochs, new_figure, scale_losses
from tune_sketch.analysis.rows import Row, Rows
from tune_sketch.analysis.run_data import RunData, name_runs, runs_with_result
from tune_sketch.analysis.tables.finalists import interval_of_top1
from tune_sketch.data.figure_text import figure_text
from tune_sketch.statistics import wilson_interval


def tabulate_models(runs: Sequence[RunData]) -> Rows:
    """Test top-1 of each run with a result, its interval, and what the paper reported for that model."""
    names, rows = name_runs(runs), []
    for run in runs_with_result(runs):
        assert run.chosen is not None
        low, high, kind = interval_of_top1(run.chosen)
        row: Row = {"model": names[run.run.path], "top1": run.chosen.mean("test_top1")}
        row |= {"low": low, "high": high, "interval": kind, "num_test": run.facts.data.num_test}
        reported = paper.RESULTS.get(run.model)
        if reported is not None:
            bounds = wilson_interval(reported["top1"], paper.NUM_TEST)
            row |= {"paper_top1": reported["top1"], "paper_low": bounds[0], "paper_high": bounds[1]}
        rows.append(row)
    return rows


def plot_models(rows: Rows, runs: Sequence[RunData]) -> Drawing:
    """A point with its interval per model, the paper's below ours."""
    figure, (axis,) = new_figure(1.1 + 0.5 * len(rows))
    for index, row in enumerate(rows):
        for name, shift, color, marker in (("", -0.13, COLORS[0], "o"), ("paper_", 0.17, COLORS[6], "D")):
            if row.get(f"{name}top1") is None:
                continue
            value, low, high = (100 * row[f"{name}{end}"] for end in ("top1", "low", "high"))
            axis.plot([max(0, low), min(100, high)], [index + shift] * 2, color=color, linewidth=2)
            axis.scatter(value, index + shift, color=color, marker=marker, s=34, zorder=3)
            axis.annotate(
                f"{value:.1f}", (min(100, high), index + shift), (5, -3), textcoords="offset points", fontsize=8
            )
    axis.scatter([], [], color=COLORS[0], marker="o", s=34, label="this project")
    if any(row.get("paper_top1") is not None for row in rows):
        axis.scatter([], [], color=COLORS[6], marker="D", s=34, label="the paper, on its data")
    axis.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0.1)
    axis.set_yticks(range(len(rows)), [figure_text(row["model"]) for row in rows])
    axis.set_ylim(len(rows) - 0.5, -0.5)
    axis.set_xlim(0, 104)
    axis.set_xlabel("test top-1 (%), 95 % interval")
    axis.grid(axis="y", visible=False)
    return figure


def tabulate_model_curves(runs: Sequence[RunData]) -> Rows:
    """Per epoch of each run's chosen finalist: mean over its seeds of validation loss and top-1."""
    names, rows = name_runs(runs), []
    for run in runs_with_result(runs):
        assert run.chosen is not None
        own = [trial for trial in run.retrainings if trial.number == run.chosen.number]
        for index in range(max((len(trial.epochs) for trial in own), default=0)):
            there = [trial.epochs[index] for trial in own if len(trial.epochs) > index]
            row: Row = {"model": names[run.run.path], "epoch": index + 1, "num_seeds": len(there)}
            for metric in ("val_loss", "val_top1"):
                row[metric] = math.fsum(epoch.metrics[metric] for epoch in there) / len(there)
            rows.append(row)
    return rows


def plot_model_curves(rows: Rows, runs: Sequence[RunData]) -> Drawing:
    """Validation loss and top-1 of each run's chosen configuration."""
    figure, axes = new_figure(2.9, 1, 2)
    for index, model in enumerate(dict.fromkeys(row["model"] for row in rows)):
        label = figure_text(model)
        own = [row for row in rows if row["model"] == model]
        for axis, metric, scale in ((axes[0], "val_loss", 1), (axes[1], "val_top1", 100)):
            values = [scale * row[metric] for row in own]
            axis.plot([row["epoch"] for row in own], values, color=COLORS[index % 7], marker=".", label=label)
    for axis, quantity in zip(axes, ("validation loss", "validation top-1 (%)"), strict=True):
        label_epochs(axis)
        axis.set_ylabel(quantity)
    scale_losses(axes[0], [row["val_loss"] for row in rows])
    axes[1].legend(loc="best")
    return figure


MODELS = Figure(
    "models",
    "result",
    "Test top-1 of each model",
    "The chosen finalist of each run, mean over its seeds. The paper's values are of its own data and size: they show "
    "the form, not a contest.",
    tabulate_models,
    plot_models,
)
MODEL_CURVES = Figure(
    "model_curves",
    "result",
    "Validation curves of the chosen configurations (paper: Figs. 6 to 8)",
    "Mean over the seeds of each run's chosen finalist.",
    tabulate_model_curves,
    plot_model_curves,
)

"""Learning curves of all trials."""

from matplotlib.figure import Figure as Drawing

from tune_sketch.analysis.figures.base import Figure
from tune_sketch.analysis.figures.style import COLORS, label_epochs, new_figure
from tune_sketch.analysis.rows import Rows
from tune_sketch.analysis.run_data import RunData


def tabulate_trial_curves(run: RunData) -> Rows:
    """One row per trial and epoch."""
    return [
        {
            "trial": trial.number,
            "status": trial.status,
            "epoch": epoch.number,
            "val_top1": epoch.val_top1,
            "val_loss": epoch.val_loss,
        }
        for trial in run.trials
        for epoch in trial.epochs
    ]


def plot_trial_curves(rows: Rows, run: RunData) -> Drawing:
    """Validation top-1 of every trial; the three best are named."""
    figure, (axis,) = new_figure(3.6)
    curves: dict[int, Rows] = {}
    for row in rows:
        curves.setdefault(row["trial"], []).append(row)
    best = [trial.number for trial in run.ranked[:3]]
    for trial in sorted(curves, key=lambda trial: best.index(trial) if trial in best else len(best)):
        points, rank = curves[trial], best.index(trial) if trial in best else None
        label = f"{rank + 1}. trial {trial} ({points[-1]['status']})" if rank is not None else None
        axis.plot(
            [p["epoch"] for p in points],
            [100 * p["val_top1"] for p in points],
            marker=".",
            markersize=6 if len(points) == 1 else 3,
            color=COLORS[rank] if rank is not None else "#a0a0a0",
            linewidth=1.8 if rank is not None else 0.7,
            zorder=3 if rank is not None else 1,
            label=label,
        )
    for rung in run.rungs[:-1]:
        axis.axvline(rung, color="#999999", linestyle=":", linewidth=1)
    label_epochs(axis, "epoch (dotted: rungs, where trials are stopped)")
    axis.set_ylabel("validation top-1 (%)")
    axis.legend(loc="best")
    return figure


TRIAL_CURVES = Figure(
    "trial_curves",
    "search",
    "Learning curves of all trials",
    "Validation top-1 after every epoch. Grey: all but the best three.",
    tabulate_trial_curves,
    plot_trial_curves,
)

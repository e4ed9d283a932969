"""Values of all trials at each rung."""

import numpy as np
from matplotlib.figure import Figure as Drawing

from tune_sketch.analysis.figures.base import Figure
from tune_sketch.analysis.figures.style import COLORS, new_figure
from tune_sketch.analysis.rows import Rows
from tune_sketch.analysis.run_data import RunData
from tune_sketch.analysis.tables.rungs import tabulate_rungs


def plot_rungs(rows: Rows, run: RunData) -> Drawing:
    """Values of all trials at each rung; those that were stopped there are hollow."""
    figure, (axis,) = new_figure(3.3)
    rng = np.random.default_rng(0)
    stopped_at = {r.number: len(r.epochs) for r in run.trials if r.status == "stopped"}
    width = min(0.32, 0.015 * len(run.trials))
    for index, row in enumerate(rows):
        for r in run.trials:
            epoch = r.epoch_at(row["rung"])
            if epoch is not None:
                stopped = stopped_at.get(r.number) == row["rung"]
                face = "none" if stopped else COLORS[2]
                edge = COLORS[0] if stopped else COLORS[2]
                x = index + rng.uniform(-width, width)
                axis.scatter(x, 100 * epoch.val_top1, s=22, facecolors=face, edgecolors=edge, linewidths=1, zorder=3)
        winner = run.ranked[0]
        at = winner.epoch_at(row["rung"])
        if at is not None:
            label = f"trial {winner.number}, the best" if index == 0 else None
            axis.plot(
                [index - 0.35, index + 0.35], [100 * at.val_top1] * 2, color=COLORS[1], linewidth=1.5, label=label
            )
    labels = [f"epoch {row['rung']}\n{row['num_trials']} came, {row['num_stopped']} stopped" for row in rows]
    axis.set_xticks(range(len(rows)), labels)
    axis.set_xlim(-0.6, len(rows) - 0.4)
    axis.set_ylabel("validation top-1 (%)")
    axis.scatter([], [], s=22, color=COLORS[2], label="went on or ended by itself")
    axis.scatter([], [], s=22, facecolors="none", edgecolors=COLORS[0], label="stopped here")
    axis.legend(loc="best")
    return figure


RUNGS = Figure(
    "rungs",
    "search",
    "Rungs: which trials came, which were stopped",
    "A stopped trial that was at least as good as the later winner at the same epoch might have won.",
    tabulate_rungs,
    plot_rungs,
)

"""How much the finalists' results vary from seed to seed."""

import numpy as np
from matplotlib.figure import Figure as Drawing

from tune_sketch.analysis.figures.base import Figure
from tune_sketch.analysis.figures.style import COLORS, new_figure
from tune_sketch.analysis.rows import Rows
from tune_sketch.analysis.run_data import RunData


def tabulate_seeds(run: RunData) -> Rows:
    """One row per finalist and seed: validation and test top-1, beside the value that the search saw."""
    in_search = {r.number: r.epochs[-1].val_top1 for r in run.trials if r.epochs}
    return [
        {
            "trial": finalist.number,
            "seed_index": trial.seed_index,
            "val_top1_in_search": in_search.get(finalist.number),
            "val_top1": trial.epochs[-1].val_top1,
            "test_top1": trial.test.top1 if trial.test is not None else None,
        }
        for finalist in run.finalists
        for trial in finalist.retrainings
    ]


def plot_seeds(rows: Rows, run: RunData) -> Drawing:
    """Each seed a point; a bar at the mean; what the search saw as a cross."""
    numbers = list(dict.fromkeys(row["trial"] for row in rows))
    figure, (axis,) = new_figure(1.2 + 0.62 * len(numbers))
    for index, number in enumerate(numbers):
        own = [row for row in rows if row["trial"] == number]
        for metric, shift, color, marker in (("val_top1", -0.15, COLORS[0], "o"), ("test_top1", 0.15, COLORS[1], "s")):
            values = [100 * row[metric] for row in own if row[metric] is not None]
            if values:
                axis.scatter(values, [index + shift] * len(values), color=color, marker=marker, s=22, zorder=3)
                axis.plot([np.mean(values)] * 2, [index + shift - 0.13, index + shift + 0.13], color=color, linewidth=2)
        seen = own[0]["val_top1_in_search"]
        if seen is not None:
            axis.scatter(100 * seen, index - 0.15, color="black", marker="x", s=30, zorder=4)
    axis.scatter([], [], color=COLORS[0], marker="o", s=22, label="validation")
    axis.scatter([], [], color=COLORS[1], marker="s", s=22, label="test")
    axis.scatter([], [], color="black", marker="x", s=30, label="validation in the search")
    axis.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0.1)
    axis.set_yticks(range(len(numbers)), [run.label(number) for number in numbers])
    axis.set_ylim(len(numbers) - 0.5, -0.5)
    axis.set_xlabel("top-1 (%)")
    return figure


SEED_VARIANCE = Figure(
    "seed_variance",
    "result",
    "Seed variance of the finalists",
    "Each mark is one retrained network, the bar their mean. * chosen on validation.",
    tabulate_seeds,
    plot_seeds,
)

"""Drawings per class in each split."""

import numpy as np
from matplotlib.figure import Figure as Drawing

from tune_sketch.analysis.figures.base import Figure
from tune_sketch.analysis.figures.style import COLORS, new_figure
from tune_sketch.analysis.rows import Rows
from tune_sketch.analysis.run_data import RunData
from tune_sketch.data.figure_text import class_text
from tune_sketch.data.splits import SPLIT_NAMES


def tabulate_labels(run: RunData) -> Rows:
    """Drawings per class and split."""
    if run.data is None or run.splits is None:
        return []
    size = len(run.class_names)
    counts = [np.bincount(run.data.labels[getattr(run.splits, name)], minlength=size) for name in SPLIT_NAMES]
    columns = dict(zip(SPLIT_NAMES, counts, strict=True))
    return [
        {"class": name} | {split: int(column[label]) for split, column in columns.items()}
        for label, name in enumerate(run.class_names)
    ]


def plot_labels(rows: Rows, run: RunData) -> Drawing:
    """Stacked bars per class."""
    width = float(np.clip(0.115 * len(rows) + 1, 7, 16))
    figure, (axis,) = new_figure(3.3, width_inches=width)
    below = np.zeros(len(rows))
    for split, color in zip(SPLIT_NAMES, (COLORS[0], COLORS[3], COLORS[1]), strict=True):
        heights = np.array([row[split] for row in rows])
        axis.bar(np.arange(len(rows)), heights, bottom=below, width=0.85, label=split, color=color)
        below += heights
    if len(rows) <= 130:
        axis.set_xticks(range(len(rows)), [class_text(row["class"]) for row in rows], rotation=90, fontsize=7)
    else:
        axis.set_xticks([])
        axis.set_xlabel(f"{len(rows)} classes in alphabetical order (named in the CSV file)")
    axis.set_xlim(-0.7, len(rows) - 0.3)
    axis.set_ylabel("drawings")
    axis.grid(axis="x", visible=False)
    axis.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0.1)
    return figure


LABEL_DISTRIBUTION = Figure(
    "label_distribution",
    "data",
    "Drawings per class",
    "In training, validation and test. Source: splits.csv.",
    tabulate_labels,
    plot_labels,
    needs_data=True,
)

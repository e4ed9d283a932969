"""Precision, recall and F1 of each class."""

import numpy as np
from matplotlib.figure import Figure as Drawing

from tune_sketch.analysis.figures.base import Figure
from tune_sketch.analysis.figures.style import COLORS, hide, new_figure
from tune_sketch.analysis.rows import Rows
from tune_sketch.analysis.run_data import RunData
from tune_sketch.data.figure_text import class_text

MAX_COLUMNS = 4


def tabulate_classes(run: RunData) -> Rows:
    """Precision, recall and F1 of each class on the test split (scikit-learn's, 0 where undefined), best F1 first."""
    if not run.predictions:
        return []
    from sklearn.metrics import precision_recall_fscore_support  # a second, only for a run with a test result

    labels = list(range(len(run.class_names)))
    columns = precision_recall_fscore_support(run.test_labels, run.predicted_labels, labels=labels, zero_division=0)
    rows = [
        {"class": name, "precision": float(p), "recall": float(r), "f1": float(f), "num_drawings": int(n)}
        for name, p, r, f, n in zip(run.class_names, *columns, strict=True)
    ]
    return sorted(rows, key=lambda row: (-row["f1"], row["class"]))


def plot_classes(rows: Rows, run: RunData) -> Drawing:
    """Three marks per class, in columns of at most 45 classes, and no more columns than a page has room for."""
    num_columns = min(MAX_COLUMNS, -(-len(rows) // 45))
    num_rows = -(-len(rows) // num_columns)
    width = max(7.0, 3.1 * num_columns)
    figure, axes = new_figure(0.16 * num_rows + 0.9, 1, num_columns, width_inches=width, sharex=True)
    for column, axis in enumerate(axes):
        part = rows[column * num_rows : (column + 1) * num_rows]
        if not part:
            hide(axis)
            continue
        at = np.arange(len(part))
        low = [100 * min(row["precision"], row["recall"]) for row in part]
        high = [100 * max(row["precision"], row["recall"]) for row in part]
        axis.hlines(at, low, high, color="#bbbbbb", linewidth=1)
        for metric, color, marker in (
            ("precision", COLORS[0], "o"),
            ("recall", COLORS[1], "s"),
            ("f1", "#222222", "|"),
        ):
            label = "F1" if metric == "f1" else metric
            values = [100 * row[metric] for row in part]
            axis.scatter(values, at, color=color, marker=marker, s=14 if metric != "f1" else 40, label=label, zorder=3)
        axis.set_yticks(at, [class_text(row["class"]) for row in part], fontsize=7.5)
        axis.set_ylim(num_rows - 0.4, -0.6)
        axis.set_xlim(-4, 104)
        axis.set_xlabel("%")
    axes[0].legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0.1)
    return figure


CLASSES = Figure(
    "classes",
    "classes",
    "Precision, recall and F1 per class (paper: Fig. 14)",
    "Test split, best F1 first. Where two marks lie on each other the later one hides the earlier.",
    tabulate_classes,
    plot_classes,
)

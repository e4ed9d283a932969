"""Calibration: stated probabilities against the share of right answers."""

import numpy as np
from matplotlib.figure import Figure as Drawing

from tune_sketch.analysis.figures.base import Figure
from tune_sketch.analysis.figures.style import COLORS, new_figure
from tune_sketch.analysis.rows import Row, Rows
from tune_sketch.analysis.run_data import RunData
from tune_sketch.statistics import wilson_interval

NUM_BINS = 15  # of the expected calibration error, as Guo et al. 2017 (arXiv 1706.04599) measure it


def tabulate_calibration(run: RunData) -> Rows:
    """Test drawings by the probability of their best class, in bins of equal width, and the expected error over all.

    expected_calibration_error: mean over the bins of |share right - mean probability|, weighted by drawings.
    """
    if not run.predictions:
        return []
    right = run.predicted_labels == run.test_labels
    bins = np.minimum((run.predicted_probabilities * NUM_BINS).astype(int), NUM_BINS - 1)
    rows: Rows = []
    for place in np.unique(bins):
        own = bins == place
        low, high = wilson_interval(float(right[own].mean()), int(own.sum()))
        row: Row = {"probability_from": place / NUM_BINS, "probability_to": (place + 1) / NUM_BINS}
        row |= {"num_drawings": int(own.sum()), "mean_probability": float(run.predicted_probabilities[own].mean())}
        rows.append(row | {"share_right": float(right[own].mean()), "right_low": low, "right_high": high})
    gaps = [row["num_drawings"] * abs(row["share_right"] - row["mean_probability"]) for row in rows]
    error = sum(gaps) / len(right)
    return [row | {"expected_calibration_error": error} for row in rows]


def plot_calibration(rows: Rows, run: RunData) -> Drawing:
    """Share right against stated probability; the size of a point is its number of drawings."""
    figure, (axis,) = new_figure(3.6, width_inches=4.8)
    axis.plot([0, 100], [0, 100], color="#999999", linestyle="--", linewidth=1, label="as certain as right")
    most = max(row["num_drawings"] for row in rows)
    stated = [100 * row["mean_probability"] for row in rows]
    right = [100 * row["share_right"] for row in rows]
    axis.vlines(
        stated,
        [100 * row["right_low"] for row in rows],
        [100 * row["right_high"] for row in rows],
        color=COLORS[0],
        linewidth=1,
        label="95 % interval of the drawings",
    )
    axis.scatter(stated, right, s=[12 + 110 * row["num_drawings"] / most for row in rows], color=COLORS[0], alpha=0.7)
    axis.set(xlabel="stated probability of the best class (%)", ylabel="right (%)", xlim=(0, 102), ylim=(-2, 102))
    axis.set_title(f"expected calibration error {100 * rows[0]['expected_calibration_error']:.1f} points")
    axis.legend(loc="lower right")
    return figure


CALIBRATION = Figure(
    "calibration",
    "classes",
    "Calibration",
    "Stated probability against the share of right answers. Below the line: more certain than right. Size of a point: "
    "number of test drawings; line through it: 95 % interval (Wilson).",
    tabulate_calibration,
    plot_calibration,
)

"""Calibration: stated probabilities against the share of right answers, as trained and with the temperature."""

import numpy as np
from matplotlib.figure import Figure as Drawing

from tune_sketch.analysis.figures.base import Figure
from tune_sketch.analysis.figures.style import COLORS, new_figure
from tune_sketch.analysis.rows import Row, Rows
from tune_sketch.analysis.run_data import RunData
from tune_sketch.events import Trial
from tune_sketch.statistics import wilson_interval
from tune_sketch.trainables.calibration import change_temperature

NUM_BINS = 15  # of the expected calibration error, as Guo et al. 2017 (arXiv 1706.04599, section 2) measure it
BEFORE, AFTER = "as trained", "calibrated"


def bins_of(stated: np.ndarray) -> np.ndarray:
    """int64: the bin of each probability, of `NUM_BINS` equally wide ones."""
    return np.minimum((stated * NUM_BINS).astype(np.int64), NUM_BINS - 1)


def expected_calibration_error(stated: np.ndarray, right: np.ndarray) -> float:
    """Mean over the bins of |share right - mean stated probability|, weighted by their drawings.

    stated: float [N], the probability of each drawing's best class; right: bool [N].
    """
    gaps = np.bincount(bins_of(stated), weights=right - stated, minlength=NUM_BINS)
    return float(np.abs(gaps).sum() / len(stated))


def tabulate_calibration(run: RunData) -> Rows:
    """Test drawings by the probability of their best class, in bins of equal width, and the expected error over all.

    Of the network in best/, before and after its logits are divided by its temperature. A network without one, of an
    earlier version, is as trained.
    """
    if not run.predictions:
        return []
    right = run.predicted_labels == run.test_labels
    best = run.history.later_trainings.get(run.best_key) if run.best_key is not None else None
    before = read_before(run, best) if best is not None else None
    if before is None:
        return tabulate_bins(BEFORE, run.predicted_probabilities, right)
    return [
        *tabulate_bins(BEFORE, before.max(axis=1), right),
        *tabulate_bins(AFTER, run.predicted_probabilities, right),
    ]


def read_before(run: RunData, trial: Trial) -> np.ndarray | None:
    """Float64 [num_test, num_classes]: a retrained network's probabilities of the test drawings before calibration.

    None where it has no temperature, or they were not kept.
    """
    probabilities = run.read_test_probabilities(trial.key)
    if trial.test is None or trial.test.temperature == 1 or probabilities is None:
        return None
    return change_temperature(probabilities, 1 / trial.test.temperature)


def tabulate_bins(state: str, stated: np.ndarray, right: np.ndarray) -> Rows:
    """One row for each bin that has drawings."""
    bins, error = bins_of(stated), expected_calibration_error(stated, right)
    rows: Rows = []
    for bin_index in np.unique(bins):
        own = bins == bin_index
        low, high = wilson_interval(float(right[own].mean()), int(own.sum()))
        row: Row = {"probabilities": state, "probability_from": bin_index / NUM_BINS}
        row |= {"probability_to": (bin_index + 1) / NUM_BINS, "num_drawings": int(own.sum())}
        row |= {"mean_probability": float(stated[own].mean()), "share_right": float(right[own].mean())}
        rows.append(row | {"right_low": low, "right_high": high, "expected_calibration_error": error})
    return rows


def plot_calibration(rows: Rows, run: RunData) -> Drawing:
    """Share right against stated probability; the size of a point is its number of drawings."""
    states = list(dict.fromkeys(row["probabilities"] for row in rows))
    figure, axes = new_figure(3.6, 1, len(states), width_inches=4.2 * len(states) + 0.6)
    most = max(row["num_drawings"] for row in rows)
    for axis, state, color in zip(axes, states, COLORS, strict=False):
        own = [row for row in rows if row["probabilities"] == state]
        axis.plot([0, 100], [0, 100], color="#999999", linestyle="--", linewidth=1, label="as certain as right")
        stated = [100 * row["mean_probability"] for row in own]
        axis.vlines(
            stated,
            [100 * row["right_low"] for row in own],
            [100 * row["right_high"] for row in own],
            color=color,
            linewidth=1,
            label="95 % interval of the drawings",
        )
        sizes = [12 + 110 * row["num_drawings"] / most for row in own]
        axis.scatter(stated, [100 * row["share_right"] for row in own], s=sizes, color=color, alpha=0.7)
        axis.set(xlabel="stated probability of the best class (%)", ylabel="right (%)", xlim=(0, 102), ylim=(-2, 102))
        error = 100 * own[0]["expected_calibration_error"]
        axis.set_title(f"{state}: expected calibration error {error:.1f} points")
        axis.legend(loc="lower right")
    return figure


CALIBRATION = Figure(
    "calibration",
    "classes",
    "Calibration",
    "Stated probability against the share of right answers, of the test drawings: as the network was trained, and as "
    "it answers, calibrated on validation. Below the line: more certain than right. Size of a point: number of test "
    "drawings; line through it: 95 % interval (Wilson).",
    tabulate_calibration,
    plot_calibration,
)

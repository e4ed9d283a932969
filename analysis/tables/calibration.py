"""Shows the effect of temperature on each of the winner's networks: how far stated probabilities are from the truth."""

import math

import numpy as np

from tune_sketch.analysis.figures.calibration import expected_calibration_error, read_before
from tune_sketch.analysis.rows import Row, Rows
from tune_sketch.analysis.run_data import RunData
from tune_sketch.analysis.tables.base import Table
from tune_sketch.analysis.text import percent_text, points_interval_text, points_text
from tune_sketch.statistics import LEVEL, t_interval

NUM_RESAMPLES = 500  # of the test drawings
MEASURES = ("error_before", "error_after", "error_change", "loss_before", "loss_after", "loss_change")


def tabulate_temperatures(run: RunData) -> Rows:
    """Expected calibration error and cross-entropy on test drawings before and after, of each seed, and their mean.

    Intervals of a seed are percentiles over resampled test drawings (Efron 1979), of the mean Student's t over seeds.
    """
    rows: Rows = []
    for trial in run.chosen.retrainings if run.chosen is not None and run.predictions else ():
        before, after = read_before(run, trial), run.read_test_probabilities(trial.key)
        if before is None or after is None or trial.test is None:
            continue
        row: Row = {"network": trial.key, "temperature": trial.test.temperature, "num_drawings": len(after)}
        rows.append(row | measure_change(before, after, run.test_labels))
    if len(rows) > 1:
        values = {name: [row[name] for row in rows] for name in ("temperature", *MEASURES, "top1")}
        mean: Row = {"network": "mean over seeds", "num_drawings": rows[0]["num_drawings"]}
        for name, own in values.items():
            mean[name] = math.fsum(own) / len(own)
            if name in MEASURES:
                mean[f"{name}_low"], mean[f"{name}_high"] = t_interval(own) or (None, None)
        rows.append(mean)
    return rows


def measure_change(before: np.ndarray, after: np.ndarray, labels: np.ndarray) -> Row:
    """The measures of one network's probabilities [N, classes], with 95 % intervals over resampled drawings.

    The same drawings are drawn before and after, so that the interval of the change is that of pairs.
    """
    drawings = np.arange(len(labels))
    right = after.argmax(axis=1) == labels
    stated = {"before": before.max(axis=1), "after": after.max(axis=1)}
    losses = {
        when: -np.log(np.maximum(probabilities[drawings, labels], np.finfo(np.float32).tiny))
        for when, probabilities in (("before", before), ("after", after))
    }

    def measure(rows: np.ndarray) -> list[float]:
        errors = [expected_calibration_error(own[rows], right[rows]) for own in stated.values()]
        loss = [float(own[rows].mean()) for own in losses.values()]
        return [*errors, errors[1] - errors[0], *loss, loss[1] - loss[0]]

    rng = np.random.default_rng(0)
    resampled = [measure(rng.integers(len(drawings), size=len(drawings))) for _ in range(NUM_RESAMPLES)]
    low, high = np.quantile(resampled, [0.5 - LEVEL / 2, 0.5 + LEVEL / 2], axis=0)
    row: Row = {"top1": float(right.mean())}
    for index, (name, value) in enumerate(zip(MEASURES, measure(drawings), strict=True)):
        row |= {name: value, f"{name}_low": float(low[index]), f"{name}_high": float(high[index])}
    return row


def show_temperatures(rows: Rows) -> Rows:
    """The text of the cells."""
    return [
        {
            "network": row["network"],
            "test drawings": row["num_drawings"],
            "temperature": f"{row['temperature']:.2f}",
            "calibration error before": percent_text(row["error_before"]),
            "after": percent_text(row["error_after"]),
            "change (points)": points_text(row["error_change"]),
            "95 % interval": points_interval_text(row["error_change_low"], row["error_change_high"]),
            "loss before (nats)": f"{row['loss_before']:.3f}",
            "loss after": f"{row['loss_after']:.3f}",
        }
        for row in rows
    ]


TEMPERATURES = Table(
    "temperatures",
    "classes",
    "Calibration of the winner's networks",
    "Each network's logits are divided by one temperature, fitted on validation by the lowest cross-entropy (Guo et "
    "al. 2017); above 1 it was too certain. Expected calibration error on the test split: the mean over 15 "
    "equally wide bins of the best class's probability of |share right - mean probability|, weighted by drawings. "
    "Intervals: of a network, percentiles over 500 resamples of the test drawings; of the mean, Student's t over the "
    "seeds. Few drawings make the error look larger than it is. Loss: cross-entropy. Sources: retraining.csv and "
    "retrained/.",
    tabulate_temperatures,
    show_temperatures,
)

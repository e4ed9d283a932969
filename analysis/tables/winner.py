"""Shows the winner's retrained networks, their ensemble, and the last step, each with its cost."""

import time

import numpy as np

from tune_sketch.analysis.rows import Rows
from tune_sketch.analysis.run_data import RunData
from tune_sketch.analysis.tables.base import Table
from tune_sketch.analysis.text import interval_text, percent_text, seconds_text
from tune_sketch.retraining.ensemble import ENSEMBLE, LAST_STEP, OWN, RETRAINED, read_winner

NUM_TIMED = 32  # drawings, at once
NAMES = {
    OWN: "trained in the search",
    RETRAINED: "retrained, seed {seed_index}",
    ENSEMBLE: "mean of the seeds' probabilities (predict --ensemble)",
    LAST_STEP: "last step: more epochs, on training and validation drawings",
}


def tabulate_winner(run: RunData) -> Rows:
    """The rows of winner.csv, with the milliseconds for a drawing on this machine where the drawings are here."""
    rows: Rows = list(map(dict, read_winner(run.run)))
    seconds = time_drawing(run) if rows else None
    for row in rows:
        row["milliseconds_per_drawing"] = None if seconds is None else 1000 * int(row["num_networks"]) * seconds
    return rows


def time_drawing(run: RunData) -> float | None:
    """Seconds that the network of best/ takes for a drawing, the fastest of three times; None without drawings."""
    if run.data is None or run.splits is None or run.best_model is None:
        return None
    images = np.asarray(run.data.images[run.splits.test[:NUM_TIMED]])
    times = []
    for _ in range(3):
        begun = time.perf_counter()
        run.best_model.compute_probabilities(images)
        times.append((time.perf_counter() - begun) / len(images))
    return min(times)


def show_winner(rows: Rows) -> Rows:
    """The text of the cells."""
    shown = []
    for row in rows:
        milliseconds = row["milliseconds_per_drawing"]
        shown.append(
            {
                "network": NAMES[row["network"]].format(**row) + " *" * (row["is_in_best"] == "True"),
                "trained on": f"{int(row['num_train']):,}",
                "validation": percent_text(float(row["val_top1"])) if row["val_top1"] else "none",
                "test top-1": percent_text(float(row["test_top1"])),
                "95 % interval": interval_text(float(row["test_top1_wilson_low"]), float(row["test_top1_wilson_high"])),
                "top-5": percent_text(float(row["test_top5"])),
                "networks": row["num_networks"],
                "time per drawing": "" if milliseconds is None else f"{milliseconds:.3g} ms",
                "training": seconds_text(float(row["train_seconds"])),
            }
        )
    return shown


WINNER = Table(
    "winner",
    "result",
    "What is made of the winner",
    f"* the network of best/. Chosen on validation before the test split was read; no test result chose anything. The "
    f"last step has no validation accuracy, because it is trained on those drawings; whether it averages weights was "
    f"decided by the seeds; its training counts that of the network that went on. Interval: Wilson, the chance of the "
    f"drawings alone. Time: {NUM_TIMED} drawings at once on the machine of this report, once for each network. Source: "
    f"winner.csv.",
    tabulate_winner,
    show_winner,
)

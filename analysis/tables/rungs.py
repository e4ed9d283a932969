"""The rungs of a search: how many trials reached each, how many were stopped there, and which might have won."""

import numpy as np

from tune_sketch.analysis.rows import Row, Rows
from tune_sketch.analysis.run_data import RunData
from tune_sketch.analysis.tables.base import Table
from tune_sketch.analysis.text import percent_text


def tabulate_rungs(run: RunData) -> Rows:
    """For each rung: how many trials came, how many were stopped, and which of those might have won.

    ahead_of_winner: stopped trials that were at least as good there as the trial that won. within_reach: stopped
    trials that would have beaten it with the largest gain that any survivor made from there to the last rung.
    """
    rows: Rows = []
    winner = run.ranked[0] if run.ranked else None
    for rung in run.rungs:
        values = {r.number: epoch.val_top1 for r in run.trials if (epoch := r.epoch_at(rung)) is not None}
        if not values:
            continue
        stopped = [r.number for r in run.trials if r.status == "stopped" and len(r.epochs) == rung]
        gains = [r.epochs[-1].val_top1 - values[r.number] for r in run.trials if len(r.epochs) > rung]
        row: Row = {
            "rung": rung,
            "num_trials": len(values),
            "best_val_top1": max(values.values()),
            "median_val_top1": float(np.median(list(values.values()))),
            "num_stopped": len(stopped),
            "best_stopped": max((values[n] for n in stopped), default=None),
        }
        if winner is not None and winner.number in values:
            ahead = [n for n in stopped if values[n] >= values[winner.number]]
            reach = winner.epochs[-1].val_top1 - max(gains, default=0.0)
            row["num_stopped_ahead_of_winner"] = len(ahead)
            row["num_stopped_within_reach"] = sum(values[n] > reach for n in stopped)
            row["stopped_ahead_of_winner"] = " ".join(map(str, ahead)) or None
        rows.append(row)
    return rows


def show_rungs(rows: Rows) -> Rows:
    """The text of the cells."""
    return [
        {
            "epoch": row["rung"],
            "trials": row["num_trials"],
            "best top-1": percent_text(row["best_val_top1"]),
            "median": percent_text(row["median_val_top1"]),
            "stopped here": row["num_stopped"],
            "best of the stopped": percent_text(row["best_stopped"]),
            "stopped though ahead of the later winner": row.get("num_stopped_ahead_of_winner", ""),
            "stopped within the largest gain seen": row.get("num_stopped_within_reach", ""),
        }
        for row in rows
    ]


RUNG_COUNTS = Table(
    "rung_counts",
    "search",
    "What the rungs did",
    "Whether a stopped trial would have won cannot be known. The last two columns count the stopped trials that were "
    "ahead of the later winner at the same epoch, and those that could have passed it with the largest gain of any "
    "trial.",
    tabulate_rungs,
    show_rungs,
)

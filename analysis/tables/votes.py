"""Shows the gain of several looks at one drawing over one look, measured on test drawings."""

import time

import numpy as np

from tune_sketch.analysis.rows import Row, Rows
from tune_sketch.analysis.run_data import RunData
from tune_sketch.analysis.tables.base import Table
from tune_sketch.analysis.text import percent_text, points_interval_text, points_text
from tune_sketch.inference.test_time_augmentation import (
    VOTES,
    predict_sections,
    vote_by_activation,
    vote_by_majority,
)
from tune_sketch.statistics import paired_interval

TIME_SHARE, MIN_SECONDS, MAX_SECONDS = 0.02, 5.0, 120.0  # of the run's training time, for measuring votes
PASSES_PER_DRAWING = 16  # forward passes over all votes, the activation map counted as four
LOOKS = {
    "one": "one look, as in the result",
    "sections": "--vote sections: majority of nine overlapping sections",
    "cam": "--vote cam: sections weighted by activation",
    "flips": "--vote flips: mean with the mirror image",
}


def tabulate_votes(run: RunData) -> Rows:
    """Top-1 of each kind of vote on test drawings, and its paired difference to one look, with a 95 % interval.

    num_gained drawings are right with the vote alone, num_lost without it alone.
    """
    if run.data is None or run.splits is None or run.best_model is None or not run.predictions:
        return []
    model = run.best_model
    order = np.sort(np.random.default_rng(2).permutation(run.splits.test)[: count_affordable_drawings(run)])
    images, labels = np.asarray(run.data.images[order]), run.data.labels[order]
    plain = model.compute_probabilities(images).argmax(axis=1) == labels
    rows: Rows = [{"look": "one", "num_drawings": len(order), "top1": float(plain.mean())}]
    by_section = predict_sections(model, images)
    for name, vote in VOTES.items():
        if name == "sections":
            scores = vote_by_majority(by_section)
        elif name == "cam":
            scores = vote_by_activation(model, images, by_section)
        else:
            scores = vote(model, images)
        right = scores.argmax(axis=1) == labels
        gained, lost = int((right & ~plain).sum()), int((plain & ~right).sum())
        low, high = paired_interval(gained, lost, len(order))
        row: Row = {"look": name, "num_drawings": len(order), "top1": float(right.mean())}
        row |= {"num_gained": gained, "num_lost": lost, "gain": (gained - lost) / len(order)}
        rows.append(row | {"gain_low": low, "gain_high": high})
    return rows


def count_affordable_drawings(run: RunData) -> int:
    """The number of test drawings that can be voted on in a fiftieth of the run's training time; at least 32.

    Judged by the time of the first few: a large network after a short search is measured on part of the split.
    """
    assert run.data is not None
    assert run.splits is not None
    assert run.best_model is not None
    seconds_per_drawing = 0.0
    for number in (8, 32, 256):  # the first pass is slower, and a small batch costs more for each drawing
        some = np.asarray(run.data.images[run.splits.test[:number]])
        begun = time.perf_counter()
        run.best_model.compute_probabilities(some)
        seconds = time.perf_counter() - begun
        seconds_per_drawing = seconds / len(some)
        if number > 8 and seconds > 0.5:
            break
    trained_seconds = sum(epoch.seconds for r in [*run.trials, *run.retrainings] for epoch in r.epochs)
    seconds = min(MAX_SECONDS, max(MIN_SECONDS, TIME_SHARE * trained_seconds))
    return max(32, int(seconds / (PASSES_PER_DRAWING * seconds_per_drawing)))


def show_votes(rows: Rows) -> Rows:
    """The text of the cells."""
    return [
        {
            "look": LOOKS.get(row["look"], row["look"]),
            "test drawings": row["num_drawings"],
            "top-1": percent_text(row["top1"]),
            "right only with this vote": row.get("num_gained", ""),
            "wrong only with this vote": row.get("num_lost", ""),
            "gain (points)": points_text(row["gain"]) if "gain" in row else "",
            "95 % interval": points_interval_text(row.get("gain_low"), row.get("gain_high")),
        }
        for row in rows
    ]


VOTES_TABLE = Table(
    "votes",
    "look",
    "Several looks at one drawing (the paper's future work)",
    "On test drawings, after the choice was made: these numbers chose nothing. Gain over one look at the same "
    "drawings; an interval that holds 0 shows no difference. A large network after a short search is measured on "
    "part of the split.",
    tabulate_votes,
    show_votes,
    needs_data=True,
)

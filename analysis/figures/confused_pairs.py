"""The most confused pairs of classes, with the drawings that were taken for the other class."""

import numpy as np
from matplotlib.figure import Figure as Drawing

from tune_sketch.analysis.figures.base import Figure
from tune_sketch.analysis.figures.confusion import count_confusion
from tune_sketch.analysis.figures.pictures import drawn, picture_grid
from tune_sketch.analysis.rows import Rows
from tune_sketch.analysis.run_data import RunData
from tune_sketch.data.figure_text import class_text

NUM_PAIRS, NUM_PER_PAIR = 6, 4


def tabulate_confused_pairs(run: RunData) -> Rows:
    """Pairs of a true and a wrongly predicted class, most errors first."""
    counts = count_confusion(run)
    totals = counts.sum(axis=1)
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")
    rows = []
    for true, guess in zip(*np.unravel_index(order, counts.shape), strict=True):
        if counts[true, guess] == 0:
            break
        rows.append(
            {
                "true_class": run.class_names[true],
                "predicted_class": run.class_names[guess],
                "num_errors": int(counts[true, guess]),
                "num_drawings": int(totals[true]),
            }
        )
    return rows


def tabulate_pair_pictures(run: RunData) -> Rows:
    """The most confused pairs with the drawings that were taken for the other class, and training drawings of it."""
    if run.data is None or run.splits is None or not run.predictions:
        return []
    indices, train = run.test_indices, run.splits.train
    label_of = {name: label for label, name in enumerate(run.class_names)}
    rows = []
    for pair in tabulate_confused_pairs(run)[:NUM_PAIRS]:
        true, guess = label_of[pair["true_class"]], label_of[pair["predicted_class"]]
        errors = indices[(run.test_labels == true) & (run.predicted_labels == guess)][:NUM_PER_PAIR]
        examples = train[run.data.labels[train] == guess][:NUM_PER_PAIR]
        for kind, chosen in (("taken for the other", errors), ("the other, in training", examples)):
            rows += [pair | {"kind": kind, "image": run.data.names[i], "index": int(i)} for i in chosen]
    return rows


def plot_pair_pictures(rows: Rows, run: RunData) -> Drawing:
    """One row per pair: left the wrong ones, right the class that they were taken for."""
    pairs = list(dict.fromkeys((row["true_class"], row["predicted_class"]) for row in rows))
    num_columns = 2 * NUM_PER_PAIR + 1
    pictures: list[np.ndarray | None] = []
    labels: list[str] = []
    for true, guess in pairs:
        own = [row for row in rows if (row["true_class"], row["predicted_class"]) == (true, guess)]
        wrong = [drawn(run, row["index"]) for row in own if row["kind"] == "taken for the other"]
        other = [drawn(run, row["index"]) for row in own if row["kind"] != "taken for the other"]
        before = NUM_PER_PAIR - len(wrong)
        pictures += [*[None] * before, *wrong, None, *other, *[None] * (NUM_PER_PAIR - len(other))]
        names = [class_text(name, 16) for name in (true, guess)]
        count = f"{own[0]['num_errors']} of {own[0]['num_drawings']}"
        labels += [*[""] * before, names[0], *[""] * (len(wrong) - 1), f"{count}\ntaken for"]
        labels += [names[1], *[""] * (NUM_PER_PAIR - 1)]
    return picture_grid(pictures, labels, num_columns)


CONFUSED_PAIRS = Figure(
    "confused_pairs",
    "classes",
    "The most confused pairs",
    "Left: drawings of a class that were taken for another one. Right: training drawings of that other class.",
    tabulate_pair_pictures,
    plot_pair_pictures,
    is_picture=True,
    needs_data=True,
)

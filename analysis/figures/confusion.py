"""The confusion matrix of the test split, similar classes as neighbours."""

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure as Drawing
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from tune_sketch.analysis.figures.base import Figure
from tune_sketch.analysis.figures.style import new_figure
from tune_sketch.analysis.rows import Rows
from tune_sketch.analysis.run_data import RunData
from tune_sketch.data.figure_text import class_text

MAX_LABELLED_CLASSES = 130  # of more, the most confused ones are drawn


def tabulate_confusion(run: RunData) -> Rows:
    """The cells of the confusion matrix that are not 0, classes ordered by similarity.

    Similarity of two classes: the probability that drawings of one get for the other. With a few test drawings per
    class that is more exact than counts of errors.
    """
    if not run.predictions:
        return []
    counts = count_confusion(run)
    similarity: np.ndarray = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    probabilities = run.read_test_probabilities(run.best_key) if run.best_key else None
    if probabilities is not None:
        sums = np.zeros(counts.shape)
        np.add.at(sums, run.test_labels, probabilities)
        similarity = sums / np.maximum(1, counts.sum(axis=1, keepdims=True))
    order = order_by_similarity(similarity)
    names = run.class_names
    return [
        {"true_class": names[true], "predicted_class": names[guess], "num_drawings": int(counts[true, guess])}
        for true in order
        for guess in order
        if counts[true, guess] or true == guess
    ]


def count_confusion(run: RunData) -> np.ndarray:
    """int64 [classes, classes]: test drawings by true (row) and predicted class (column)."""
    num_classes = len(run.class_names)
    counts = np.zeros((num_classes, num_classes), np.int64)
    if run.predictions:
        np.add.at(counts, (run.test_labels, run.predicted_labels), 1)
    return counts


def order_by_similarity(similarity: np.ndarray) -> np.ndarray:
    """An order of the classes in which similar ones are neighbours: leaves of an average-linkage tree.

    similarity: float [classes, classes], how much of one class is taken for the other.
    """
    if len(similarity) < 3:
        return np.arange(len(similarity))
    both = (similarity + similarity.T) / 2
    distance = both.max() - both
    np.fill_diagonal(distance, 0.0)
    tree = linkage(squareform(distance, checks=False), "average", optimal_ordering=len(both) <= 130)
    leaves: np.ndarray = leaves_list(tree)
    return leaves


def plot_confusion(rows: Rows, run: RunData) -> Drawing:
    """Rows: true class; columns: predicted; shade: share of the true class's drawings. Right ones are blue."""
    names = list(dict.fromkeys(row["true_class"] for row in rows))
    wrong = {name: 0 for name in names}
    for row in rows:
        if row["true_class"] != row["predicted_class"]:
            wrong[row["true_class"]] += row["num_drawings"]
            wrong[row["predicted_class"]] += row["num_drawings"]
    left_out = ""
    if len(names) > MAX_LABELLED_CLASSES:
        kept = set(sorted(names, key=lambda name: -wrong[name])[:MAX_LABELLED_CLASSES])
        left_out = f" (the {len(kept)} most confused of {len(names)} classes)"
        names = [name for name in names if name in kept]
    index_of = {name: index for index, name in enumerate(names)}
    counts = np.zeros((len(names), len(names)))
    totals = dict.fromkeys(names, 0)
    for row in rows:
        if row["true_class"] in index_of:
            totals[row["true_class"]] += row["num_drawings"]
            if row["predicted_class"] in index_of:
                counts[index_of[row["true_class"]], index_of[row["predicted_class"]]] = row["num_drawings"]
    shares = counts / np.maximum(1, np.array(list(totals.values())))[:, None]
    picture = colormaps["Oranges"](0.9 * np.sqrt(shares))[..., :3]
    picture[shares == 0] = 1
    diagonal = np.arange(len(names))
    picture[diagonal, diagonal] = colormaps["Blues"](0.15 + 0.75 * shares[diagonal, diagonal])[..., :3]
    side = float(np.clip(0.108 * len(names) + 1.6, 5.0, 16.0))
    figure, (axis,) = new_figure(side, width_inches=max(7.0, side))
    axis.imshow(picture, interpolation="nearest")
    size = float(np.clip(72 * (side - 1.6) / len(names) * 0.82, 5.5, 9))
    labels = [class_text(name) for name in names]
    axis.set_xticks(diagonal, labels, rotation=90, fontsize=size)
    axis.set_yticks(diagonal, labels, fontsize=size)
    is_large = len(names) > 40  # then names on all four sides, so that a cell's are near
    axis.tick_params(length=0, labeltop=is_large, labelright=is_large)
    axis.set_xticks(diagonal[:-1] + 0.5, minor=True)
    axis.set_yticks(diagonal[:-1] + 0.5, minor=True)
    axis.grid(False)
    axis.grid(which="minor", color="#e8e8e8", linewidth=0.4)
    axis.tick_params(which="minor", length=0)
    if len(names) <= 25:
        for row_index, column_index in np.argwhere(counts > 0):
            dark = shares[row_index, column_index] > 0.55
            text = str(int(counts[row_index, column_index]))
            axis.text(column_index, row_index, text, ha="center", va="center", fontsize=7, color="w" if dark else "k")
    axis.set(xlabel="predicted class" + left_out, ylabel="true class")
    return figure


CONFUSION = Figure(
    "confusion",
    "classes",
    "Confusion matrix (paper: Figs. 9 and 10)",
    "Test drawings. Classes are ordered so that similar ones are neighbours; blue: right, orange: wrong, the "
    "darker the larger the share of the true class.",
    tabulate_confusion,
    plot_confusion,
)

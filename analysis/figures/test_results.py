"""The test result as tables and figures: seeds, confusion matrix, precision and recall per class, calibration."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from tune_sketch.analysis.figures.style import COLORS, hide, new_figure
from tune_sketch.analysis.run_data import RunData
from tune_sketch.statistics.intervals import wilson_interval

Rows = list[dict[str, Any]]
MOST_LABELLED_CLASSES = 130  # in a confusion matrix; of more, the most confused ones are drawn
NUM_BINS = 15  # of the expected calibration error, as Guo et al. 2017 (arXiv 1706.04599) measure it


def tabulate_noise(run: RunData) -> Rows:
    """One row per finalist and seed: validation and test top-1, beside the value that the search saw."""
    in_search = {r.number: r.epochs[-1]["val_top1"] for r in run.trials if r.epochs}
    return [
        {
            "trial": number,
            "seed_index": int(seed["seed_index"]),
            "val_top1_in_search": in_search.get(number),
            "val_top1": float(seed["val_top1"]),
            "test_top1": float(seed["test_top1"]) if seed["test_top1"] else None,
        }
        for number in run.finalists
        for seed in run.confirm_seeds(number)
    ]


def plot_noise(rows: Rows, run: RunData) -> Figure:
    """Each seed a point; a bar at the mean; what the search saw as a cross."""
    numbers = list(dict.fromkeys(row["trial"] for row in rows))
    figure, (axis,) = new_figure(1.2 + 0.62 * len(numbers))
    for place, number in enumerate(numbers):
        own = [row for row in rows if row["trial"] == number]
        for metric, shift, color, marker in (("val_top1", -0.15, COLORS[0], "o"), ("test_top1", 0.15, COLORS[1], "s")):
            values = [100 * row[metric] for row in own if row[metric] is not None]
            if values:
                axis.scatter(values, [place + shift] * len(values), color=color, marker=marker, s=22, zorder=3)
                axis.plot([np.mean(values)] * 2, [place + shift - 0.13, place + shift + 0.13], color=color, linewidth=2)
        seen = own[0]["val_top1_in_search"]
        if seen is not None:
            axis.scatter(100 * seen, place - 0.15, color="black", marker="x", s=30, zorder=4)
    axis.scatter([], [], color=COLORS[0], marker="o", s=22, label="validation")
    axis.scatter([], [], color=COLORS[1], marker="s", s=22, label="test")
    axis.scatter([], [], color="black", marker="x", s=30, label="validation in the search")
    axis.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0.1)
    names = [f"trial {n}{' (study)' if n == 0 else ''}{' *' if n == run.chosen else ''}" for n in numbers]
    axis.set_yticks(range(len(numbers)), names)
    axis.set_ylim(len(numbers) - 0.5, -0.5)
    axis.set_xlabel("top-1 (%)")
    return figure


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
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    if len(similarity) < 3:
        return np.arange(len(similarity))
    both = (similarity + similarity.T) / 2
    distance = both.max() - both
    np.fill_diagonal(distance, 0.0)
    tree = linkage(squareform(distance, checks=False), "average", optimal_ordering=len(both) <= 130)
    return leaves_list(tree)


def tabulate_confusion(run: RunData) -> Rows:
    """The cells of the confusion matrix that are not 0, classes ordered by similarity.

    Similar are classes whose drawings get each other's probability: with a few test drawings per class that says more
    than counts of errors.
    """
    if not run.predictions:
        return []
    counts = count_confusion(run)
    similarity: np.ndarray = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    if run.test_probabilities is not None:
        sums = np.zeros(counts.shape)
        np.add.at(sums, run.test_labels, run.test_probabilities)
        similarity = sums / np.maximum(1, counts.sum(axis=1, keepdims=True))
    order = order_by_similarity(similarity)
    names = run.class_names
    return [
        {"true_class": names[true], "predicted_class": names[guess], "num_drawings": int(counts[true, guess])}
        for true in order
        for guess in order
        if counts[true, guess] or true == guess
    ]


def plot_confusion(rows: Rows, run: RunData) -> Figure:
    """Rows: true class; columns: predicted; shade: share of the true class's drawings. Right ones are blue."""
    names = list(dict.fromkeys(row["true_class"] for row in rows))
    wrong = {name: 0 for name in names}
    for row in rows:
        if row["true_class"] != row["predicted_class"]:
            wrong[row["true_class"]] += row["num_drawings"]
            wrong[row["predicted_class"]] += row["num_drawings"]
    left_out = ""
    if len(names) > MOST_LABELLED_CLASSES:
        kept = set(sorted(names, key=lambda name: -wrong[name])[:MOST_LABELLED_CLASSES])
        left_out = f" (the {len(kept)} most confused of {len(names)} classes)"
        names = [name for name in names if name in kept]
    place = {name: index for index, name in enumerate(names)}
    counts = np.zeros((len(names), len(names)))
    totals = dict.fromkeys(names, 0)
    for row in rows:
        if row["true_class"] in place:
            totals[row["true_class"]] += row["num_drawings"]
            if row["predicted_class"] in place:
                counts[place[row["true_class"]], place[row["predicted_class"]]] = row["num_drawings"]
    shares = counts / np.maximum(1, np.array(list(totals.values())))[:, None]
    from matplotlib import colormaps

    picture = colormaps["Oranges"](0.9 * np.sqrt(shares))[..., :3]
    picture[shares == 0] = 1
    diagonal = np.arange(len(names))
    picture[diagonal, diagonal] = colormaps["Blues"](0.15 + 0.75 * shares[diagonal, diagonal])[..., :3]
    side = float(np.clip(0.108 * len(names) + 1.6, 5.0, 16.0))
    figure, (axis,) = new_figure(side, width_inches=max(7.0, side))
    axis.imshow(picture, interpolation="nearest")
    size = float(np.clip(72 * (side - 1.6) / len(names) * 0.82, 5.5, 9))
    labels = [name.replace("_", " ") for name in names]
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
        for row_place, column_place in np.argwhere(counts > 0):
            dark = shares[row_place, column_place] > 0.55
            text = str(int(counts[row_place, column_place]))
            axis.text(column_place, row_place, text, ha="center", va="center", fontsize=7, color="w" if dark else "k")
    axis.set(xlabel="predicted class" + left_out, ylabel="true class")
    return figure


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


def tabulate_classes(run: RunData) -> Rows:
    """Precision, recall and F1 of each class on the test split (scikit-learn's, 0 where undefined), best F1 first."""
    from sklearn.metrics import precision_recall_fscore_support

    if not run.predictions:
        return []
    labels = list(range(len(run.class_names)))
    columns = precision_recall_fscore_support(run.test_labels, run.predicted_labels, labels=labels, zero_division=0)
    rows = [
        {"class": name, "precision": float(p), "recall": float(r), "f1": float(f), "num_drawings": int(n)}
        for name, p, r, f, n in zip(run.class_names, *columns, strict=True)
    ]
    return sorted(rows, key=lambda row: (-row["f1"], row["class"]))


def plot_classes(rows: Rows, run: RunData) -> Figure:
    """Three marks per class, in columns of at most 45 classes."""
    num_columns = -(-len(rows) // 45)
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
        axis.set_yticks(at, [row["class"].replace("_", " ") for row in part], fontsize=7.5)
        axis.set_ylim(num_rows - 0.4, -0.6)
        axis.set_xlim(-4, 104)
        axis.set_xlabel("%")
    axes[0].legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0.1)
    return figure


def tabulate_calibration(run: RunData) -> Rows:
    """Test drawings by the probability of their best class, in bins of equal width, and the expected error over all.

    expected_calibration_error: mean over the bins of |share right - mean probability|, weighted by drawings.
    """
    if not run.predictions:
        return []
    right = run.predicted_labels == run.test_labels
    bins = np.minimum((run.best_probabilities * NUM_BINS).astype(int), NUM_BINS - 1)
    rows: Rows = []
    for place in np.unique(bins):
        own = bins == place
        low, high = wilson_interval(float(right[own].mean()), int(own.sum()))
        row = {"probability_from": place / NUM_BINS, "probability_to": (place + 1) / NUM_BINS}
        row |= {"num_drawings": int(own.sum()), "mean_probability": float(run.best_probabilities[own].mean())}
        rows.append(row | {"share_right": float(right[own].mean()), "right_low": low, "right_high": high})
    gaps = [row["num_drawings"] * abs(row["share_right"] - row["mean_probability"]) for row in rows]
    error = sum(gaps) / len(right)
    return [row | {"expected_calibration_error": error} for row in rows]


def plot_calibration(rows: Rows, run: RunData) -> Figure:
    """Share right against stated probability; the size of a point is its number of drawings."""
    figure, (axis,) = new_figure(3.6, width_inches=4.8)
    axis.plot([0, 100], [0, 100], color="#999999", linestyle="--", linewidth=1, label="as sure as right")
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

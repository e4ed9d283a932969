"""Figures made of drawings: samples, variation, inversion, the most confused pairs, where the network looks."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tune_sketch.analysis.figures.style import COLORS, hide, new_figure
from tune_sketch.analysis.figures.test_results import tabulate_confused_pairs
from tune_sketch.analysis.run_data import RunData
from tune_sketch.data.splits import SPLIT_NAMES

Rows = list[dict[str, Any]]
NUM_VARIED_CLASSES, NUM_VARIED = 6, 10
NUM_PAIRS, NUM_PER_PAIR = 6, 4
NUM_LOOKED_AT = 6
NUM_CHANNELS = 16


def as_drawn(image: np.ndarray, run: RunData) -> np.ndarray:
    """Dark ink on light paper, whatever the network was given."""
    return 255 - image if run.settings.invert else image


def show_pictures(axis: Axes, pictures: Sequence[np.ndarray | None], labels: Sequence[str], num_columns: int) -> None:
    """Pictures, [H, W] grey or [H, W, 3], with text under each, in one axis; None leaves a gap with its text inside."""
    side = next((len(picture) for picture in pictures if picture is not None), 1)
    cell_width, cell_height = 1.08, 1.34
    for place, picture in enumerate(pictures):
        if picture is None:
            continue
        left, top = cell_width * (place % num_columns), cell_height * (place // num_columns)
        smooth = "nearest" if side <= 64 else "antialiased"
        extent = (left, left + 1, top + 1, top)
        axis.imshow(picture, extent=extent, vmin=0, vmax=255, interpolation=smooth, cmap="gray")
        axis.plot([left, left + 1, left + 1, left, left], [top, top, top + 1, top + 1, top], color="#cccccc", lw=0.5)
    size = 8.5 if num_columns <= 8 else 6.8
    for place, label in enumerate(labels):
        left, top = cell_width * (place % num_columns), cell_height * (place // num_columns)
        is_gap = pictures[place] is None
        axis.text(
            left + 0.5,
            top + (0.5 if is_gap else 1.03),
            label,
            ha="center",
            va="center" if is_gap else "top",
            fontsize=size,
        )
    num_rows = -(-len(pictures) // num_columns)
    axis.set_xlim(-0.05, cell_width * num_columns)
    axis.set_ylim(cell_height * num_rows, -0.05)
    axis.set_aspect("equal")
    hide(axis)


def picture_grid(pictures: Sequence[np.ndarray | None], labels: Sequence[str], num_columns: int) -> Figure:
    """A figure of pictures alone."""
    num_rows = -(-len(pictures) // num_columns)
    width = max(7.0, 0.63 * num_columns)
    height = width * 1.34 * num_rows / (1.08 * num_columns)
    figure, (axis,) = new_figure(max(0.9, height), width_inches=width, layout=None)
    axis.set_position((0, 0, 1, 1))
    show_pictures(axis, pictures, labels, num_columns)
    return figure


def cut_text(text: str, most: int) -> str:
    """At most so many letters."""
    return text if len(text) <= most else text[: most - 1] + "…"


def tabulate_samples(run: RunData) -> Rows:
    """One training drawing of each class (of at most 345 classes evenly)."""
    return pick_training_drawings(run, len(run.class_names), 1)


def pick_training_drawings(run: RunData, num_classes: int, num_per_class: int) -> Rows:
    """Drawings of the training split, chosen by a fixed seed, of evenly chosen classes."""
    if run.data is None or run.splits is None:
        return []
    rng = np.random.default_rng(0)
    train = run.splits.train
    rows = []
    chosen = np.unique(np.linspace(0, len(run.class_names) - 1, num_classes).round().astype(int))
    for label in chosen:
        members = train[run.data.labels[train] == label]
        for index in rng.choice(members, min(num_per_class, len(members)), replace=False):
            rows.append({"class": run.class_names[label], "image": run.data.names[index], "index": int(index)})
    return rows


def plot_samples(rows: Rows, run: RunData) -> Figure:
    num_columns = min(10, max(6, len(rows))) if len(rows) <= 60 else 12 if len(rows) <= 150 else 16
    labels = [cut_text(row["class"].replace("_", " "), 12) for row in rows]
    return picture_grid([drawn(run, row["index"]) for row in rows], labels, num_columns)


def drawn(run: RunData, index: int) -> np.ndarray:
    """One drawing of the data set, dark on light."""
    assert run.data is not None
    return as_drawn(np.asarray(run.data.images[index]), run)


def tabulate_variation(run: RunData) -> Rows:
    """Several training drawings of some classes."""
    return pick_training_drawings(run, NUM_VARIED_CLASSES, NUM_VARIED)


def plot_variation(rows: Rows, run: RunData) -> Figure:
    names = list(dict.fromkeys(row["class"] for row in rows))
    pictures: list[np.ndarray | None] = []
    labels: list[str] = []
    for name in names:
        own = [drawn(run, row["index"]) for row in rows if row["class"] == name]
        pictures += [*own, *[None] * (NUM_VARIED - len(own))]
        labels += [cut_text(name.replace("_", " "), 16), *[""] * (NUM_VARIED - 1)]
    return picture_grid(pictures, labels, NUM_VARIED)


def tabulate_labels(run: RunData) -> Rows:
    """Drawings per class and split."""
    if run.data is None or run.splits is None:
        return []
    size = len(run.class_names)
    counts = [np.bincount(run.data.labels[getattr(run.splits, name)], minlength=size) for name in SPLIT_NAMES]
    columns = dict(zip(SPLIT_NAMES, counts, strict=True))
    return [
        {"class": name} | {split: int(column[label]) for split, column in columns.items()}
        for label, name in enumerate(run.class_names)
    ]


def plot_labels(rows: Rows, run: RunData) -> Figure:
    """Stacked bars per class."""
    width = float(np.clip(0.115 * len(rows) + 1, 7, 16))
    figure, (axis,) = new_figure(3.3, width_inches=width)
    below = np.zeros(len(rows))
    for split, color in zip(SPLIT_NAMES, (COLORS[0], COLORS[3], COLORS[1]), strict=True):
        heights = np.array([row[split] for row in rows])
        axis.bar(np.arange(len(rows)), heights, bottom=below, width=0.85, label=split, color=color)
        below += heights
    if len(rows) <= 130:
        axis.set_xticks(range(len(rows)), [row["class"].replace("_", " ") for row in rows], rotation=90, fontsize=7)
    else:
        axis.set_xticks([])
        axis.set_xlabel(f"{len(rows)} classes in alphabetical order (named in the CSV file)")
    axis.set_xlim(-0.7, len(rows) - 0.3)
    axis.set_ylabel("drawings")
    axis.grid(axis="x", visible=False)
    axis.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0.1)
    return figure


def tabulate_inversion(run: RunData) -> Rows:
    """Some drawings, and which share of their pixels is not 0 as drawn and inverted."""
    rows = pick_training_drawings(run, 5, 1)
    for row in rows:
        picture = drawn(run, row["index"])
        row["share_not_zero_as_drawn"] = float((picture > 0).mean())
        row["share_not_zero_inverted"] = float((picture < 255).mean())
    return rows


def plot_inversion(rows: Rows, run: RunData) -> Figure:
    pictures = [drawn(run, row["index"]) for row in rows]
    labels = [f"{100 * row['share_not_zero_as_drawn']:.0f} % not 0" for row in rows]
    labels += [f"{100 * row['share_not_zero_inverted']:.0f} % not 0" for row in rows]
    return picture_grid([*pictures, *(255 - picture for picture in pictures)], labels, len(rows))


def indices_of_predictions(run: RunData) -> np.ndarray:
    """Index in the data set of each row of predictions.csv."""
    assert run.data is not None
    place = {name: index for index, name in enumerate(run.data.names)}
    return np.array([place[row["image"]] for row in run.predictions], dtype=np.int64)


def tabulate_pair_pictures(run: RunData) -> Rows:
    """The most confused pairs with the drawings that were taken for the other class, and training drawings of it."""
    if run.data is None or run.splits is None or not run.predictions:
        return []
    indices, train = indices_of_predictions(run), run.splits.train
    label_of = {name: label for label, name in enumerate(run.class_names)}
    rows = []
    for pair in tabulate_confused_pairs(run)[:NUM_PAIRS]:
        true, guess = label_of[pair["true_class"]], label_of[pair["predicted_class"]]
        errors = indices[(run.test_labels == true) & (run.predicted_labels == guess)][:NUM_PER_PAIR]
        examples = train[run.data.labels[train] == guess][:NUM_PER_PAIR]
        for kind, chosen in (("taken for the other", errors), ("the other, in training", examples)):
            rows += [pair | {"kind": kind, "image": run.data.names[i], "index": int(i)} for i in chosen]
    return rows


def plot_pair_pictures(rows: Rows, run: RunData) -> Figure:
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
        names = [cut_text(name.replace("_", " "), 16) for name in (true, guess)]
        count = f"{own[0]['num_errors']} of {own[0]['num_drawings']}"
        labels += [*[""] * before, names[0], *[""] * (len(wrong) - 1), f"{count}\ntaken for"]
        labels += [names[1], *[""] * (NUM_PER_PAIR - 1)]
    return picture_grid(pictures, labels, num_columns)


def tabulate_activation_maps(run: RunData) -> Rows:
    """Test drawings, right and wrong ones by a fixed seed, with what was predicted."""
    if run.data is None or run.best_model is None or not run.predictions:
        return []
    indices = indices_of_predictions(run)
    right = run.predicted_labels == run.test_labels
    order = np.random.default_rng(1).permutation(len(indices))
    rows = []
    for kind, places in (("right", order[right[order]]), ("wrong", order[~right[order]])):
        for place in places[:NUM_LOOKED_AT]:
            rows.append(
                {
                    "kind": kind,
                    "image": run.predictions[place]["image"],
                    "true_class": run.predictions[place]["true_class"],
                    "predicted_class": run.predictions[place]["class_1"],
                    "probability": float(run.best_probabilities[place]),
                    "layer": run.best_model.cam_layer,
                    "index": int(indices[place]),
                }
            )
    return rows


def plot_activation_maps(rows: Rows, run: RunData) -> Figure:
    """Grad-CAM: right predictions, then wrong ones with what spoke for the predicted and for the true class."""
    from tune_sketch.inference.grad_cam import map_activations, overlay

    assert run.data is not None
    assert run.best_model is not None
    label_of = {name: label for label, name in enumerate(run.class_names)}
    pictures: list[np.ndarray | None] = []
    labels: list[str] = []
    for kind, targets in (("right", ["true_class"]), ("wrong", ["predicted_class", "true_class"])):
        own = [row for row in rows if row["kind"] == kind]
        if not own:
            continue
        images = np.stack([run.data.images[row["index"]] for row in own])
        gap = NUM_LOOKED_AT - len(own)
        pictures += [*(as_drawn(image, run) for image in images), *[None] * gap]
        titles = [f"{row['predicted_class']}\n{100 * row['probability']:.0f} %" for row in own]
        if kind == "wrong":
            titles = [f"is {row['true_class']}" for row in own]
        labels += [*titles, *[""] * gap]
        for target in targets:
            maps = map_activations(run.best_model, images, np.array([label_of[row[target]] for row in own]))
            shown = [overlay(i, m, run.settings.invert) for i, m in zip(images, maps, strict=True)]
            pictures += [*shown, *[None] * gap]
            titles = [f"for {row[target]}" for row in own]
            if target == "predicted_class":
                titles = [f"for {row[target]}\n{100 * row['probability']:.0f} %" for row in own]
            labels += [*titles, *[""] * gap]
    return picture_grid(pictures, [label.replace("_", " ") for label in labels], NUM_LOOKED_AT)


def tabulate_channels(run: RunData) -> Rows:
    """The channels of the first layer that a drawing excites most, strongest first."""
    looked_at = tabulate_activation_maps(run)[:1]
    if not looked_at:
        return []
    channels = read_channels(run, looked_at[0]["index"])
    strength = channels.mean(axis=(1, 2))
    order = np.argsort(-strength, kind="stable")[:NUM_CHANNELS]
    return [
        {"image": looked_at[0]["image"], "channel": int(c), "mean_activation": float(strength[c])}
        | {"share_positive": float((channels[c] > 0).mean()), "index": looked_at[0]["index"]}
        for c in order
    ]


def read_channels(run: RunData, index: int) -> np.ndarray:
    """Float32 [channels, h, w] of the first layer for one drawing."""
    from tune_sketch.inference.grad_cam import first_layer_channels

    assert run.data is not None
    assert run.best_model is not None
    return first_layer_channels(run.best_model, np.asarray(run.data.images[index]))


def plot_channels(rows: Rows, run: RunData) -> Figure:
    """The drawing first, then its channels, each on its own scale (white: strongest)."""
    channels = read_channels(run, rows[0]["index"])
    pictures: list[np.ndarray | None] = [drawn(run, rows[0]["index"])]
    for row in rows:
        channel = channels[row["channel"]]
        pictures.append(255 * channel / max(float(channel.max()), 1e-9))
    return picture_grid(pictures, ["the drawing", *(f"channel {row['channel']}" for row in rows)], 6)

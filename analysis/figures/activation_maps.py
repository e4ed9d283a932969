"""Class activation maps of test drawings: where the network looks."""

import numpy as np
from matplotlib.figure import Figure as Drawing

from tune_sketch.analysis.figures.base import Figure
from tune_sketch.analysis.figures.pictures import as_drawn, picture_grid
from tune_sketch.analysis.rows import Rows
from tune_sketch.analysis.run_data import RunData
from tune_sketch.data.figure_text import class_text

NUM_LOOKED_AT = 6


def tabulate_activation_maps(run: RunData) -> Rows:
    """Test drawings, right and wrong ones by a fixed seed, with what was predicted."""
    if run.data is None or run.best_model is None or not run.predictions:
        return []
    indices = run.test_indices
    right = run.predicted_labels == run.test_labels
    order = np.random.default_rng(1).permutation(len(indices))
    rows = []
    for kind, positions in (("right", order[right[order]]), ("wrong", order[~right[order]])):
        for position in positions[:NUM_LOOKED_AT]:
            rows.append(
                {
                    "kind": kind,
                    "image": run.predictions[position].image,
                    "true_class": run.predictions[position].true_class,
                    "predicted_class": run.predictions[position].predicted_class,
                    "probability": run.predictions[position].probability,
                    "layer": run.best_model.cam_layer,
                    "index": int(indices[position]),
                }
            )
    return rows


def plot_activation_maps(rows: Rows, run: RunData) -> Drawing:
    """Grad-CAM: right predictions, then wrong ones with the evidence for the predicted and for the true class."""
    from tune_sketch.inference.grad_cam import map_activations, overlay  # torch: seconds, only for a run with a network

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
        titles = [f"{class_text(row['predicted_class'], 16)}\n{100 * row['probability']:.0f} %" for row in own]
        if kind == "wrong":
            titles = [f"is {class_text(row['true_class'], 16)}" for row in own]
        labels += [*titles, *[""] * gap]
        for target in targets:
            maps = map_activations(run.best_model, images, np.array([label_of[row[target]] for row in own]))
            shown = [overlay(i, m, run.settings.invert) for i, m in zip(images, maps, strict=True)]
            pictures += [*shown, *[None] * gap]
            titles = [f"for {class_text(row[target], 16)}" for row in own]
            if target == "predicted_class":
                titles = [f"for {class_text(row[target], 16)}\n{100 * row['probability']:.0f} %" for row in own]
            labels += [*titles, *[""] * gap]
    return picture_grid(pictures, labels, NUM_LOOKED_AT)


ACTIVATION_MAPS = Figure(
    "activation_maps",
    "look",
    "Class activation maps (paper: Figs. 11, 12, 20)",
    "Grad-CAM on test drawings chosen by a fixed seed; red: evidence for the class. First two rows: right predictions. "
    "Below: wrong ones, with the evidence for the predicted class and for the true one; plain: there was none. Taken "
    "at the deepest layer that has at least 4 x 4 cells left (named in the CSV file).",
    tabulate_activation_maps,
    plot_activation_maps,
    is_picture=True,
    needs_data=True,
)

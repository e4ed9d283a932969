"""Lays drawings out in a grid, and picks training drawings by a fixed seed."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing

from tune_sketch.analysis.figures.style import hide, new_figure
from tune_sketch.analysis.rows import Rows
from tune_sketch.analysis.run_data import RunData


def as_drawn(image: np.ndarray, run: RunData) -> np.ndarray:
    """Dark ink on light paper, whatever the network was given."""
    return 255 - image if run.settings.invert else image


def drawn(run: RunData, index: int) -> np.ndarray:
    """One drawing of the data set, dark on light."""
    assert run.data is not None
    return as_drawn(np.asarray(run.data.images[index]), run)


def show_pictures(axis: Axes, pictures: Sequence[np.ndarray | None], labels: Sequence[str], num_columns: int) -> None:
    """Pictures, [H, W] grey or [H, W, 3], with text under each, in one axis; None leaves a gap with its text inside."""
    side = next((len(picture) for picture in pictures if picture is not None), 1)
    cell_width, cell_height = 1.08, 1.34
    for index, picture in enumerate(pictures):
        if picture is None:
            continue
        left, top = cell_width * (index % num_columns), cell_height * (index // num_columns)
        smooth = "nearest" if side <= 64 else "antialiased"
        extent = (left, left + 1, top + 1, top)
        axis.imshow(picture, extent=extent, vmin=0, vmax=255, interpolation=smooth, cmap="gray")
        axis.plot([left, left + 1, left + 1, left, left], [top, top, top + 1, top + 1, top], color="#cccccc", lw=0.5)
    size = 8.5 if num_columns <= 8 else 6.8
    for index, label in enumerate(labels):
        left, top = cell_width * (index % num_columns), cell_height * (index // num_columns)
        is_gap = pictures[index] is None
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


def picture_grid(pictures: Sequence[np.ndarray | None], labels: Sequence[str], num_columns: int) -> Drawing:
    """A figure of pictures alone."""
    num_rows = -(-len(pictures) // num_columns)
    width = max(7.0, 0.63 * num_columns)
    height = width * 1.34 * num_rows / (1.08 * num_columns)
    figure, (axis,) = new_figure(max(0.9, height), width_inches=width, layout=None)
    axis.set_position((0, 0, 1, 1))
    show_pictures(axis, pictures, labels, num_columns)
    return figure


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

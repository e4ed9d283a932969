"""Drawings of the training split: one of each class, and the variation within some classes."""

import numpy as np
from matplotlib.figure import Figure as Drawing

from tune_sketch.analysis.figures.base import Figure
from tune_sketch.analysis.figures.pictures import drawn, pick_training_drawings, picture_grid
from tune_sketch.analysis.rows import Rows
from tune_sketch.analysis.run_data import RunData
from tune_sketch.data.figure_text import class_text

NUM_VARIED_CLASSES, NUM_VARIED = 6, 10


def tabulate_samples(run: RunData) -> Rows:
    """One training drawing of each class."""
    return pick_training_drawings(run, len(run.class_names), 1)


def plot_samples(rows: Rows, run: RunData) -> Drawing:
    """A grid, wider for more classes."""
    num_columns = min(10, max(6, len(rows))) if len(rows) <= 60 else 12 if len(rows) <= 150 else 16
    labels = [class_text(row["class"], 12) for row in rows]
    return picture_grid([drawn(run, row["index"]) for row in rows], labels, num_columns)


def tabulate_variation(run: RunData) -> Rows:
    """Several training drawings of some classes."""
    return pick_training_drawings(run, NUM_VARIED_CLASSES, NUM_VARIED)


def plot_variation(rows: Rows, run: RunData) -> Drawing:
    """One row per class."""
    names = list(dict.fromkeys(row["class"] for row in rows))
    pictures: list[np.ndarray | None] = []
    labels: list[str] = []
    for name in names:
        own = [drawn(run, row["index"]) for row in rows if row["class"] == name]
        pictures += [*own, *[None] * (NUM_VARIED - len(own))]
        labels += [class_text(name, 16), *[""] * (NUM_VARIED - 1)]
    return picture_grid(pictures, labels, NUM_VARIED)


SAMPLES = Figure(
    "samples",
    "data",
    "One drawing of each class (paper: Fig. 1)",
    "From the training split, as decoded for the network, dark on light.",
    tabulate_samples,
    plot_samples,
    is_picture=True,
    needs_data=True,
)
VARIATION = Figure(
    "variation",
    "data",
    "Variation within a class (paper: Fig. 2)",
    "Training drawings of some classes, chosen by a fixed seed.",
    tabulate_variation,
    plot_variation,
    is_picture=True,
    needs_data=True,
)

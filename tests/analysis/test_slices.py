"""Each hyperparameter by itself: what stands below an axis can be read."""

import itertools
from types import SimpleNamespace

import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg

from tune_sketch.analysis.figures.slices import plot_slices

VALUES = {  # by hyperparameter, of six trials near one recipe
    "learning_rate": (0.001, 0.001, 0.00098, 0.001, 0.00048, 0.0001),
    "decay": (0.0001, 0.0, 0.0, 0.0, 0.0, 0.0),
    "weight_decay": (1e-6, 0.01, 0.01, 0.0093, 0.01, 0.01),
    "width_shift": (0.0, 0.08, 0.08, 0.081, 0.1, 0.013),
    "batch_size": (64, 32, 128, 64, 32, 32),
    "epochs": (4, 4, 4, 3, 4, 4),
    "optimizer": ("adam", "adamw", "rmsprop", "adamw", "adam", "adamw"),
    "rotation_degrees": (10.0, 15.0, 15.0, 10.4, 15.0, 14.8),
}


@pytest.fixture(scope="module")
def axes() -> dict[str, Axes]:
    """By title, as drawn."""
    rows = [
        {name: values[trial] for name, values in VALUES.items()} | {"val_top1": 0.2 + 0.03 * trial}
        for trial in range(6)
    ]
    figure = plot_slices(rows, SimpleNamespace(varied=list(VALUES), rungs=(1, 3, 4)))
    FigureCanvasAgg(figure).draw()
    return {axis.get_title(): axis for axis in figure.axes if axis.get_title()}


@pytest.mark.parametrize("name", VALUES)
def test_labels_of_an_axis_lie_beside_each_other(axes: dict[str, Axes], name: str) -> None:
    axis = axes[name.replace("_", " ")]
    low, high = axis.get_xlim()
    shown = [
        label.get_window_extent()
        for at, label in zip(axis.get_xticks(), axis.get_xticklabels(), strict=True)
        if low <= at <= high and label.get_text()
    ]
    assert len(shown) >= 2
    gaps = [right.x0 - left.x1 for left, right in itertools.pairwise(shown)]
    assert min(gaps) > 0, gaps

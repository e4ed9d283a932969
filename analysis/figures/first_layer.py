"""The channels of the first layer for one test drawing."""

import numpy as np
from matplotlib.figure import Figure as Drawing

from tune_sketch.analysis.figures.activation_maps import tabulate_activation_maps
from tune_sketch.analysis.figures.base import Figure
from tune_sketch.analysis.figures.pictures import drawn, picture_grid
from tune_sketch.analysis.rows import Rows
from tune_sketch.analysis.run_data import RunData

NUM_CHANNELS = 16


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
    from tune_sketch.inference.grad_cam import first_layer_channels  # torch: seconds, only for a run with a network

    assert run.data is not None
    assert run.best_model is not None
    return first_layer_channels(run.best_model, np.asarray(run.data.images[index]))


def plot_channels(rows: Rows, run: RunData) -> Drawing:
    """The drawing first, then its channels, each on its own scale (white: strongest)."""
    channels = read_channels(run, rows[0]["index"])
    pictures: list[np.ndarray | None] = [drawn(run, rows[0]["index"])]
    for row in rows:
        channel = channels[row["channel"]]
        pictures.append(255 * channel / max(float(channel.max()), 1e-9))
    return picture_grid(pictures, ["the drawing", *(f"channel {row['channel']}" for row in rows)], 6)


FIRST_LAYER = Figure(
    "first_layer",
    "look",
    "Channels of the first layer (paper: Figs. 16 to 19)",
    "Outputs of the first convolution after ReLU for one test drawing, the strongest channels first.",
    tabulate_channels,
    plot_channels,
    is_picture=True,
    needs_data=True,
)

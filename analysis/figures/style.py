"""The look of every figure: size, colours, and how it becomes a small PNG."""

import io
from collections.abc import Iterable
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, MaxNLocator, NullFormatter
from PIL import Image

WIDTH_INCHES = 7.0
DOTS_PER_INCH = 140
# Tol's bright scheme: told apart by colour-blind readers too.
COLORS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#777777")
STATUS_COLORS = {
    "completed": "#228833",
    "stopped": "#4477aa",
    "diverged": "#ee6677",
    "out_of_memory": "#aa3377",
    "failed": "#aa3377",
    "running": "#ccbb44",
    "paused": "#777777",
}
STYLE: dict[Any, Any] = {  # for matplotlib's rc_context, around plotting and saving
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "image.cmap": "gray",
}


def new_figure(
    height_inches: float,
    num_rows: int = 1,
    num_columns: int = 1,
    width_inches: float = WIDTH_INCHES,
    layout: Literal["constrained"] | None = "constrained",
    **options: Any,
) -> tuple[Figure, list[Axes]]:
    """A figure with its axes in reading order. Extra options go to `Figure.subplots`."""
    figure = Figure(figsize=(width_inches, height_inches), layout=layout)
    axes = figure.subplots(num_rows, num_columns, squeeze=False, **options)
    return figure, list(axes.flat)


def png_bytes(figure: Figure, num_colors: int | None = 128) -> bytes:
    """The figure as PNG. A palette (None: all colours) makes drawings of lines and text a third as large."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH, facecolor="white")
    if num_colors is None:
        return buffer.getvalue()
    small = io.BytesIO()
    with Image.open(buffer) as image:
        palette = image.convert("RGB").quantize(num_colors, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
        palette.save(small, format="png", optimize=True)
    return small.getvalue()


def label_epochs(axis: Axes, label: str = "epoch") -> None:
    """An x axis of whole epochs."""
    axis.set_xlabel(label)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))


def scale_losses(axis: Axes, losses: Iterable[float]) -> None:
    """A logarithmic y axis with plain numbers where a few losses would flatten all others."""
    ordered = sorted(loss for loss in losses if loss > 0)
    if not ordered or ordered[-1] < 4 * ordered[len(ordered) // 2]:
        return
    axis.set_yscale("log")
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    axis.yaxis.set_minor_formatter(NullFormatter())


def hide(axis: Axes) -> None:
    """Take away an axis that shows a picture or nothing."""
    axis.axis("off")

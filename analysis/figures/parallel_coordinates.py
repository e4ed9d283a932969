"""Parallel coordinates: every trial as a line, as a PNG and as an interactive SVG of our own, which is small."""

import numpy as np
from markupsafe import Markup, escape
from matplotlib import colormaps
from matplotlib.figure import Figure as Drawing

from tune_sketch.analysis.figures.base import Figure
from tune_sketch.analysis.figures.slices import tabulate_configurations
from tune_sketch.analysis.figures.style import new_figure
from tune_sketch.analysis.rows import Rows
from tune_sketch.analysis.run_data import RunData
from tune_sketch.analysis.scales import axis_scale
from tune_sketch.analysis.text import percent_text
from tune_sketch.formatting import short_text

LABEL_BOX = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.6}  # text stays readable over lines
PAGE_PX, MIN_GAP_PX, MAX_GAP_PX = 1180, 38, 110  # axes are as far apart as lets all stand on a page
LEFT_PX, RIGHT_PX = 34, 50
TITLE_GAP_PX = 90  # a title needs as much room: closer ones stand in two rows, every second one lower
HEIGHT_PX, TOP_PX = 370, 76


def plot_parallel(rows: Rows, run: RunData) -> Drawing:
    """One line per trial through its values; dark is good."""
    names = [*run.varied, "val_top1"]
    figure, (axis,) = new_figure(4.6, width_inches=max(7.0, 0.8 * len(names)))
    columns, values = [], np.array([row["val_top1"] for row in rows])
    for index, name in enumerate(names):
        positions, ticks = axis_scale([row[name] for row in rows])
        columns.append(positions)
        axis.plot([index, index], [-0.12, 1], color="#888888", linewidth=0.8, zorder=4)
        for at, text in ticks:
            text = f"{100 * float(text):.3g} %" if name == "val_top1" else text
            axis.annotate(
                text,
                (index, at),
                (3, 1),
                textcoords="offset points",
                fontsize=7.5,
                zorder=6,
                color="#222222",
                bbox=LABEL_BOX,
            )
    lowest, highest = values.min(), values.max()
    for line, value in sorted(zip(zip(*columns, strict=True), values, strict=True), key=lambda pair: pair[1]):
        shade = (value - lowest) / (highest - lowest or 1)
        color = colormaps["viridis_r"](0.05 + 0.95 * shade)
        axis.plot(range(len(names)), line, color=color, linewidth=0.6 + 1.1 * shade, alpha=0.35 + 0.65 * shade)
    labels = [name.replace("_", "\n") for name in run.varied] + [f"top-1 at\nepoch {run.rungs[0]}"]
    axis.set_xticks(range(len(names)), labels, fontsize=8)
    axis.set_yticks([])
    axis.set_xlim(-0.2, len(names) - 0.4)
    axis.grid(False)
    axis.spines[:].set_visible(False)
    return figure


def draw_parallel(rows: Rows, run: RunData) -> Markup:
    """An SVG with one line per trial: pointing at one names it, dragging on an axis keeps the lines that cross there.

    rows: of `tabulate_configurations`. Its script is page/report.js.
    """
    names = [*run.varied, "val_top1"]
    tops = [row["val_top1"] for row in rows]
    lowest, span = min(tops), (max(tops) - min(tops)) or 1.0
    gap_px = min(MAX_GAP_PX, max(MIN_GAP_PX, (PAGE_PX - LEFT_PX - RIGHT_PX) // max(1, len(names) - 1)))
    columns, axes = [], []
    for index, name in enumerate(names):
        positions, ticks = axis_scale([row[name] for row in rows])
        x = LEFT_PX + gap_px * index
        columns.append([(x, to_px(position)) for position in positions])
        title = f"top-1 at {run.rungs[0]}" if name == "val_top1" else name.replace("_", " ")
        marks = "".join(
            f'<text class="tick" x="{x + 4}" y="{to_px(at) + 3:.0f}">'
            f"{percent_text(float(text)) if name == 'val_top1' else escape(text)}</text>"
            for at, text in ticks
        )
        bottom, top = to_px(-0.12), to_px(1)
        title_y = 12 + 30 * (gap_px >= TITLE_GAP_PX or index % 2)
        axes.append(
            f'<g class="axis"><line x1="{x}" x2="{x}" y1="{top:.0f}" y2="{bottom:.0f}"/>{marks}'
            f'<text class="title" y="{title_y}">{title_lines(title, x)}</text>'
            f'<rect class="brush" data-axis="{index}" x="{x - 12}" y="{top:.0f}" width="24" '
            f'height="{bottom - top:.0f}"/>'
            f'<rect class="kept" data-axis="{index}" x="{x - 5}" width="10" y="0" height="0"/></g>'
        )
    lines = []
    for row, *points in zip(rows, *columns, strict=True):
        shade = (row["val_top1"] - lowest) / span
        config = ", ".join(f"{name} {short_text(row[name])}" for name in run.varied if row[name] is not None)
        label = f"trial {row['trial']} ({row['status']}): {percent_text(row['val_top1'])}; {config}"
        path = " ".join(f"{x},{y:.0f}" for x, y in points)
        hue = round(50 + 230 * shade)
        lines.append(f'<polyline data-label="{escape(label)}" style="--hue: {hue}" points="{path}"/>')
    width = LEFT_PX + gap_px * (len(names) - 1) + RIGHT_PX
    return Markup(
        f'<svg class="parallel" role="img" aria-label="parallel coordinates of all trials" width="{width}" '
        f'height="{HEIGHT_PX}" viewBox="0 0 {width} {HEIGHT_PX}">{"".join(lines)}{"".join(axes)}</svg>'
        '<p class="caption told">Point at a line to read it; drag along an axis to keep the lines that cross there, '
        "click the axis to let go.</p>"
    )


def title_lines(title: str, x: int) -> str:
    """An axis's title, a word a line."""
    words = title.split(" ", 1)
    return "".join(f'<tspan x="{x}" dy="{13 * bool(index)}">{escape(w)}</tspan>' for index, w in enumerate(words))


def to_px(position: float) -> float:
    """y of a position in [-0.12, 1] on an axis."""
    return TOP_PX + (1 - position) * (HEIGHT_PX - TOP_PX - 12) / 1.12


PARALLEL_COORDINATES = Figure(
    "parallel_coordinates",
    "search",
    "Every trial as a line",
    "Good ones at the first rung are violet. Below an axis: the trial has no such value, or it is 0.",
    tabulate_configurations,
    plot_parallel,
    draw_parallel,
)

"""Parallel coordinates that answer: an SVG of our own, a twentieth of a plotting library's size."""

from typing import Any

from markupsafe import Markup, escape

from tune_sketch.analysis.figures.search import axis_scale
from tune_sketch.analysis.run_data import RunData, percent_text, short_text

Rows = list[dict[str, Any]]
PAGE_PX, LEAST_GAP_PX, MOST_GAP_PX = 960, 62, 110  # axes are as far apart as lets all stand on a page
HEIGHT_PX, TOP_PX = 340, 44


def draw_parallel(rows: Rows, run: RunData) -> Markup:
    """An SVG with one line per trial: pointing at one names it, dragging on an axis keeps what crosses there.

    rows: of `search_figures.tabulate_configurations`. What answers is in page/report.js.
    """
    names = [*run.varied, "val_top1"]
    tops = [row["val_top1"] for row in rows]
    lowest, span = min(tops), (max(tops) - min(tops)) or 1.0
    gap_px = min(MOST_GAP_PX, max(LEAST_GAP_PX, (PAGE_PX - 84) // max(1, len(names) - 1)))
    columns, axes = [], []
    for place, name in enumerate(names):
        positions, ticks = axis_scale([row[name] for row in rows])
        x = 24 + gap_px * place
        columns.append([(x, to_px(position)) for position in positions])
        title = f"top-1 at {run.rungs[0]}" if name == "val_top1" else name.replace("_", " ")
        marks = "".join(
            f'<text class="tick" x="{x + 4}" y="{to_px(at) + 3:.0f}">'
            f"{percent_text(float(text)) + ' %' if name == 'val_top1' else escape(text)}</text>"
            for at, text in ticks
        )
        bottom, top = to_px(-0.12), to_px(1)
        axes.append(
            f'<g class="axis"><line x1="{x}" x2="{x}" y1="{top:.0f}" y2="{bottom:.0f}"/>{marks}'
            f'<text class="title" y="12">{title_lines(title, x)}</text>'
            f'<rect class="brush" data-axis="{place}" x="{x - 12}" y="{top:.0f}" width="24" '
            f'height="{bottom - top:.0f}"/>'
            f'<rect class="kept" data-axis="{place}" x="{x - 5}" width="10" y="0" height="0"/></g>'
        )
    lines = []
    for row, *points in zip(rows, *columns, strict=True):
        shade = (row["val_top1"] - lowest) / span
        config = ", ".join(f"{name} {short_text(row[name])}" for name in run.varied if row[name] is not None)
        label = f"trial {row['trial']} ({row['status']}): {percent_text(row['val_top1'])} %; {config}"
        path = " ".join(f"{x},{y:.0f}" for x, y in points)
        hue = round(50 + 230 * shade)
        lines.append(f'<polyline data-label="{escape(label)}" style="--hue: {hue}" points="{path}"/>')
    width = 24 + gap_px * (len(names) - 1) + 60
    return Markup(
        f'<svg class="parallel" role="img" aria-label="parallel coordinates of all trials" width="{width}" '
        f'height="{HEIGHT_PX}" viewBox="0 0 {width} {HEIGHT_PX}">{"".join(lines)}{"".join(axes)}</svg>'
        '<p class="caption told">Point at a line to read it; drag along an axis to keep what crosses there, '
        "click the axis to let go.</p>"
    )


def title_lines(title: str, x: int) -> str:
    """An axis's title, a word a line."""
    words = title.split(" ", 1)
    return "".join(f'<tspan x="{x}" dy="{13 * bool(place)}">{escape(w)}</tspan>' for place, w in enumerate(words))


def to_px(position: float) -> float:
    """y of a position in [-0.12, 1] on an axis."""
    return TOP_PX + (1 - position) * (HEIGHT_PX - TOP_PX - 12) / 1.12

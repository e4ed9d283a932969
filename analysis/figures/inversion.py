"""Drawings as drawn and inverted: the share of pixels that are not 0."""

from matplotlib.figure import Figure as Drawing

from tune_sketch.analysis.figures.base import Figure
from tune_sketch.analysis.figures.pictures import drawn, pick_training_drawings, picture_grid
from tune_sketch.analysis.rows import Rows
from tune_sketch.analysis.run_data import RunData


def tabulate_inversion(run: RunData) -> Rows:
    """Some drawings, and the share of their pixels that is not 0 as drawn and inverted."""
    rows = pick_training_drawings(run, 5, 1)
    for row in rows:
        picture = drawn(run, row["index"])
        row["share_not_zero_as_drawn"] = float((picture > 0).mean())
        row["share_not_zero_inverted"] = float((picture < 255).mean())
    return rows


def plot_inversion(rows: Rows, run: RunData) -> Drawing:
    """As drawn above, inverted below."""
    pictures = [drawn(run, row["index"]) for row in rows]
    labels = [f"{100 * row['share_not_zero_as_drawn']:.0f} % not 0" for row in rows]
    labels += [f"{100 * row['share_not_zero_inverted']:.0f} % not 0" for row in rows]
    return picture_grid([*pictures, *(255 - picture for picture in pictures)], labels, len(rows))


INVERSION = Figure(
    "inversion",
    "data",
    "Inversion (paper: Fig. 15)",
    "Above as drawn, below inverted: most pixels are paper, and inverted paper is 0.",
    tabulate_inversion,
    plot_inversion,
    is_picture=True,
    needs_data=True,
)

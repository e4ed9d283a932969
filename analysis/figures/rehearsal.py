"""Draws the names of a search's classes once before it begins, as its report will at the end."""

import warnings
from collections.abc import Sequence

from matplotlib import rc_context

from tune_sketch.analysis.figures.pictures import class_text
from tune_sketch.analysis.figures.style import STYLE, new_figure, png_bytes
from tune_sketch.data.figure_text import figure_fonts

MOST_DRAWN_AT_ONCE = 50


def draw_names(names: Sequence[str]) -> None:
    """Draw every name. Raises ValueError with those that matplotlib cannot draw, or draws with a warning."""
    for start in range(0, len(names), MOST_DRAWN_AT_ONCE):
        some = names[start : start + MOST_DRAWN_AT_ONCE]
        try:
            with warnings.catch_warnings(), rc_context(STYLE), figure_fonts(some):
                warnings.simplefilter("error")
                figure, (axis,) = new_figure(5.0)
                axis.set_yticks(range(len(some)), [class_text(name) for name in some])
                png_bytes(figure)
        except (ValueError, RuntimeError, Warning) as error:
            shown = ", ".join(map(ascii, some[:5])) + (", ..." if len(some) > 5 else "")
            raise ValueError(f"the report cannot draw the names of these classes: {shown} ({error})") from error

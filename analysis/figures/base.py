"""Describes a figure, and writes it as PNG and CSV files and onto the page."""

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic

from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.figure import Figure as Drawing

from tune_sketch.analysis.figures.style import DOTS_PER_INCH, STYLE, png_bytes
from tune_sketch.analysis.rows import Rows, write_rows
from tune_sketch.analysis.run_data import RunData
from tune_sketch.analysis.tables.base import Subject
from tune_sketch.data.figure_text import figure_fonts


@dataclass(frozen=True)
class Figure(Generic[Subject]):
    """One figure: numbers first (no rows: nothing to show yet), then the drawing of those numbers."""

    name: str  # of its files figures/NAME.png and figures/NAME.csv
    section: str  # one of the report's SECTIONS
    title: str
    caption: str
    rows: Callable[[Subject], Rows]
    plot: Callable[[Rows, Subject], Drawing]
    interactive: Callable[[Rows, Subject], Markup] | None = None  # shown on the page in place of the PNG
    is_picture: bool = False  # of drawings: keeps its colours on dark pages, and all of them
    needs_data: bool = False  # cannot be made where the decoded drawings are gone
    is_of_all: bool = False  # of the section "search", but about every network of a search over several


@dataclass(frozen=True)
class ShownFigure:
    """A figure as the page shows it."""

    name: str
    section: str
    title: str
    caption: str
    csv: str  # path relative to the report
    png: bytes
    html: Markup | None
    is_picture: bool

    @property
    def base64(self) -> str:
        return base64.b64encode(self.png).decode()

    @property
    def width_px(self) -> int:
        """Width on the page: an inch of the figure is 118 px, so that its smallest text can be read."""
        return round(int.from_bytes(self.png[16:20], "big") * 118 / DOTS_PER_INCH)


def texts_of(subject: Subject) -> list[str]:
    """The users' text that figures may show."""
    if isinstance(subject, RunData):
        return [subject.name, *subject.class_names]
    return [run.name for run in subject]


def write_figure(figure: Figure[Subject], rows: Rows, subject: Subject, folder: Path, relative_to: Path) -> ShownFigure:
    """Write a figure's rows as CSV and its drawing as PNG."""
    path = folder / f"{figure.name}.csv"
    write_rows(path, rows)
    with rc_context(STYLE), figure_fonts(texts_of(subject)):
        png = png_bytes(figure.plot(rows, subject), None if figure.is_picture else 128)
    path.with_suffix(".png").write_bytes(png)
    return ShownFigure(
        name=figure.name,
        section=figure.section,
        title=figure.title,
        caption=figure.caption,
        csv=path.relative_to(relative_to).as_posix(),
        png=png,
        html=figure.interactive(rows, subject) if figure.interactive else None,
        is_picture=figure.is_picture,
    )


def write_figures(
    figures: Sequence[Figure[Subject]], subject: Subject, folder: Path, relative_to: Path
) -> list[ShownFigure]:
    """Write each figure that has anything to show."""
    found = [(figure, figure.rows(subject)) for figure in figures]
    return [write_figure(figure, rows, subject, folder, relative_to) for figure, rows in found if rows]

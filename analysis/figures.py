"""The list of everything that a report shows, and its way into files: each figure as PNG and CSV, each table as CSV."""

import base64
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure as Drawing

from analysis import curve_figures, importance, search_figures
from analysis.plotting import png_bytes
from analysis.run_data import RunData
from tune_sketch.run_directory import write_csv

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Figure:
    """One figure: numbers first (no rows: nothing to show yet), then the drawing of those numbers."""

    name: str  # of its files figures/NAME.png and figures/NAME.csv
    section: str  # one of SECTIONS
    title: str
    caption: str
    table: Callable[[RunData], Rows]
    plot: Callable[[Rows, RunData], Drawing]
    is_picture: bool = False  # of drawings: keeps its colours on dark pages, and all of them


@dataclass(frozen=True)
class Shown:
    """A figure as the page shows it."""

    figure: Figure
    png: bytes
    csv: str  # path relative to the report

    @property
    def base64(self) -> str:
        return base64.b64encode(self.png).decode()


SECTIONS = {
    "result": "Result",
    "data": "Data",
    "search": "Search",
    "classes": "Where it is right and wrong",
    "look": "Where the network looks",
}

FIGURES = (
    Figure(
        "finalist_curves",
        "result",
        "Training and validation curves of the finalists (study: Figs. 6 to 8)",
        "Mean over the seeds, with the range over seeds as a band; dashed: training. * chosen on validation.",
        curve_figures.tabulate_finalist_curves,
        curve_figures.plot_finalist_curves,
    ),
    Figure(
        "trial_curves",
        "search",
        "Learning curves of all trials",
        "Validation top-1 after every epoch. Grey: all but the best three.",
        curve_figures.tabulate_trial_curves,
        curve_figures.plot_trial_curves,
    ),
    Figure(
        "rungs",
        "search",
        "Rungs: who came, who was stopped",
        "A stopped trial that was at least as good as the later winner at the same epoch might have won.",
        search_figures.tabulate_rungs,
        search_figures.plot_rungs,
    ),
    Figure(
        "best_so_far",
        "search",
        "Best so far, beside random search",
        "Compared at the first rung, which every trial reaches. Random search's expectation is the mean of the best of "
        "n draws from the search's own random trials; it cannot exceed the best of those.",
        curve_figures.tabulate_best_so_far,
        curve_figures.plot_best_so_far,
    ),
    Figure(
        "cost",
        "search",
        "Best so far against cost",
        "Best validation top-1 of any epoch against the training time of all workers together.",
        curve_figures.tabulate_incumbent,
        curve_figures.plot_incumbent,
    ),
    Figure(
        "importance",
        "search",
        "Which hyperparameters mattered",
        "Share of the variance explained (fANOVA), computed only from values at equal epochs. With few trials take it "
        "as a hint; deeper rungs hold survivors only.",
        importance.tabulate_importance,
        importance.plot_importance,
    ),
    Figure(
        "parallel_coordinates",
        "search",
        "Every trial as a line",
        "Dark: good at the first rung. Below an axis: the trial has no such value, or it is 0.",
        search_figures.tabulate_configurations,
        search_figures.plot_parallel,
    ),
    Figure(
        "slices",
        "search",
        "Each hyperparameter by itself",
        "Validation top-1 at the first rung against each value that varied.",
        search_figures.tabulate_configurations,
        search_figures.plot_slices,
    ),
    Figure(
        "optimizers",
        "search",
        "Optimizers against loss (study: Fig. 4)",
        "From the search's own trials at equal epochs: other hyperparameters vary too, and later epochs hold only "
        "those that were not stopped.",
        curve_figures.tabulate_optimizers,
        curve_figures.plot_losses_by_group,
    ),
    Figure(
        "learning_rates",
        "search",
        "Learning rates against loss (study: Fig. 5)",
        "Trials by half decade of the learning rate, at equal epochs.",
        curve_figures.tabulate_learning_rates,
        curve_figures.plot_losses_by_group,
    ),
    Figure(
        "learning_rate_by_optimizer",
        "search",
        "Learning rate and optimizer together",
        "Loss at the first rung of every trial.",
        curve_figures.tabulate_rate_points,
        curve_figures.plot_rate_points,
    ),
    Figure(
        "timeline",
        "search",
        "Timeline of the trials",
        "Each bar is a trial from its start to its end; rows are what ran at once.",
        search_figures.tabulate_timeline,
        search_figures.plot_timeline,
    ),
)


def write_figures(run: RunData, folder: Path, relative_to: Path) -> list[Shown]:
    """Write each figure that has anything to show into `folder`, as PNG and CSV."""
    shown = []
    for figure in FIGURES:
        rows = figure.table(run)
        if not rows:
            continue
        folder.mkdir(parents=True, exist_ok=True)
        csv = folder / f"{figure.name}.csv"
        write_csv(csv, dict.fromkeys(name for row in rows for name in row), rows)
        png = png_bytes(figure.plot(rows, run), None if figure.is_picture else 128)
        (folder / f"{figure.name}.png").write_bytes(png)
        shown.append(Shown(figure, png, csv.relative_to(relative_to).as_posix()))
    return shown

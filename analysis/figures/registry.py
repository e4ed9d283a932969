"""The list of everything that a report shows, and its way into files: each figure as PNG and CSV, each table as CSV."""

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.figure import Figure as Drawing

from tune_sketch.analysis.figures import curves as curve_figures
from tune_sketch.analysis.figures import drawings as picture_figures
from tune_sketch.analysis.figures import importance, timeline
from tune_sketch.analysis.figures import parallel_coordinates as interactive
from tune_sketch.analysis.figures import search as search_figures
from tune_sketch.analysis.figures import test_results as result_figures
from tune_sketch.analysis.figures.style import DOTS_PER_INCH, STYLE, png_bytes
from tune_sketch.analysis.run_data import RunData
from tune_sketch.storage.run_directory import write_csv

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Figure:
    """One figure: numbers first (no rows: nothing to show yet), then the drawing of those numbers."""

    name: str  # of its files figures/NAME.png and figures/NAME.csv
    section: str  # one of SECTIONS
    title: str
    caption: str
    table: Callable[[Any], Rows]  # of a RunData, in the chapter over several runs of a list of them
    plot: Callable[[Rows, Any], Drawing]
    interactive: Callable[[Rows, Any], Markup] | None = None  # shown on the page in place of the PNG
    is_picture: bool = False  # of drawings: keeps its colours on dark pages, and all of them


@dataclass(frozen=True)
class Shown:
    """A figure as the page shows it."""

    figure: Figure
    png: bytes
    csv: str  # path relative to the report
    html: Markup | None = None

    @property
    def name(self) -> str:
        return self.figure.name

    @property
    def base64(self) -> str:
        return base64.b64encode(self.png).decode()

    @property
    def width_px(self) -> int:
        """Width on the page: an inch of the figure is 118 px, so that its smallest text can be read."""
        return round(int.from_bytes(self.png[16:20], "big") * 118 / DOTS_PER_INCH)


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
        "noise",
        "result",
        "Noise: finalists over seeds",
        "Each mark is one retrained network, the bar their mean. * chosen on validation.",
        result_figures.tabulate_noise,
        result_figures.plot_noise,
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
        "Share of the variance explained (fANOVA), computed only from values at equal epochs. A bar that does not pass "
        "its black mark may be chance; deeper rungs hold survivors only.",
        importance.tabulate_importance,
        importance.plot_importance,
    ),
    Figure(
        "parallel_coordinates",
        "search",
        "Every trial as a line",
        "Good ones at the first rung are violet. Below an axis: the trial has no such value, or it is 0.",
        search_figures.tabulate_configurations,
        search_figures.plot_parallel,
        interactive.draw_parallel,
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
        "those that were not stopped. With --strategy one-factor: the study's comparison, all else fixed.",
        curve_figures.tabulate_optimizers,
        curve_figures.plot_losses_by_group,
    ),
    Figure(
        "learning_rates",
        "search",
        "Learning rates against loss (study: Fig. 5)",
        "Trials by half decade of the learning rate, at equal epochs. With --strategy one-factor: the study's "
        "comparison, all else fixed.",
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
        "Timeline of the workers",
        "Each bar is one training in one process, from its first epoch there to its last; between bars nothing "
        "trained. A run of an older version does not say where: then a training is drawn on the first free worker.",
        timeline.tabulate_timeline,
        timeline.plot_timeline,
    ),
    Figure(
        "samples",
        "data",
        "One drawing of each class (study: Fig. 1)",
        "From the training split, as decoded for the network, dark on light.",
        picture_figures.tabulate_samples,
        picture_figures.plot_samples,
        is_picture=True,
    ),
    Figure(
        "variation",
        "data",
        "Variation within a class (study: Fig. 2)",
        "Training drawings of some classes, chosen by a fixed seed.",
        picture_figures.tabulate_variation,
        picture_figures.plot_variation,
        is_picture=True,
    ),
    Figure(
        "label_distribution",
        "data",
        "Drawings per class",
        "In training, validation and test. Source: splits.csv.",
        picture_figures.tabulate_labels,
        picture_figures.plot_labels,
    ),
    Figure(
        "inversion",
        "data",
        "Inversion (study: Fig. 15)",
        "Above as drawn, below inverted: most pixels are paper, and inverted paper is 0.",
        picture_figures.tabulate_inversion,
        picture_figures.plot_inversion,
        is_picture=True,
    ),
    Figure(
        "confusion",
        "classes",
        "Confusion matrix (study: Figs. 9 and 10)",
        "Test drawings. Classes are ordered so that similar ones are neighbours; blue: right, orange: wrong, the "
        "darker the larger the share of the true class.",
        result_figures.tabulate_confusion,
        result_figures.plot_confusion,
    ),
    Figure(
        "confused_pairs",
        "classes",
        "The most confused pairs",
        "Left: drawings of a class that were taken for another one. Right: what that other one looks like in training.",
        picture_figures.tabulate_pair_pictures,
        picture_figures.plot_pair_pictures,
        is_picture=True,
    ),
    Figure(
        "classes",
        "classes",
        "Precision, recall and F1 per class (study: Fig. 14)",
        "Test split, best F1 first. Where two marks lie on each other the later one hides the earlier.",
        result_figures.tabulate_classes,
        result_figures.plot_classes,
    ),
    Figure(
        "calibration",
        "classes",
        "Calibration",
        "Does it know how sure it may be? Below the line: surer than right. Size of a point: number of test drawings; "
        "line through it: 95 % interval (Wilson).",
        result_figures.tabulate_calibration,
        result_figures.plot_calibration,
    ),
    Figure(
        "activation_maps",
        "look",
        "Class activation maps (study: Figs. 11, 12, 20)",
        "Grad-CAM on test drawings chosen by a fixed seed; red spoke for the class. First two rows: right predictions. "
        "Below: wrong ones, with what spoke for the predicted class and for the true one; plain: nothing did. Taken at "
        "the deepest layer that has at least 4 x 4 cells left (named in the CSV file).",
        picture_figures.tabulate_activation_maps,
        picture_figures.plot_activation_maps,
        is_picture=True,
    ),
    Figure(
        "first_layer",
        "look",
        "Channels of the first layer (study: Figs. 16 to 19)",
        "Outputs of the first convolution after ReLU for one test drawing, the strongest channels first.",
        picture_figures.tabulate_channels,
        picture_figures.plot_channels,
        is_picture=True,
    ),
)


def write_figures(
    subject: RunData | Sequence[RunData], folder: Path, relative_to: Path, figures: Sequence[Figure] = FIGURES
) -> list[Shown]:
    """Write each figure that has anything to show into `folder`, as PNG and CSV."""
    shown = []
    for figure in figures:
        rows = figure.table(subject)
        if not rows:
            continue
        folder.mkdir(parents=True, exist_ok=True)
        csv = folder / f"{figure.name}.csv"
        write_csv(csv, dict.fromkeys(name for row in rows for name in row), rows)
        with rc_context(STYLE):
            png = png_bytes(figure.plot(rows, subject), None if figure.is_picture else 128)
        (folder / f"{figure.name}.png").write_bytes(png)
        html = figure.interactive(rows, subject) if figure.interactive else None
        shown.append(Shown(figure, png, csv.relative_to(relative_to).as_posix(), html))
    return shown

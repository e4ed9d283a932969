"""Our results beside those that the paper reported."""

from collections.abc import Sequence
from pathlib import Path

from tune_sketch.analysis import paper
from tune_sketch.analysis.rows import Row, Rows
from tune_sketch.analysis.run_data import RunData
from tune_sketch.analysis.tables.base import Table
from tune_sketch.analysis.tables.finalists import METRICS, interval_of_top1
from tune_sketch.analysis.text import interval_text, percent_text
from tune_sketch.statistics import wilson_interval


def tabulate_paper_results(runs: Sequence[RunData]) -> Rows:
    """Tables 2 and 3: ours (chosen finalist, mean over seeds) beside the paper's."""
    rows: Rows = []
    for run in runs:
        if run.chosen is not None:
            row: Row = {"model": run.model, "source": f"this project, {run.name}"}
            row |= {metric: run.chosen.mean(f"test_{metric}") for metric in METRICS}
            row["top1_low"], row["top1_high"], row["interval"] = interval_of_top1(run.chosen)
            row |= {"num_test": run.facts.data.num_test, "num_seeds": len(run.chosen.retrainings)}
            data, num_classes = Path(run.settings.data).name, run.facts.data.num_classes
            row["data"] = f"{data}, {num_classes} classes, {run.settings.image_px} px"
            rows.append(row)
    ours = [row["model"] for row in rows]
    for model, reported in paper.RESULTS.items():
        if not ours or model in ours or len(runs) > 1 or ours[0] not in paper.RESULTS:
            bounds = wilson_interval(reported["top1"], paper.NUM_TEST)
            row = {
                "model": model,
                "source": "the paper",
                **reported,
                "top1_low": bounds[0],
                "top1_high": bounds[1],
                "interval": "Wilson, one training",
                "num_test": paper.NUM_TEST,
                "num_seeds": 1,
            }
            rows.append(row | {"data": "125 classes, 224 px"})
    return rows


def show_paper_results(rows: Rows) -> Rows:
    """The text of the cells."""
    shown = []
    for row in rows:
        cells = {"model": row["model"], "source": row["source"]}
        cells |= {title: percent_text(row.get(metric)) for metric, title in METRICS.items()}
        cells["95 % interval of top-1"] = interval_text(row.get("top1_low"), row.get("top1_high"))
        shown.append(cells | {"seeds": row["num_seeds"], "test drawings": row["num_test"], "data": row["data"]})
    return shown


TITLE = "Beside the paper (its Tables 2 and 3)"
CAPTION = (
    "Ours: the chosen finalist, mean over its seeds, with Student's t interval over them (Wilson's interval "
    f"of the drawings when there is one seed); the paper's: Wilson. {' '.join(paper.REMARKS)} Source: {paper.SOURCE}."
)
PAPER_RESULTS = Table(
    "paper_results",
    "result",
    TITLE,
    CAPTION,
    lambda run: [] if run.chosen is None else tabulate_paper_results([run]),
    show_paper_results,
)
PAPER_RESULTS_OF_RUNS = Table("paper_results", "result", TITLE, CAPTION, tabulate_paper_results, show_paper_results)

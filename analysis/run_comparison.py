"""Several runs side by side, as the study compares its models: results with intervals, differences, curves, cost."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from matplotlib.figure import Figure as Drawing

from tune_sketch.analysis import paper as study
from tune_sketch.analysis.figures.registry import Figure
from tune_sketch.analysis.figures.style import COLORS, label_epochs, new_figure, scale_losses
from tune_sketch.analysis.run_data import RunData, interval_text, percent_text, signed_interval_text
from tune_sketch.analysis.tables.finalists import interval_of_top1, tabulate_mcnemar_of_runs
from tune_sketch.analysis.tables.networks import count_parameters
from tune_sketch.analysis.tables.run_tables import (
    MCNEMAR_TABLE,
    STUDY_TABLE,
    Rows,
    Table,
    tabulate_costs,
)
from tune_sketch.callbacks.progress import duration_text
from tune_sketch.statistics.intervals import wilson_interval


def runs_with_result(runs: Sequence[RunData]) -> list[RunData]:
    """Those with a test result, best on validation first."""
    tested = [run for run in runs if run.chosen is not None and run.mean_of(run.chosen, "test_top1") is not None]
    return sorted(tested, key=lambda run: -(run.mean_of(run.chosen, "val_top1") or 0.0))


def name_runs(runs: Sequence[RunData]) -> dict[int, str]:
    """{id of a run: how it is called}: its model, with the directory's name where two have the same."""
    models = [run.settings.model for run in runs]
    return {id(r): r.settings.model + (f" ({r.name})" if models.count(r.settings.model) > 1 else "") for r in runs}


def state_comparison(runs: Sequence[RunData]) -> list[str]:
    """The verdict on several runs in a few sentences."""
    tested, names = runs_with_result(runs), name_runs(runs)
    if not tested:
        return [f"{len(runs)} runs, none with a test result yet."]
    best = tested[0]
    top1 = best.mean_of(best.chosen, "test_top1")
    low, high, kind = interval_of_top1(best, best.chosen)
    sentences = [
        f"Best of {len(runs)} runs on validation: {names[id(best)]}. It recognises {percent_text(top1)} % of its "
        f"{best.search['data']['num_test']:,} test drawings at the first guess"
        + (f" (95 % interval {interval_text(low, high)} %, {kind})." if low is not None else ".")
    ]
    own = f"{best.settings.model} ({best.name})"
    for row in (row for row in tabulate_differences(runs) if row["first"] == own):
        is_clear = row["gain_low"] > 0 or row["gain_high"] < 0
        sentences.append(
            f"{row['first']} against {row['second']}, network against network on the same {row['num_test']:,} test "
            f"drawings: {100 * row['gain']:+.1f} points (95 %: "
            f"{signed_interval_text(row['gain_low'], row['gain_high'])})"
            + ("." if is_clear else ", which may be chance.")
        )
    if len(tested) < len(runs):
        sentences.append(f"{len(runs) - len(tested)} of {len(runs)} runs have no test result yet.")
    return sentences


def warn_comparison(runs: Sequence[RunData]) -> list[str]:
    """Why the runs may not be comparable."""
    if len({run.search["data"]["fingerprint"] for run in runs}) > 1:
        return ["The runs do not share one decoded data set: their results are not on the same drawings."]
    if len({(run.settings.seed, run.settings.split_by, run.settings.protocol) for run in runs}) > 1:
        return ["The runs do not share one split into training and test."]
    return []


def tabulate_models(runs: Sequence[RunData]) -> Rows:
    """Test top-1 of each run with a result, its interval, and what the study reported for that model."""
    names, rows = name_runs(runs), []
    for run in runs_with_result(runs):
        low, high, kind = interval_of_top1(run, run.chosen)
        row: dict[str, Any] = {"model": names[id(run)], "top1": run.mean_of(run.chosen, "test_top1")}
        row |= {"low": low, "high": high, "interval": kind, "num_test": run.search["data"]["num_test"]}
        reported = study.RESULTS.get(run.settings.model)
        if reported is not None:
            bounds = wilson_interval(reported["top1"], study.NUM_TEST)
            row |= {"study_top1": reported["top1"], "study_low": bounds[0], "study_high": bounds[1]}
        rows.append(row)
    return rows


def plot_models(rows: Rows, runs: Sequence[RunData]) -> Drawing:
    """A point with its interval per model, the study's below ours."""
    figure, (axis,) = new_figure(1.1 + 0.5 * len(rows))
    for place, row in enumerate(rows):
        for name, shift, color, marker in (("", -0.13, COLORS[0], "o"), ("study_", 0.17, COLORS[6], "D")):
            if row.get(f"{name}top1") is None:
                continue
            value, low, high = (100 * row[f"{name}{end}"] for end in ("top1", "low", "high"))
            axis.plot([max(0, low), min(100, high)], [place + shift] * 2, color=color, linewidth=2)
            axis.scatter(value, place + shift, color=color, marker=marker, s=34, zorder=3)
            axis.annotate(
                f"{value:.1f}", (min(100, high), place + shift), (5, -3), textcoords="offset points", fontsize=8
            )
    axis.scatter([], [], color=COLORS[0], marker="o", s=34, label="this project")
    if any(row.get("study_top1") is not None for row in rows):
        axis.scatter([], [], color=COLORS[6], marker="D", s=34, label="the study, on its data")
    axis.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0.1)
    axis.set_yticks(range(len(rows)), [row["model"] for row in rows])
    axis.set_ylim(len(rows) - 0.5, -0.5)
    axis.set_xlim(0, 104)
    axis.set_xlabel("test top-1 (%), 95 % interval")
    axis.grid(axis="y", visible=False)
    return figure


def tabulate_differences(runs: Sequence[RunData]) -> Rows:
    """Each run's chosen network against each other's, those of the best run on validation first."""
    return tabulate_mcnemar_of_runs(runs_with_result(runs))


def tabulate_model_costs(runs: Sequence[RunData]) -> Rows:
    """Per run: size, what was searched, and worker time."""
    names, rows = name_runs(runs), []
    for run in runs:
        costs = {row["part"]: row for row in tabulate_costs(run)}
        if not costs:
            continue
        row: dict[str, Any] = {"model": names[id(run)], "run": run.name, "image_px": run.settings.image_px}
        row["num_parameters"] = count_parameters(run)
        for part, name in (("search", "search"), ("retraining of finalists", "retraining")):
            for value in ("num_trainings", "num_epochs", "worker_seconds"):
                row[f"{name}_{value}"] = costs.get(part, {}).get(value)
        row["images_per_second_median"] = next(iter(costs.values()))["images_per_second_median"]
        rows.append(row)
    return rows


def show_model_costs(rows: Rows) -> Rows:
    return [
        {
            "model": row["model"],
            "parameters": "" if row["num_parameters"] is None else f"{row['num_parameters']:,}",
            "image": f"{row['image_px']} px",
            "trials": row["search_num_trainings"],
            "epochs": row["search_num_epochs"],
            "search, worker time": seconds_text(row["search_worker_seconds"]),
            "retrainings": row["retraining_num_trainings"],
            "retraining, worker time": seconds_text(row["retraining_worker_seconds"]),
            "images/s (median epoch)": f"{row['images_per_second_median']:,.0f}",
        }
        for row in rows
    ]


def seconds_text(seconds: float | None) -> str:
    return "" if seconds is None else duration_text(seconds)


def tabulate_model_curves(runs: Sequence[RunData]) -> Rows:
    """Per epoch of each run's chosen finalist: mean over its seeds of validation loss and top-1."""
    names, rows = name_runs(runs), []
    for run in runs_with_result(runs):
        own = [record for record in run.retrainings if record.number == run.chosen]
        for place in range(max((len(record.epochs) for record in own), default=0)):
            there = [record.epochs[place] for record in own if len(record.epochs) > place]
            row: dict[str, Any] = {"model": names[id(run)], "epoch": place + 1, "num_seeds": len(there)}
            for metric in ("val_loss", "val_top1"):
                row[metric] = math.fsum(epoch[metric] for epoch in there) / len(there)
            rows.append(row)
    return rows


def plot_model_curves(rows: Rows, runs: Sequence[RunData]) -> Drawing:
    """Validation loss and top-1 of each run's chosen configuration."""
    figure, axes = new_figure(2.9, 1, 2)
    for place, model in enumerate(dict.fromkeys(row["model"] for row in rows)):
        own = [row for row in rows if row["model"] == model]
        for axis, metric, scale in ((axes[0], "val_loss", 1), (axes[1], "val_top1", 100)):
            values = [scale * row[metric] for row in own]
            axis.plot([row["epoch"] for row in own], values, color=COLORS[place % 7], marker=".", label=model)
    for axis, label in zip(axes, ("validation loss", "validation top-1 (%)"), strict=True):
        label_epochs(axis)
        axis.set_ylabel(label)
    scale_losses(axes[0], [row["val_loss"] for row in rows])
    axes[1].legend(loc="best")
    return figure


TABLES = (
    STUDY_TABLE,
    replace(MCNEMAR_TABLE, rows=tabulate_differences),
    Table(
        "model_costs",
        "result",
        "What each cost",
        "Worker time is the sum over all workers. Sources: epochs.csv, confirm_epochs.csv and best/weights.pt.",
        tabulate_model_costs,
        show_model_costs,
    ),
)
FIGURES = (
    Figure(
        "models",
        "result",
        "Test top-1 of each model",
        "The chosen finalist of each run, mean over its seeds. The study's values are of its own data and size: they "
        "show the form, not a contest.",
        tabulate_models,
        plot_models,
    ),
    Figure(
        "model_curves",
        "result",
        "Validation curves of the chosen configurations (study: Figs. 6 to 8)",
        "Mean over the seeds of each run's chosen finalist.",
        tabulate_model_curves,
        plot_model_curves,
    ),
)

"""Compares several runs by their cost and by the size of their networks."""

from collections.abc import Sequence

from tune_sketch.analysis.rows import Row, Rows
from tune_sketch.analysis.run_data import RunData, name_runs
from tune_sketch.analysis.tables.base import Table
from tune_sketch.analysis.tables.costs import tabulate_costs
from tune_sketch.analysis.tables.parameters import count_parameters
from tune_sketch.analysis.text import seconds_text


def tabulate_model_costs(runs: Sequence[RunData]) -> Rows:
    """Per run: size, what was searched, and worker time."""
    names, rows = name_runs(runs), []
    for run in runs:
        costs = {row["part"]: row for row in tabulate_costs(run)}
        if not costs:
            continue
        row: Row = {"model": names[run.run.path], "run": run.name, "image_px": run.settings.image_px}
        row["num_parameters"] = count_parameters(run)
        for part, name in (("search", "search"), ("retraining of finalists", "retraining")):
            for value in ("num_trainings", "num_epochs", "worker_seconds"):
                row[f"{name}_{value}"] = costs.get(part, {}).get(value)
        row["images_per_second_median"] = next(iter(costs.values()))["images_per_second_median"]
        rows.append(row)
    return rows


def show_model_costs(rows: Rows) -> Rows:
    """The text of the cells."""
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


MODEL_COSTS = Table(
    "model_costs",
    "result",
    "Costs of each run",
    "Worker time is the sum over all workers. Sources: epochs.csv, retraining_epochs.csv and best/weights.safetensors.",
    tabulate_model_costs,
    show_model_costs,
)

"""Shows the parts of today's recipe that the winner uses, and the cost of each."""

import torch

from tune_sketch.analysis.rows import Row, Rows
from tune_sketch.analysis.run_data import RunData
from tune_sketch.analysis.tables.base import Table
from tune_sketch.analysis.text import seconds_text
from tune_sketch.events import Config, Trial
from tune_sketch.formatting import short_text
from tune_sketch.search_spaces.common import PAPER_RECIPE
from tune_sketch.trainables.networks.build import build_model

LAST_STEP = "last step"


def tabulate_recipe(run: RunData) -> Rows:
    """One row per part: its value in the winner, the recipe and the paper's training, and its cost where it has one.

    num_parameters: more than without it. seconds_per_epoch: of it, measured in the winner's retrainings.
    """
    if run.chosen is None:
        return []
    winner = PAPER_RECIPE | run.chosen.retrainings[0].config
    recipe = next(
        (PAPER_RECIPE | trial.config for trial in run.trials if trial.is_recipe and trial.network == run.network), {}
    )
    rows: Rows = []
    for part, papers in PAPER_RECIPE.items():
        row: Row = {"part": part, "winner": winner[part], "recipe": recipe.get(part), "paper": papers}
        row["is_used"] = winner[part] != papers
        if part == "head" and row["is_used"]:
            row["num_parameters"] = count_parameters(run, winner) - count_parameters(run, winner | {part: papers})
        if part == "averaging" and row["is_used"]:
            row["seconds_per_epoch"] = averaging_seconds(run, run.chosen.retrainings)
        rows.append(row)
    last = [trial for trial in run.last_steps if trial.number == run.chosen.number and trial.status == "completed"]
    row = {"part": LAST_STEP, "winner": bool(last), "paper": False, "is_used": bool(last)}
    if last:
        row["seconds_per_epoch"] = last[-1].train_seconds / len(last[-1].epochs)
    return [*rows, row]


def count_parameters(run: RunData, config: Config) -> int:
    """Parameters of the network of a configuration."""
    with torch.device("meta"):  # shapes alone are counted
        network = build_model(run.model, len(run.class_names), head=str(config["head"]))
    return sum(parameter.numel() for parameter in network.parameters())


def averaging_seconds(run: RunData, retrainings: tuple[Trial, ...]) -> float:
    """Seconds of an epoch in which the averaged weights are validated: half of what is not training."""
    epochs = [epoch for trial in retrainings for epoch in trial.epochs]
    rest = [epoch.seconds - run.facts.data.num_train / epoch.metrics["images_per_second"] for epoch in epochs]
    return max(0.0, sum(rest) / len(rest) / 2)


def show_recipe(rows: Rows) -> Rows:
    """The text of the cells."""
    shown = []
    for row in rows:
        costs = [f"{row['num_parameters']:,} parameters"] if "num_parameters" in row else []
        if "seconds_per_epoch" in row:
            costs.append(f"{seconds_text(row['seconds_per_epoch'])} an epoch")
        shown.append(
            {
                "part": row["part"].replace("_", " "),
                "winner": short_text(row["winner"]),
                "today's recipe": short_text(row.get("recipe")),
                "the paper's": short_text(row["paper"]),
                "used": "yes" if row["is_used"] else "no",
                "cost": ", ".join(costs),
            }
        )
    return shown


RECIPE = Table(
    "recipe",
    "result",
    "Parts of today's recipe that the winner uses",
    "Averaged weights are validated beside the others after each epoch: their cost is half of an epoch's time without "
    "training. A last step's epochs have the validation drawings too. Parts without a cost change rates or drawings "
    "alone. What each is worth: benchmarks/results/recipe_parts-cpu.md. Source: search.json, retraining_epochs.csv.",
    tabulate_recipe,
    show_recipe,
)

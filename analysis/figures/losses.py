"""Validation loss by optimizer and by learning rate, the paper's comparisons."""

import math
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure as Drawing

from tune_sketch.analysis.figures.base import Figure
from tune_sketch.analysis.figures.style import COLORS, label_epochs, new_figure, scale_losses
from tune_sketch.analysis.rows import Rows
from tune_sketch.analysis.run_data import RunData
from tune_sketch.events import Trial
from tune_sketch.formatting import count_text


def tabulate_optimizers(run: RunData) -> Rows:
    """Validation loss at each epoch by optimizer: median, lowest, highest over the trials that got there."""
    trials, most_epochs = trials_of_step(run, "optimizer")
    groups = {r.number: str(r.config["optimizer"]) for r in trials if "optimizer" in r.config}
    return tabulate_by(run, groups, most_epochs)


def tabulate_learning_rates(run: RunData) -> Rows:
    """The same by half decade of the learning rate; in a one-factor search by each rate that its step tried."""
    trials, most_epochs = trials_of_step(run, "learning_rate")
    rates = {r.number: float(r.config.get("learning_rate", 0.0)) for r in trials if r.epochs}
    groups = {}
    for number, rate in rates.items():
        if rate <= 0:
            continue
        low = math.floor(2 * math.log10(rate)) / 2  # half decades
        if most_epochs is None:
            groups[number] = f"{power_text(10**low)} to {power_text(10 ** (low + 0.5))}"
        else:
            groups[number] = power_text(rate, 2)
    rows = tabulate_by(run, groups, most_epochs)
    return sorted(rows, key=lambda row: (float(row["group"].split()[0]), row["epoch"]))


def power_text(value: float, num_digits: int = 1) -> str:
    """0.00032 as "3.2e-4"."""
    digits, power = f"{value:.{num_digits}e}".split("e")
    return f"{digits.rstrip('0').removesuffix('.')}e{int(power)}"


def trials_of_step(run: RunData, step: str) -> tuple[list[Trial], int | None]:
    """(the trials of one step of the paper's procedure, its epochs) of a one-factor search; of others (all, None)."""
    first = [r for r in run.trials if r.source.step == step and r.source.number_of_pass == 1]
    if not first:
        return run.trials, None
    numbers = {r.number for r in first} | {number for r in first for number in r.source.compared_with or ()}
    return [r for r in run.trials if r.number in numbers], first[0].source.num_epochs


def tabulate_by(run: RunData, group_of: dict[int, str], most_epochs: int | None = None) -> Rows:
    """Validation loss at each epoch, by group of trials."""
    rows: Rows = []
    for group in sorted(set(group_of.values())):
        own = [trial for trial in run.trials if group_of.get(trial.number) == group and trial.epochs]
        for index in range(max((len(trial.epochs[:most_epochs]) for trial in own), default=0)):
            losses = [trial.epochs[index].val_loss for trial in own if len(trial.epochs) > index]
            rows.append(
                {
                    "group": group,
                    "epoch": index + 1,
                    "val_loss_median": float(np.median(losses)),
                    "val_loss_low": min(losses),
                    "val_loss_high": max(losses),
                    "num_trials": len(losses),
                }
            )
    return rows


def plot_losses_by_group(rows: Rows, run: RunData) -> Drawing:
    """Median validation loss per epoch and group, the range as a band.

    Epochs that all trials of the group reached are drawn as a line; later ones, of survivors, are dotted.
    """
    figure, (axis,) = new_figure(3.4)
    groups = list(dict.fromkeys(row["group"] for row in rows))
    has_order = groups[0][0].isdigit()  # learning rates: from yellow to violet
    for index, group in enumerate(groups):
        own = [row for row in rows if row["group"] == group]
        color: Any = COLORS[index % len(COLORS)]
        if has_order:
            color = colormaps["viridis_r"](0.08 + 0.92 * index / max(1, len(groups) - 1))
        full = [row for row in own if row["num_trials"] == own[0]["num_trials"]]
        later = own[len(full) - 1 :]
        label: str | None = f"{group} ({count_text(own[0]['num_trials'], 'trial')})"
        for part, dashes in ((full, "-"), (later, ":")):
            values = [row["val_loss_median"] for row in part]
            axis.plot([row["epoch"] for row in part], values, dashes, color=color, marker=".", label=label)
            label = None
        low = [row["val_loss_low"] for row in full]
        axis.fill_between(
            [row["epoch"] for row in full], low, [row["val_loss_high"] for row in full], color=color, alpha=0.12
        )
    highest = max(row["val_loss_median"] for row in rows)
    axis.set_ylim(min(row["val_loss_low"] for row in rows) * 0.95, highest * 1.15)
    scale_losses(axis, [row["val_loss_median"] for row in rows])
    label_epochs(axis, "epoch (dotted: only the trials that were not stopped)")
    axis.set_ylabel("validation loss (median, range)")
    axis.legend(loc="best")
    return figure


def tabulate_rate_points(run: RunData) -> Rows:
    """Every trial at the first rung: optimizer, learning rate and validation loss (as asked by the paper's Fig. 5)."""
    rung = run.rungs[0]
    return [
        {
            "trial": r.number,
            "optimizer": r.config["optimizer"],
            "learning_rate": r.config["learning_rate"],
            "epoch": rung,
            "val_loss": r.epochs[rung - 1].val_loss,
            "val_top1": r.epochs[rung - 1].val_top1,
        }
        for r in run.trials
        if len(r.epochs) >= rung and "optimizer" in r.config and "learning_rate" in r.config
    ]


def plot_rate_points(rows: Rows, run: RunData) -> Drawing:
    """Validation loss at the first rung against the learning rate, by optimizer."""
    figure, (axis,) = new_figure(3.3)
    for index, optimizer in enumerate(sorted({row["optimizer"] for row in rows})):
        own = [row for row in rows if row["optimizer"] == optimizer]
        axis.scatter(
            [row["learning_rate"] for row in own],
            [row["val_loss"] for row in own],
            s=26,
            color=COLORS[index % len(COLORS)],
            marker="osD^v"[index % 5],
            label=f"{optimizer} ({len(own)})",
        )
    axis.set_xscale("log")
    scale_losses(axis, [row["val_loss"] for row in rows])
    axis.set(xlabel="learning rate", ylabel=f"validation loss after epoch {rows[0]['epoch']}")
    axis.legend(loc="best")
    return figure


OPTIMIZERS = Figure(
    "optimizers",
    "search",
    "Optimizers against loss (paper: Fig. 4)",
    "From the search's own trials at equal epochs: other hyperparameters vary too, and later epochs hold only trials "
    "that were not stopped. With --strategy one-factor: the paper's comparison, all else fixed.",
    tabulate_optimizers,
    plot_losses_by_group,
)
LEARNING_RATES = Figure(
    "learning_rates",
    "search",
    "Learning rates against loss (paper: Fig. 5)",
    "Trials by half decade of the learning rate, at equal epochs. With --strategy one-factor: the paper's comparison, "
    "all else fixed.",
    tabulate_learning_rates,
    plot_losses_by_group,
)
LEARNING_RATE_BY_OPTIMIZER = Figure(
    "learning_rate_by_optimizer",
    "search",
    "Learning rate and optimizer together",
    "Loss at the first rung of every trial.",
    tabulate_rate_points,
    plot_rate_points,
)

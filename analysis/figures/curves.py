"""Learning curves as tables and figures: of every trial, of the finalists, by optimizer and by learning rate."""

import math
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from tune_sketch.analysis.figures.style import COLORS, label_epochs, new_figure, scale_losses
from tune_sketch.analysis.run_data import RunData
from tune_sketch.storage.journal import Record

Rows = list[dict[str, Any]]


def tabulate_trial_curves(run: RunData) -> Rows:
    """One row per trial and epoch."""
    return [
        {
            "trial": record.number,
            "status": record.status,
            "epoch": epoch["epoch"],
            "val_top1": epoch["val_top1"],
            "val_loss": epoch["val_loss"],
        }
        for record in run.trials
        for epoch in record.epochs
    ]


def plot_trial_curves(rows: Rows, run: RunData) -> Figure:
    """Validation top-1 of every trial; the three best are named."""
    figure, (axis,) = new_figure(3.6)
    curves: dict[int, Rows] = {}
    for row in rows:
        curves.setdefault(row["trial"], []).append(row)
    best = [record.number for record in run.ranked[:3]]
    for trial in sorted(curves, key=lambda trial: best.index(trial) if trial in best else len(best)):
        points, place = curves[trial], best.index(trial) if trial in best else None
        label = f"{place + 1}. trial {trial} ({points[-1]['status']})" if place is not None else None
        axis.plot(
            [p["epoch"] for p in points],
            [100 * p["val_top1"] for p in points],
            marker=".",
            markersize=6 if len(points) == 1 else 3,
            color=COLORS[place] if place is not None else "#a0a0a0",
            linewidth=1.8 if place is not None else 0.7,
            zorder=3 if place is not None else 1,
            label=label,
        )
    for rung in run.rungs[:-1]:
        axis.axvline(rung, color="#999999", linestyle=":", linewidth=1)
    label_epochs(axis, "epoch (dotted: rungs, where trials are stopped)")
    axis.set_ylabel("validation top-1 (%)")
    axis.legend(loc="best")
    return figure


def tabulate_finalist_curves(run: RunData) -> Rows:
    """Per epoch of a finalist: mean, lowest and highest over its seeds. The winning trial's own curve without them."""
    records = run.retrainings or run.ranked[:1]
    rows = []
    for number in dict.fromkeys(record.number for record in records):
        own = [record for record in records if record.number == number]
        for place in range(max(len(record.epochs) for record in own)):
            row: dict[str, Any] = {"trial": number, "epoch": place + 1}
            there = [record.epochs[place] for record in own if len(record.epochs) > place]
            for metric in ("train_loss", "val_loss", "train_top1", "val_top1"):
                values = [epoch[metric] for epoch in there]
                row |= {metric: math.fsum(values) / len(values)}
                row |= {f"{metric}_low": min(values), f"{metric}_high": max(values)}
            rows.append(row | {"num_seeds": len(there)})
    return rows


def plot_finalist_curves(rows: Rows, run: RunData) -> Figure:
    """Loss and top-1 on training (dashed) and validation, the range over seeds as a band."""
    figure, axes = new_figure(3.1, 1, 2)
    for place, number in enumerate(dict.fromkeys(row["trial"] for row in rows)):
        own = [row for row in rows if row["trial"] == number]
        epochs = [row["epoch"] for row in own]
        color = COLORS[place % len(COLORS)]
        name = f"trial {number}" + (" (study)" if number == 0 else "") + (" *" if number == run.chosen else "")
        for axis, metric, scale in ((axes[0], "loss", 1), (axes[1], "top1", 100)):
            for part, dashes in (("train", "--"), ("val", "-")):
                values = [scale * row[f"{part}_{metric}"] for row in own]
                marker = "." if len(own) == 1 else None
                label = name if part == "val" else None
                axis.plot(epochs, values, dashes, color=color, linewidth=1.3, marker=marker, label=label)
                low = [scale * row[f"{part}_{metric}_low"] for row in own]
                high = [scale * row[f"{part}_{metric}_high"] for row in own]
                axis.fill_between(epochs, low, high, color=color, alpha=0.15, linewidth=0)
    for axis, name in zip(axes, ("loss", "top-1 in %"), strict=True):
        label_epochs(axis)
        axis.set_ylabel(f"{name} (dashed: training)")
    scale_losses(axes[0], [row[f"{part}_loss"] for row in rows for part in ("train", "val")])
    axes[1].legend(loc="best")
    return figure


def tabulate_optimizers(run: RunData) -> Rows:
    """Validation loss at each epoch by optimizer: median, lowest, highest over the trials that got there."""
    trials, most_epochs = trials_of_step(run, "optimizer")
    groups = {r.number: str(r.config["optimizer"]) for r in trials if "optimizer" in r.config}
    return tabulate_by(run, groups, most_epochs)


def trials_of_step(run: RunData, step: str) -> tuple[list[Record], int | None]:
    """(the trials of one step of the study's procedure, its epochs) of a one-factor search; of others (all, None)."""
    first = [r for r in run.trials if r.origin.get("step") == step and r.origin.get("pass") == 1]
    if not first:
        return run.trials, None
    numbers = {r.number for r in first} | {number for r in first for number in r.origin["beside"]}
    return [r for r in run.trials if r.number in numbers], first[0].origin["num_epochs"]


def tabulate_by(run: RunData, group_of: dict[int, str], most_epochs: int | None = None) -> Rows:
    """Validation loss at each epoch, by group of trials."""
    rows = []
    for group in sorted(set(group_of.values())):
        own = [record for record in run.trials if group_of.get(record.number) == group and record.epochs]
        for place in range(max((len(record.epochs[:most_epochs]) for record in own), default=0)):
            losses = [record.epochs[place]["val_loss"] for record in own if len(record.epochs) > place]
            rows.append(
                {
                    "group": group,
                    "epoch": place + 1,
                    "val_loss_median": float(np.median(losses)),
                    "val_loss_low": min(losses),
                    "val_loss_high": max(losses),
                    "num_trials": len(losses),
                }
            )
    return rows


def plot_losses_by_group(rows: Rows, run: RunData) -> Figure:
    """Median validation loss per epoch and group, the range as a band. Only epochs with the group's full company
    are drawn as a line; later ones, which only survivors reach, are dotted."""
    figure, (axis,) = new_figure(3.4)
    groups = list(dict.fromkeys(row["group"] for row in rows))
    has_order = groups[0][0].isdigit()  # learning rates: from yellow to violet
    for place, group in enumerate(groups):
        own = [row for row in rows if row["group"] == group]
        color: Any = COLORS[place % len(COLORS)]
        if has_order:
            color = colormaps["viridis_r"](0.08 + 0.92 * place / max(1, len(groups) - 1))
        full = [row for row in own if row["num_trials"] == own[0]["num_trials"]]
        later = own[len(full) - 1 :]
        label: str | None = f"{group} ({count_text(own[0]['num_trials'])})"
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


def count_text(num_trials: int) -> str:
    return f"{num_trials} trial{'s' * (num_trials != 1)}"


def tabulate_learning_rates(run: RunData) -> Rows:
    """The same by half decade of the learning rate; in a one-factor search by each rate that its step tried."""
    trials, most_epochs = trials_of_step(run, "learning_rate")
    rates = {
        r.number: float(r.config["learning_rate"]) for r in trials if r.epochs and r.config.get("learning_rate", 0) > 0
    }
    groups = {}
    for number, rate in rates.items():
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


def tabulate_rate_points(run: RunData) -> Rows:
    """Every trial at the first rung: optimizer, learning rate and validation loss there (study Fig. 5's question)."""
    rung = run.rungs[0]
    return [
        {
            "trial": r.number,
            "optimizer": r.config["optimizer"],
            "learning_rate": r.config["learning_rate"],
            "epoch": rung,
            "val_loss": r.epochs[rung - 1]["val_loss"],
            "val_top1": r.epochs[rung - 1]["val_top1"],
        }
        for r in run.trials
        if len(r.epochs) >= rung and "optimizer" in r.config and "learning_rate" in r.config
    ]


def plot_rate_points(rows: Rows, run: RunData) -> Figure:
    """Validation loss at the first rung against the learning rate, by optimizer."""
    figure, (axis,) = new_figure(3.3)
    for place, optimizer in enumerate(sorted({row["optimizer"] for row in rows})):
        own = [row for row in rows if row["optimizer"] == optimizer]
        axis.scatter(
            [row["learning_rate"] for row in own],
            [row["val_loss"] for row in own],
            s=26,
            color=COLORS[place % len(COLORS)],
            marker="osD^v"[place % 5],
            label=f"{optimizer} ({len(own)})",
        )
    axis.set_xscale("log")
    scale_losses(axis, [row["val_loss"] for row in rows])
    axis.set(xlabel="learning rate", ylabel=f"validation loss after epoch {rows[0]['epoch']}")
    axis.legend(loc="best")
    return figure


def tabulate_best_so_far(run: RunData) -> Rows:
    """After each trial's first rung, in order of arrival: cost, best value there, and what random search expects.

    The expectation is the mean of the best of n draws, with replacement, from the first-rung values of the search's
    own random trials; it cannot exceed the best of those.
    """
    rung = run.rungs[0]
    there = (r for r in run.trials if len(r.epochs) >= rung)
    arrived = sorted(there, key=lambda r: (r.epochs[rung - 1]["recorded_at"], r.number))
    drawn = sorted(r.epochs[rung - 1]["val_top1"] for r in arrived if r.origin["kind"] == "random")
    rows, best, seconds = [], 0.0, 0.0
    for place, record in enumerate(arrived, start=1):
        best = max(best, record.epochs[rung - 1]["val_top1"])
        seconds += sum(epoch["epoch_seconds"] for epoch in record.epochs[:rung])
        row: dict[str, Any] = {"num_trials": place, "first_rung_seconds": seconds, "best_val_top1": best}
        if len(drawn) >= 3:
            row |= {"random_expected": expected_best(drawn, place), "num_random": len(drawn)}
            row |= {f"random_{name}": best_quantile(drawn, place, q) for name, q in (("low", 0.1), ("high", 0.9))}
        rows.append(row)
    return rows


def expected_best(ordered: list[float], num_draws: int) -> float:
    """Mean of the best of `num_draws` draws with replacement from values in ascending order."""
    n = len(ordered)
    return math.fsum(v * (((i + 1) / n) ** num_draws - (i / n) ** num_draws) for i, v in enumerate(ordered))


def best_quantile(ordered: list[float], num_draws: int, level: float) -> float:
    """The value that the best of `num_draws` draws stays under with probability `level`."""
    n = len(ordered)
    return next(v for i, v in enumerate(ordered) if ((i + 1) / n) ** num_draws >= level or i == n - 1)


def tabulate_incumbent(run: RunData) -> Rows:
    """After each epoch of the search, in order: worker time spent and the best validation top-1 of any epoch so far."""
    events = sorted((e["recorded_at"], r.number, e) for r in run.trials for e in r.epochs)
    rows, best, seconds = [], 0.0, 0.0
    for _, number, epoch in events:
        seconds += epoch["epoch_seconds"]
        if epoch["val_top1"] > best:
            best = epoch["val_top1"]
        rows.append({"worker_seconds": seconds, "trial": number, "epoch": epoch["epoch"], "best_val_top1": best})
    return rows


def plot_best_so_far(rows: Rows, run: RunData) -> Figure:
    """Best at the first rung against the number of trials, with what random search would have."""
    figure, (axis,) = new_figure(3.2)
    counts = [row["num_trials"] for row in rows]
    axis.step(counts, [100 * row["best_val_top1"] for row in rows], where="post", color=COLORS[0], label="this search")
    if "random_expected" in rows[0]:
        expected = [100 * row["random_expected"] for row in rows]
        label = f"random search, expected (from {rows[0]['num_random']} random trials; 80 % band)"
        axis.plot(counts, expected, color=COLORS[1], linestyle="--", label=label)
        low, high = ([100 * row[f"random_{end}"] for row in rows] for end in ("low", "high"))
        axis.fill_between(counts, low, high, color=COLORS[1], alpha=0.12, linewidth=0)
    axis.set(xlabel="trials", ylabel=f"best validation top-1 at epoch {run.rungs[0]} (%)")
    axis.legend(loc="lower right")
    return figure


def plot_incumbent(rows: Rows, run: RunData) -> Figure:
    """Best validation top-1 of any epoch against worker time."""
    figure, (axis,) = new_figure(3.0)
    scale, unit = (3600, "hours") if rows[-1]["worker_seconds"] > 3 * 3600 else (60, "minutes")
    spent = [row["worker_seconds"] / scale for row in rows]
    axis.step(spent, [100 * row["best_val_top1"] for row in rows], where="post", color=COLORS[0])
    axis.set(xlabel=f"worker time spent ({unit})", ylabel="best validation top-1 so far (%)")
    return figure

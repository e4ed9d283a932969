"""The search as tables and figures: leaderboard, rungs, parallel coordinates, slices."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from tune_sketch.analysis.figures.style import COLORS, hide, new_figure
from tune_sketch.analysis.run_data import RunData, is_logarithmic, is_numeric
from tune_sketch.schedulers.rungs import value_at_rung

Rows = list[dict[str, Any]]
LABEL_BOX = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.6}  # text stays readable over lines


def tabulate_leaderboard(run: RunData) -> Rows:
    """Every trial, best first: validation top-1 at each rung, so that only equal epochs are compared."""
    never_trained = [record for record in run.trials if record not in run.ranked]
    rows = []
    for place, record in enumerate([*run.ranked, *never_trained], start=1):
        row: dict[str, Any] = {
            "place": place if record.epochs else None,
            "trial": record.number,
            "status": record.status,
            "epochs_trained": len(record.epochs),
        }
        for rung in run.rungs:
            reached = value_at_rung(record, rung)
            row[f"top1_at_{rung}"] = reached[0] if reached else None
        row |= {name: record.config.get(name) for name in run.varied}
        rows.append(row | {"origin": record.origin["kind"], "error": record.error or None})
    return rows


def tabulate_rungs(run: RunData) -> Rows:
    """For each rung: how many came, how many were stopped, and which of those might have won.

    ahead_of_winner: stopped trials that were at least as good there as the trial that won. within_reach: stopped
    trials that would have beaten it with the largest gain that any survivor made from there to the last rung.
    """
    rows = []
    winner = run.ranked[0] if run.ranked else None
    for rung in run.rungs:
        values = {r.number: value[0] for r in run.trials if (value := value_at_rung(r, rung)) is not None}
        if not values:
            continue
        stopped = [r.number for r in run.trials if r.status == "stopped" and len(r.epochs) == rung]
        gains = [r.epochs[-1]["val_top1"] - values[r.number] for r in run.trials if len(r.epochs) > rung]
        row: dict[str, Any] = {
            "rung": rung,
            "num_trials": len(values),
            "best_val_top1": max(values.values()),
            "median_val_top1": float(np.median(list(values.values()))),
            "num_stopped": len(stopped),
            "best_stopped": max((values[n] for n in stopped), default=None),
        }
        if winner is not None and winner.number in values:
            ahead = [n for n in stopped if values[n] >= values[winner.number]]
            reach = winner.epochs[-1]["val_top1"] - max(gains, default=0.0)
            row["num_stopped_ahead_of_winner"] = len(ahead)
            row["num_stopped_within_reach"] = sum(values[n] > reach for n in stopped)
            row["stopped_ahead_of_winner"] = " ".join(map(str, ahead)) or None
        rows.append(row)
    return rows


def plot_rungs(rows: Rows, run: RunData) -> Figure:
    """Values of all trials at each rung; those that were stopped there are hollow."""
    figure, (axis,) = new_figure(3.3)
    rng = np.random.default_rng(0)
    stopped_at = {r.number: len(r.epochs) for r in run.trials if r.status == "stopped"}
    width = min(0.32, 0.015 * len(run.trials))
    for place, row in enumerate(rows):
        for r in run.trials:
            value = value_at_rung(r, row["rung"])
            if value is not None:
                stopped = stopped_at.get(r.number) == row["rung"]
                face = "none" if stopped else COLORS[2]
                edge = COLORS[0] if stopped else COLORS[2]
                x = place + rng.uniform(-width, width)
                axis.scatter(x, 100 * value[0], s=22, facecolors=face, edgecolors=edge, linewidths=1, zorder=3)
        winner = run.ranked[0]
        at = value_at_rung(winner, row["rung"])
        if at is not None:
            label = f"trial {winner.number}, the best" if place == 0 else None
            axis.plot([place - 0.35, place + 0.35], [100 * at[0]] * 2, color=COLORS[1], linewidth=1.5, label=label)
    labels = [f"epoch {row['rung']}\n{row['num_trials']} came, {row['num_stopped']} stopped" for row in rows]
    axis.set_xticks(range(len(rows)), labels)
    axis.set_xlim(-0.6, len(rows) - 0.4)
    axis.set_ylabel("validation top-1 (%)")
    axis.scatter([], [], s=22, color=COLORS[2], label="went on or ended by itself")
    axis.scatter([], [], s=22, facecolors="none", edgecolors=COLORS[0], label="stopped here")
    axis.legend(loc="best")
    return figure


def tabulate_configurations(run: RunData) -> Rows:
    """Every trained trial: what varies, its value at the first rung (which all have) and its place."""
    rung = run.rungs[0]
    if not run.varied:
        return []
    return [
        {"trial": r.number, "place": place, "status": r.status}
        | {name: r.config.get(name) for name in run.varied}
        | {"epoch": rung, "val_top1": value[0]}
        for place, r in enumerate(run.ranked, start=1)
        if (value := value_at_rung(r, rung)) is not None
    ]


def axis_scale(values: Sequence[Any]) -> tuple[list[float], list[tuple[float, str]]]:
    """(positions in [0, 1] of the values, ticks) on an axis: logarithmic, linear, or one place per word.

    A value that a trial has not, or 0 on a logarithmic axis, lies at the bottom, apart from the others.
    """
    present = [v for v in values if v is not None]
    if not is_numeric(present):
        words = sorted(set(present), key=lambda v: (isinstance(v, str), v))
        place = {str(word): i / max(1, len(words) - 1) for i, word in enumerate(words)}
        return [place.get(str(v), -0.12) for v in values], [(place[str(w)], str(w)) for w in words]
    logarithmic = is_logarithmic(present)
    usable = [v for v in present if v > 0] if logarithmic else present
    scale = np.log10 if logarithmic else np.asarray
    low, high = float(scale(min(usable))), float(scale(max(usable)))
    span = high - low or 1.0
    positions = [-0.12 if v is None or (logarithmic and v <= 0) else (float(scale(v)) - low) / span for v in values]
    middle = (low + high) / 2
    ticks = [((at - low) / span, f"{10**at if logarithmic else at:.2g}") for at in (low, middle, high)]
    if any(v == 0 for v in present) and logarithmic:
        ticks.append((-0.12, "0"))
    return positions, ticks


def plot_parallel(rows: Rows, run: RunData) -> Figure:
    """One line per trial through its values; dark is good."""
    names = [*run.varied, "val_top1"]
    figure, (axis,) = new_figure(4.6, width_inches=max(7.0, 0.66 * len(names)))
    columns, values = [], np.array([row["val_top1"] for row in rows])
    for place, name in enumerate(names):
        positions, ticks = axis_scale([row[name] for row in rows])
        columns.append(positions)
        axis.plot([place, place], [-0.12, 1], color="#888888", linewidth=0.8, zorder=4)
        for at, text in ticks:
            text = f"{100 * float(text):.3g} %" if name == "val_top1" else text
            axis.annotate(
                text,
                (place, at),
                (3, 1),
                textcoords="offset points",
                fontsize=7.5,
                zorder=6,
                color="#222222",
                bbox=LABEL_BOX,
            )
    lowest, highest = values.min(), values.max()
    from matplotlib import colormaps

    for line, value in sorted(zip(zip(*columns, strict=True), values, strict=True), key=lambda pair: pair[1]):
        shade = (value - lowest) / (highest - lowest or 1)
        color = colormaps["viridis_r"](0.05 + 0.95 * shade)
        axis.plot(range(len(names)), line, color=color, linewidth=0.6 + 1.1 * shade, alpha=0.35 + 0.65 * shade)
    labels = [name.replace("_", "\n") for name in run.varied] + [f"top-1 at\nepoch {run.rungs[0]}"]
    axis.set_xticks(range(len(names)), labels, fontsize=8)
    axis.set_yticks([])
    axis.set_xlim(-0.2, len(names) - 0.4)
    axis.grid(False)
    axis.spines[:].set_visible(False)
    return figure


def plot_slices(rows: Rows, run: RunData) -> Figure:
    """Validation top-1 at the first rung against each varied value."""
    names = run.varied
    num_columns = 4
    num_rows = -(-len(names) // num_columns)
    height = 1.6 * num_rows + 0.3
    figure, axes = new_figure(height, num_rows, num_columns, layout=None, sharey=True)  # fitting so many takes seconds
    figure.subplots_adjust(0.085, 0.42 / height, 0.985, 1 - 0.25 / height, wspace=0.12, hspace=0.62)
    for axis in axes[len(names) :]:
        hide(axis)
    for axis, name in zip(axes, names, strict=False):
        own = [row for row in rows if row[name] is not None]
        values = [row[name] for row in own]
        tops = [100 * row["val_top1"] for row in own]
        if is_numeric(values):
            axis.scatter(values, tops, s=10, color=COLORS[0], alpha=0.7)
            if is_logarithmic(values):
                smallest = min(v for v in values if v > 0)
                axis.set_xscale("symlog", linthresh=smallest) if min(values) <= 0 else axis.set_xscale("log")
        else:
            words = sorted(set(values), key=lambda v: (isinstance(v, str), v))
            axis.scatter([words.index(v) for v in values], tops, s=10, color=COLORS[0], alpha=0.7)
            axis.set_xticks(range(len(words)), [str(w) for w in words], rotation=25 if len(words) > 3 else 0)
            axis.set_xlim(-0.5, len(words) - 0.5)
        axis.tick_params(labelsize=6.5)
        axis.set_title(name.replace("_", " "), fontsize=8, pad=2)
    figure.supylabel(f"validation top-1 at epoch {run.rungs[0]} (%)", fontsize=8)
    return figure

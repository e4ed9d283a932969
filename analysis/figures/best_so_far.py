"""The best value so far against the number of trials, beside random search."""

import math

from matplotlib.figure import Figure as Drawing

from tune_sketch.analysis.figures.base import Figure
from tune_sketch.analysis.figures.style import COLORS, new_figure
from tune_sketch.analysis.rows import Row, Rows
from tune_sketch.analysis.run_data import RunData


def tabulate_best_so_far(run: RunData) -> Rows:
    """After each trial's first rung, in order of arrival: cost, best value there, and what random search expects.

    The expectation is the mean of the best of n draws, with replacement, from the first-rung values of the search's
    own random trials; it cannot exceed the best of those.
    """
    rung = run.rungs[0]
    there = (r for r in run.trials if len(r.epochs) >= rung)
    arrived = sorted(there, key=lambda r: (r.epochs[rung - 1].recorded_at, r.number))
    drawn = sorted(r.epochs[rung - 1].val_top1 for r in arrived if r.source.kind == "random")
    rows, best, seconds = [], 0.0, 0.0
    for num_trials, trial in enumerate(arrived, start=1):
        best = max(best, trial.epochs[rung - 1].val_top1)
        seconds += sum(epoch.seconds for epoch in trial.epochs[:rung])
        row: Row = {"num_trials": num_trials, "first_rung_seconds": seconds, "best_val_top1": best}
        if len(drawn) >= 3:
            row |= {"random_expected": expected_best(drawn, num_trials), "num_random": len(drawn)}
            row |= {f"random_{name}": best_quantile(drawn, num_trials, q) for name, q in (("low", 0.1), ("high", 0.9))}
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


def plot_best_so_far(rows: Rows, run: RunData) -> Drawing:
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


BEST_SO_FAR = Figure(
    "best_so_far",
    "search",
    "Best so far, beside random search",
    "Compared at the first rung, which every trial reaches. Random search's expectation is the mean of the best of "
    "n draws from the search's own random trials; it cannot exceed the best of those.",
    tabulate_best_so_far,
    plot_best_so_far,
)

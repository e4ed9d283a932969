"""Each hyperparameter by itself, against the value at the first rung."""

from matplotlib.figure import Figure as Drawing

from tune_sketch.analysis.figures.base import Figure
from tune_sketch.analysis.figures.style import COLORS, hide, new_figure
from tune_sketch.analysis.rows import Rows
from tune_sketch.analysis.run_data import RunData
from tune_sketch.analysis.scales import is_logarithmic, is_numeric


def tabulate_configurations(run: RunData) -> Rows:
    """Every trained trial: the values that vary, its top-1 at the first rung (which all have) and its place."""
    rung = run.rungs[0]
    if not run.varied:
        return []
    return [
        {"trial": r.number, "place": rank, "status": r.status}
        | {name: r.config.get(name) for name in run.varied}
        | {"epoch": rung, "val_top1": epoch.val_top1}
        for rank, r in enumerate(run.ranked, start=1)
        if (epoch := r.epoch_at(rung)) is not None
    ]


def plot_slices(rows: Rows, run: RunData) -> Drawing:
    """Validation top-1 at the first rung against each varied value."""
    names = run.varied
    num_columns = 4
    num_rows = -(-len(names) // num_columns)
    height = 1.6 * num_rows + 0.3
    figure, axes = new_figure(
        height, num_rows, num_columns, layout=None, sharey=True
    )  # fitting that many takes seconds
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
                axis.locator_params(axis="x", nbins=3)  # more run into each other: 0.0002, 0.0004 ...
        else:
            words = sorted(set(values), key=lambda v: (isinstance(v, str), v))
            axis.scatter([words.index(v) for v in values], tops, s=10, color=COLORS[0], alpha=0.7)
            axis.set_xticks(range(len(words)), [str(w) for w in words], rotation=25 if len(words) > 3 else 0)
            axis.set_xlim(-0.5, max(1, len(words)) - 0.5)  # none where no trial with that value got to the rung
        axis.tick_params(labelsize=6.5)
        axis.set_title(name.replace("_", " "), fontsize=8, pad=2)
    figure.supylabel(f"validation top-1 at epoch {run.rungs[0]} (%)", fontsize=8)
    return figure


SLICES = Figure(
    "slices",
    "search",
    "Each hyperparameter by itself",
    "Validation top-1 at the first rung against each value that varied.",
    tabulate_configurations,
    plot_slices,
)

"""Shows the hyperparameters that mattered: shares of variance, computed only from values at equal epochs."""

from collections.abc import Mapping, Sequence

import numpy as np
import optuna
from matplotlib.figure import Figure as Drawing
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.trial import create_trial

from tune_sketch.analysis.figures.base import Figure
from tune_sketch.analysis.figures.style import COLORS, new_figure
from tune_sketch.analysis.rows import Rows
from tune_sketch.analysis.run_data import RunData
from tune_sketch.analysis.scales import is_logarithmic, is_numeric
from tune_sketch.events import Value

MIN_TRIALS = 8  # with fewer the forest has nothing to learn from
NUM_SHUFFLES = 9
MAX_SHUFFLED = 64  # trials with which chance is measured at most: more would take long


def tabulate_importance(run: RunData) -> Rows:
    """Share of the variance of validation top-1 at one rung that each varied value explains (fANOVA).

    Hutter et al. 2014, by Optuna. Computed at the first rung, which all trials reach, and at the deepest rung that
    enough trials reach: only values of equal epochs go in. A value that some trials lack (momentum) is left out.
    chance: the largest share that the name got when the values were dealt out to (at most 64 of) the trials anew, nine
    times: where nothing matters, a share is above it once in ten.
    """
    rng = np.random.default_rng(0)
    rows: Rows = []
    for rung in dict.fromkeys([run.rungs[0], *deepest_common_rung(run)]):
        there = [(r, epoch.val_top1) for r in run.trials if (epoch := r.epoch_at(rung)) is not None]
        if len(there) < MIN_TRIALS or len({value for _, value in there}) < 2:
            continue
        configurations, values = [r.config for r, _ in there], [value for _, value in there]
        shares = measure_importance(configurations, values, run.varied)
        dealt = []
        for _ in range(NUM_SHUFFLES):
            some = rng.permutation(len(there))[:MAX_SHUFFLED]
            others = rng.permutation(values)[: len(some)]
            dealt.append(measure_importance([configurations[i] for i in some], list(others), run.varied))
        rows += [
            {"rung": rung, "name": name, "importance": float(share), "num_trials": len(there)}
            | {"chance": float(max(by_chance.get(name, 0.0) for by_chance in dealt))}
            for name, share in shares.items()
        ]
    return rows


def deepest_common_rung(run: RunData) -> list[int]:
    """The deepest rung that enough trials reached, or none."""
    reached = [r for r in run.rungs if sum(t.epoch_at(r) is not None for t in run.trials) >= MIN_TRIALS]
    return reached[-1:]


def measure_importance(
    configurations: Sequence[Mapping[str, Value]], values: Sequence[float], names: Sequence[str]
) -> dict[str, float]:
    """Importance of each name by Optuna's fANOVA over configurations with these values."""
    distributions: dict[str, BaseDistribution] = {}
    columns: dict[str, list[Value]] = {}
    for name in names:
        own = [configuration[name] for configuration in configurations if name in configuration]
        if len(own) == len(configurations) and len(set(map(str, own))) > 1:
            distributions[name], columns[name] = find_distribution(own)
    if not distributions:
        return {}
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize")
    for index, value in enumerate(values):
        params = {name: column[index] for name, column in columns.items()}
        study.add_trial(create_trial(params=params, distributions=distributions, value=float(value)))
    evaluator = optuna.importance.FanovaImportanceEvaluator(n_trees=32, max_depth=32, seed=0)
    return optuna.importance.get_param_importances(study, evaluator=evaluator)


def find_distribution(values: Sequence[Value]) -> tuple[BaseDistribution, list[Value]]:
    """A distribution that the values can come from, and the values as it wants them.

    A number on a logarithmic scale that may also be 0 (decay) counts as off or on.
    """
    words: list[Value] = [str(v) for v in values]
    if is_numeric(values):
        numbers, logarithmic = [float(v) for v in values], is_logarithmic(values)
        if not (logarithmic and min(numbers) <= 0):
            return FloatDistribution(min(numbers), max(numbers), log=logarithmic), [*numbers]
        words = ["off" if v == 0 else "on" for v in numbers]
    return CategoricalDistribution(sorted(set(map(str, words)))), words


def plot_importance(rows: Rows, run: RunData) -> Drawing:
    """Bars per name, one colour per rung."""
    rungs = sorted({row["rung"] for row in rows})
    first = {row["name"]: row["importance"] for row in rows if row["rung"] == rungs[0]}
    names = sorted(first, key=first.__getitem__)
    figure, (axis,) = new_figure(0.8 + 0.24 * len(names))
    height = 0.8 / len(rungs)
    for index, rung in enumerate(rungs):
        own = {row["name"]: row for row in rows if row["rung"] == rung}
        shares = [100 * own[name]["importance"] if name in own else 0.0 for name in names]
        label = f"at epoch {rung} ({next(iter(own.values()))['num_trials']} trials)"
        at = np.arange(len(names)) + (len(rungs) - 1 - index) * height - 0.4 + height / 2
        axis.barh(at, shares, height=height, color=COLORS[index], label=label)
        chances = [100 * own[name]["chance"] if name in own else 0.0 for name in names]
        axis.vlines(chances, at - height / 2, at + height / 2, color="black", linewidth=1.2, zorder=4)
    axis.plot([], [], color="black", marker="|", linestyle="", markersize=7, label="reached by chance, once in ten")
    axis.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
    axis.grid(axis="y", visible=False)
    axis.set_xlabel("share of the variance of validation top-1 (%)")
    axis.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0.1)
    return figure


IMPORTANCE = Figure(
    "importance",
    "search",
    "Which hyperparameters mattered",
    "Share of the variance explained (fANOVA), computed only from values at equal epochs. A bar that does not pass "
    "its black mark may be chance; deeper rungs hold survivors only.",
    tabulate_importance,
    plot_importance,
)

"""From simulated searches to tables with intervals, the targets, and a verdict."""

import datetime
import platform
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import cpu_name
from benchmarks.other_searchers.process import read_versions
from tune_sketch.storage.provenance import find_version

OURS, WARM = "incumbent", "incumbent-warm"
NUM_RESAMPLES = 2000
TARGET_MS = 20.0  # of the sampler's time for one suggestion
MOST_LOSS = 0.03  # of regret, against random + ASHA in any group of tasks
# opponents against which the interval of the advantage must be above 0 at 4 and 8 trainings of 8 and 25 workers
MUST_BEAT = ("ray-default", "random+asha", "tpe", "one-factor")
Rows = list[dict[str, Any]]
Regrets = dict[tuple[str, float, float], dict[str, dict[int, float]]]  # (method, workers, t) -> task -> seed -> regret


def compute_regrets(rows: Rows, column: str = "by_best") -> Regrets:
    """0 for the best final value known of a task, from random draws or from any search of it; 1 for a median one."""
    best: dict[str, float] = defaultdict(lambda: -np.inf)
    for row in rows:
        best[row["task"]] = max(best[row["task"]], row["best"], row["by_rung"], row["by_best"])
    regrets: Regrets = defaultdict(lambda: defaultdict(dict))
    for row in rows:
        regret = (best[row["task"]] - row[column]) / (best[row["task"]] - row["median"])
        regrets[row["method"], row["workers"], row["t"]][row["task"]][int(row["seed"])] = regret
    return regrets


def pair(ours: dict, theirs: dict, tasks: Callable[[str], bool] = lambda task: True) -> list[np.ndarray]:
    """For each task that both have, their regret minus ours on each seed that both have."""
    pairs = []
    for task in sorted(ours.keys() & theirs.keys()):
        seeds = sorted(ours[task].keys() & theirs[task].keys())
        if tasks(task) and seeds:
            pairs.append(np.array([theirs[task][seed] - ours[task][seed] for seed in seeds]))
    return pairs


def interval(pairs: list[np.ndarray]) -> tuple[float, float, float]:
    """(mean over tasks of their mean over seeds, and its 95 % interval by bootstrap over tasks and, in each, seeds)."""
    random = np.random.default_rng(0)
    means = np.empty((NUM_RESAMPLES, len(pairs)))
    for index, values in enumerate(pairs):
        means[:, index] = values[random.integers(len(values), size=(NUM_RESAMPLES, len(values)))].mean(axis=1)
    chosen = random.integers(len(pairs), size=(NUM_RESAMPLES, len(pairs)))
    resampled = np.take_along_axis(means, chosen, axis=1).mean(axis=1)
    low, high = np.percentile(resampled, [2.5, 97.5])
    return float(np.mean([values.mean() for values in pairs])), float(low), float(high)


def rank_methods(regrets: Regrets, workers: float, t: float, methods: list[str]) -> tuple[dict[str, float], int]:
    """(mean rank of each method over the searches that all of them have, how many); 1 is best, equals share."""
    ranks = defaultdict(list)
    found = [regrets[method, workers, t] for method in methods]
    for task in set.intersection(*(set(per_task) for per_task in found)):
        for seed in set.intersection(*(set(per_task[task]) for per_task in found)):
            values = np.array([per_task[task][seed] for per_task in found])
            for method, value in zip(methods, values, strict=True):
                ranks[method].append(1 + (values < value).sum() + ((values == value).sum() - 1) / 2)
    return {method: float(np.mean(values)) for method, values in ranks.items()}, max(
        map(len, ranks.values()), default=0
    )


def count(per_task: dict[str, dict[int, float]]) -> str:
    """ "23 x 5": tasks and seeds (the fewest and the most where they differ)."""
    seeds = [len(values) for values in per_task.values()]
    return f"{len(seeds)} x {min(seeds)}" + (f" to {max(seeds)}" if min(seeds) != max(seeds) else "")


def quality_table(regrets: Regrets, workers: float) -> list[str]:
    """Mean regret of each method at each time, its mean rank at the last, and n."""
    times = sorted({t for _, w, t in regrets if w == workers})
    methods = [m for m in dict.fromkeys(m for m, w, _ in regrets if w == workers)]
    ranks, num_ranked = rank_methods(regrets, workers, times[-1], methods)
    head = " | ".join(f"{t:g}" for t in times)
    lines = [f"| W = {workers:g}, t = | {head} | rank (n = {num_ranked}) | tasks x seeds |"]
    lines.append("|---" * (len(times) + 3) + "|")
    for method in sorted(methods, key=lambda m: mean_regret(regrets[m, workers, times[-1]])):
        cells = [f"{mean_regret(regrets[method, workers, t]):.3f}" for t in times]
        rank = f"{ranks[method]:.2f}" if method in ranks else ""
        lines.append(f"| {method} | {' | '.join(cells)} | {rank} | {count(regrets[method, workers, times[-1]])} |")
    return [*lines, ""]


def mean_regret(per_task: dict[str, dict[int, float]]) -> float:
    return float(np.mean([np.mean(list(seeds.values())) for seeds in per_task.values()]))


def advantage_table(regrets: Regrets) -> tuple[list[str], list[str]]:
    """(paired advantages of ours with intervals, the targets that are missed)."""
    lines = ["| against | W | t | advantage [95 %] | tasks won | n pairs |", "|---|---|---|---|---|---|"]
    missed = []
    for method, workers, t in sorted(regrets):
        if method in (OURS, WARM) or (OURS, workers, t) not in regrets:
            continue
        pairs = pair(regrets[OURS, workers, t], regrets[method, workers, t])
        if not pairs:
            continue
        mean, low, high = interval(pairs)
        won = sum(values.mean() > 0 for values in pairs)
        num_pairs = sum(map(len, pairs))
        lines.append(
            f"| {method} | {workers:g} | {t:g} | {mean:+.3f} [{low:+.3f}, {high:+.3f}] "
            f"| {won} of {len(pairs)} | {num_pairs} |"
        )
        what = f"{method}, W = {workers:g}, t = {t:g}: {mean:+.3f} [{low:+.3f}, {high:+.3f}]"
        if method in MUST_BEAT and workers in (8, 25) and t in (4, 8) and low <= 0:
            missed.append(f"interval not above 0 against {what}")
        if high < 0:
            missed.append(f"ahead of ours, its interval apart from 0: {what}")
        if method == "one-factor-repeated" and workers in (8, 25) and t in (4, 8) and mean < 0:
            missed.append(f"mean under 0 against {what}")
    return [*lines, ""], missed


def warm_table(regrets: Regrets) -> tuple[list[str], list[str]]:
    """The gain of a warm start over a cold one, and where it is worse beyond the interval."""
    lines = ["| W | t | gain of a warm start [95 %] | tasks won | n pairs |", "|---|---|---|---|---|"]
    missed = []
    for _, workers, t in sorted(key for key in regrets if key[0] == WARM):
        pairs = pair(regrets[WARM, workers, t], regrets[OURS, workers, t])
        if pairs:
            mean, low, high = interval(pairs)
            won = sum(values.mean() > 0 for values in pairs)
            lines.append(
                f"| {workers:g} | {t:g} | {mean:+.3f} [{low:+.3f}, {high:+.3f}] "
                f"| {won} of {len(pairs)} | {sum(map(len, pairs))} |"
            )
            if high < 0:
                missed.append(f"a warm start is worse, W = {workers:g}, t = {t:g}: {mean:+.3f}")
    return ([*lines, ""] if len(lines) > 2 else ["Not measured: nothing is claimed of a warm start.", ""]), missed


def group_table(regrets: Regrets, rows: Rows) -> tuple[list[str], list[str]]:
    """The advantage against random + ASHA in each group of tasks, and where it is worse than allowed."""
    group_of = {row["task"]: row["group"] for row in rows}
    lines = ["| group | W | t | advantage against random+asha [95 %] | n pairs |", "|---|---|---|---|---|"]
    missed = []
    for group in sorted(set(group_of.values())):
        for workers, t in sorted({(w, t) for m, w, t in regrets if m == OURS}):
            key = ("random+asha", workers, t)
            if key not in regrets:
                continue
            pairs = pair(regrets[OURS, workers, t], regrets[key], lambda task, group=group: group_of[task] == group)
            if not pairs:
                continue
            mean, low, high = interval(pairs)
            num_pairs = sum(map(len, pairs))
            lines.append(f"| {group} | {workers:g} | {t:g} | {mean:+.3f} [{low:+.3f}, {high:+.3f}] | {num_pairs} |")
            if mean < -MOST_LOSS:
                missed.append(f"random + ASHA is better on {group}, W = {workers:g}, t = {t:g}: {mean:+.3f}")
    return [*lines, ""], missed


def half_budget(regrets: Regrets) -> tuple[str, list[str]]:
    """Whether ours reaches at t = 4 (8 workers) what one pass of one factor at a time has at t = 8."""
    if (OURS, 8, 4) not in regrets or ("one-factor", 8, 8) not in regrets:
        return "", []
    pairs = pair(regrets[OURS, 8, 4], regrets["one-factor", 8, 8])
    mean, low, high = interval(pairs)
    text = f"Ours at t = 4 against one-factor at t = 8 (W = 8): {mean:+.3f} [{low:+.3f}, {high:+.3f}]"
    return text, [] if mean >= 0 else [f"one-factor's regret in half its budget: {mean:+.3f}"]


def judge(rows: Rows) -> tuple[list[str], list[str], str]:
    """(lines of the report, missed targets, the last line)."""
    regrets = compute_regrets(rows)
    lines: list[str] = []
    for workers in sorted({row["workers"] for row in rows}):
        lines += quality_table(regrets, workers)
    advantages, missed = advantage_table(regrets)
    groups, missed_in_groups = group_table(regrets, rows)
    half, missed_half = half_budget(regrets)
    milliseconds = [row["sampler_ms"] for row in rows if row["method"] == OURS]
    slowest = [row for row in rows if row["method"] == OURS and row["num_trials"] >= 1000]
    at_thousand = max((row["sampler_ms"] for row in slowest), default=float("nan"))
    warm, missed_warm = warm_table(regrets)
    missed += missed_in_groups + missed_half + missed_warm
    if max(milliseconds) > TARGET_MS:
        missed.append(f"a suggestion takes {max(milliseconds):.1f} ms in the slowest search")
    lines += [
        "## Paired advantage (opponent's regret minus ours)",
        "",
        *advantages,
        "## By group",
        "",
        *groups,
        half,
        "",
        "## After two earlier searches on other tasks of the group (`--warm-start`)",
        "",
        *warm,
        "",
    ]
    last = (
        f"sampler {np.median(milliseconds):.1f} ms per suggestion (median of searches; most {max(milliseconds):.1f}, "
        f"with 1,000 trials or more {at_thousand:.1f}); "
        + "; ".join(
            f"{method} W=8 t={t:g} {mean:+.3f} [{low:+.3f}, {high:+.3f}] n={num}"
            for method, t, (mean, low, high), num in headline(regrets)
        )
    )
    return lines, missed, last


def headline(regrets: Regrets) -> list[tuple[str, float, tuple[float, float, float], int]]:
    """The advantages at 8 workers at the longest time."""
    found = []
    times = [t for m, w, t in regrets if m == OURS and w == 8]
    for method in MUST_BEAT:
        if times and (method, 8, max(times)) in regrets:
            pairs = pair(regrets[OURS, 8, max(times)], regrets[method, 8, max(times)])
            if pairs:
                found.append((method, max(times), interval(pairs), sum(map(len, pairs))))
    return found


def claim_lines(regrets: Regrets) -> list[str]:
    """At 4 and 8 full trainings' time: against whom the interval is above 0, and against whom nothing is claimed."""
    better: list[str] = []
    open_: list[str] = []
    for method, workers, t in sorted(regrets):
        if method in (OURS, WARM) or t not in (4, 8) or (OURS, workers, t) not in regrets:
            continue
        pairs = pair(regrets[OURS, workers, t], regrets[method, workers, t])
        if pairs:
            (better if interval(pairs)[1] > 0 else open_).append(f"{method} (W = {workers:g}, t = {t:g})")
    return [
        f"Claimed, on these curves: better than {', '.join(better) or 'none'}.",
        f"Not claimed: better than {', '.join(open_) or 'none'}; anything on other spaces or at other times.",
        "",
    ]


def write_report(rows: Rows, path: Path) -> int:
    """The result file; 1 when a target is missed."""
    lines, missed, last = judge(rows)
    num_searches = len({(r["task"], r["method"], r["workers"], r["seed"]) for r in rows})
    head = [
        "# Which search finds more, on curves that nobody tuned on",
        "",
        f"{num_searches} simulated searches; {machine()}. Made by",
        "`python -m benchmarks.search_quality`, which says what is measured. Regret: 0 is the best one known, 1",
        "the median of random ones; t in median full trainings; the configuration taken is the first of `rank_trials`",
        "for every method. All begin with the same configuration: the paper's on drawings, else the middle of the",
        "space. Intervals: 95 %, bootstrap over tasks and seeds; n is in each table. At most 2,000 trials.",
        "",
        "Other packages, each with its defaults and its own thinking time, told the same first configurations where",
        f"they take them (DEHB does not): {', '.join(f'{name} {number}' for name, number in read_versions().items())},",
        "Optuna's HyperbandPruner with its TPE: benchmarks/other_searchers/. SMAC begins with five",
        "random configurations: its default of 25 would come before what is known. All see spaces without conditions.",
        "",
        "What was tried on the tasks for choosing: [search_variants](search_variants-cpu.md). What a suggestion takes:",
        "[suggestion_time](suggestion_time-cpu.md).",
        "",
    ]
    verdict = ["## Targets", "", *(f"- missed: {text}" for text in missed)] if missed else ["All targets are met."]
    claims = claim_lines(compute_regrets(rows))
    path.write_text("\n".join([*head, *claims, *lines, *verdict, "", last, ""]))
    print("\n".join([*lines, *verdict]))
    print(last)
    return 1 if missed else 0


def judge_quickly(rows: Rows) -> int:
    """A few searches: too few for intervals above 0, enough to see that something broke.

    1 when Ray's default wiring is better, random + ASHA by more than allowed, or a suggestion too slow.
    """
    lines, _, last = judge(rows)
    regrets = compute_regrets(rows)
    times = sorted({t for m, _, t in regrets if m == OURS})
    least = {"ray-default": 0.0, "random+asha": -MOST_LOSS}
    worse = [method for method, bound in least.items() if advantage(regrets, method, times[-1]) < bound]
    slow = [row["sampler_ms"] for row in rows if row["method"] == OURS and row["sampler_ms"] > TARGET_MS]
    print("\n".join(lines))
    print(f"worse than: {', '.join(worse) or 'none'}; slow searches: {len(slow)}; {last}")
    return 1 if worse or slow else 0


def advantage(regrets: Regrets, method: str, t: float) -> float:
    return interval(pair(regrets[OURS, 8, t], regrets[method, 8, t]))[0]


def machine() -> str:
    """Where and with what this was measured."""
    found = {name: find_version(name) for name in ("optuna", "ray", "numpy", "onnxruntime")}
    versions = ", ".join(f"{name} {number}" for name, number in found.items() if number)
    return f"{cpu_name()}, Python {platform.python_version()}, {versions}, {datetime.date.today()}"

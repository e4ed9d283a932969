"""Turns measurements of kept activations into tables, the gain of a whole search, and a verdict."""

import random
import statistics
from typing import Any

from tune_sketch.schedulers.rungs import default_grace_epochs, rung_epochs

NUM_VIEWS = (1, 2, 4, 8)
LEAST_SPEEDUP = 1.2  # below, a training gives the store up
LEAST_SPEEDUPS = {"last stage": 1.4, "head_only": 3.0}  # of an epoch, frozen to the stage before the head or to it
MOST_LOST = 0.01  # of validation top-1 over eight views against ordinary training; more, by two standard errors, fails
Rows = list[dict[str, Any]]


def tabulate_differences(rows: Rows) -> Rows:
    """Per network, freeze point and V: mean and spread of (over V views) - (ordinary), paired by seed."""
    table: Rows = []
    for model, freeze in dict.fromkeys((row["model"], row["freeze"]) for row in rows):
        values: dict[int, dict[int, float]] = {}
        for row in rows:
            if (row["model"], row["freeze"]) == (model, freeze):
                values.setdefault(int(row["num_views"]), {})[int(row["seed"])] = float(row["val_top1"])
        seeds = sorted(set.intersection(*(set(of_seed) for of_seed in values.values())))
        ordinary = {seed: values[0][seed] for seed in seeds}
        for num_views in NUM_VIEWS:
            differences = [values[num_views][seed] - ordinary[seed] for seed in seeds]
            error = statistics.stdev(differences) / len(differences) ** 0.5 if len(differences) > 1 else float("nan")
            line: dict[str, Any] = {"model": model, "freeze": freeze, "num_views": num_views, "n": len(differences)}
            line |= {
                "ordinary": statistics.mean(ordinary.values()),
                "over_views": statistics.mean(values[num_views][seed] for seed in seeds),
            }
            table.append(line | {"difference": statistics.mean(differences), "standard_error": error})
    return table


def simulate_search(speed: Rows, num_views: int, *, num_searches: int = 200) -> tuple[float, float]:
    """(search, retraining): time of ordinary training over time with the store, for the default search of 50 trials.

    num_views 0: a space without augmentation, where one view serves all; what filling it once takes is left out.

    Freeze points and epochs are drawn as the space draws them, one trial in three passes a rung, and three finalists
    are trained with three seeds each. No two trials share views, since strengths are drawn from ranges.
    """
    points: dict[str, dict[str, Any]] = {}
    shortest = float("inf")
    for row in speed:  # an epoch in which more is frozen cannot be longer: other work on the machine was
        shortest = min(shortest, float(row["ordinary_seconds"]))
        points[row["freeze"]] = row | {"ordinary_seconds": shortest}
    max_epochs = 50
    rungs = rung_epochs(default_grace_epochs(max_epochs), max_epochs, 3)
    totals = {"search": [0.0, 0.0], "retraining": [0.0, 0.0]}
    draw = random.Random(0)

    def add(part: str, freeze: str, num_epochs: int, length: int) -> None:
        if freeze == "none":  # costs at least what the shallowest freeze point costs, and gains nothing
            seconds = max(float(row["ordinary_seconds"]) for row in speed) * num_epochs
            totals[part][0] += seconds
            totals[part][1] += seconds
            return
        row = points[freeze]
        of_ordinary, of_filling, of_reusing = (
            float(row[f"{name}_seconds"]) for name in ("ordinary", "filling", "reusing")
        )
        totals[part][0] += of_ordinary * num_epochs
        if length <= num_views + 1:
            totals[part][1] += of_ordinary * num_epochs
            return
        num_kept = num_epochs - 1 if float(row["speedup"]) >= LEAST_SPEEDUP else min(1, num_epochs - 1)
        filled = min(num_kept, num_views)  # none where another training has filled the store
        totals[part][1] += (
            of_ordinary * (num_epochs - num_kept) + of_reusing * num_kept + (of_filling - of_reusing) * filled
        )

    for _ in range(num_searches):
        for _ in range(50):
            length, freeze = draw.randint(17, max_epochs), draw.choice(["none", *points])
            reached = next((rung for rung in rungs[:-1] if draw.random() > 1 / 3), max_epochs)
            add("search", freeze, min(reached, length), length)
        for _ in range(3):
            length, freeze = draw.randint(17, max_epochs), draw.choice(["none", *points])
            for _ in range(3):
                add("retraining", freeze, length, length)
    return totals["search"][0] / totals["search"][1], totals["retraining"][0] / totals["retraining"][1]


def describe(speed: Rows, differences: Rows, accuracy: Rows) -> list[str]:
    """The result file's lines."""
    lines = ["## Speed and disk", ""]
    lines += [
        "| network | frozen to | px | drawings | epoch from drawings, s | epoch that fills the store, s "
        "| epoch from the store, s "
        "| faster, median (lowest to highest, n) | kB per drawing and view | measured at |",
        "|" + "---|" * 10,
    ]
    for row in speed:
        lines.append(
            f"| {row['model']} | {row['freeze']} | {row['image_px']} | {row['num_train']} "
            f"| {float(row['ordinary_seconds']):.2f} | {float(row['filling_seconds']):.2f} "
            f"| {float(row['reusing_seconds']):.2f} | {float(row['speedup']):.2f} ({float(row['lowest']):.2f} to "
            f"{float(row['highest']):.2f}, {row['n']}) | {int(row['bytes_per_view']) / 1000:.1f} | {row['commit']} |"
        )
    lines += ["", "## A default search, by arithmetic from these times", ""]
    for model in dict.fromkeys(row["model"] for row in speed):
        for num_views, text in ((4, "4 augmented views"), (8, "8 augmented views"), (0, "nothing augmented")):
            search, retraining = simulate_search([row for row in speed if row["model"] == model], num_views)
            lines.append(f"- {model}, {text}: trials {search:.2f} times faster, retrainings {retraining:.2f} times")
    lines += ["", "## Accuracy: validation top-1 over V views minus that of ordinary training, paired by seed", ""]
    lines += [
        "| network | frozen to | ordinary | V | over V views | difference | standard error | n |",
        "|" + "---|" * 8,
    ]
    for row in differences:
        lines.append(
            f"| {row['model']} | {row['freeze']} | {row['ordinary']:.3f} | {row['num_views']} "
            f"| {row['over_views']:.3f} | {row['difference']:+.3f} | {row['standard_error']:.3f} | {row['n']} |"
        )
    lines += [
        "",
        *(describe_training(row) for row in accuracy if int(row["seed"]) == int(row["num_views"]) == 0),
        *EXPLANATION,
    ]
    return lines


def describe_training(row: dict[str, Any]) -> str:
    return (
        f"- {row['pretraining']} Then it was trained, frozen to {row['freeze']}, for {row['epochs']} epochs on about "
        f"{row['num_train']} drawings of {row['num_classes']} classes of {row['data']}, and judged on about "
        f"{row['num_validation']} others; another division and other weights of the head for each seed."
    )


EXPLANATION = [
    "",
    "Epochs from drawings and from the store alternate in one process, in float32 on CPUs without AMX.",
    "The pretraining is a stand-in: nothing is claimed for ImageNet weights, larger images, or GPUs, which were",
    "not to be had. One view or two lose accuracy; four and eight lose none that five seeds could show, which",
    "does not prove that they lose none. Since every trial of the default search draws its strengths of",
    "augmentation from ranges, no two share views, and since most trials are stopped before views come back, the",
    "search gains little. Hence `--frozen-views` is 0 by default: reuse happens by itself only where nothing is",
    "augmented, which is exact but for half precision.",
]


def judge(speed: Rows, differences: Rows) -> tuple[str, bool]:
    """(the ratios in one line, whether all targets are met)."""
    parts, passed = [], True
    for model in dict.fromkeys(row["model"] for row in speed):
        last, head = [row for row in speed if row["model"] == model][-2:]
        for row, least in ((last, LEAST_SPEEDUPS["last stage"]), (head, LEAST_SPEEDUPS["head_only"])):
            ratio = float(row["speedup"])
            passed = passed and ratio >= least
            parts.append(
                f"{model} {row['freeze']} {ratio:.2f}x ({float(row['lowest']):.2f} to {float(row['highest']):.2f}, "
                f"n = {row['n']}, least {least})"
            )
    for row in differences:
        if row["num_views"] == NUM_VIEWS[-1]:
            passed = passed and not row["difference"] + 2 * row["standard_error"] < -MOST_LOST
            parts.append(
                f"{row['model']} {row['freeze']} over {row['num_views']} views {row['difference']:+.3f} top-1 "
                f"(standard error {row['standard_error']:.3f}, n = {row['n']}, least -{MOST_LOST} by two of them)"
            )
    return "; ".join(parts), passed

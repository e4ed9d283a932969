"""Tables of the finalists: their results on fresh seeds, how sure the choice is, whether networks differ on test."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tune_sketch.analysis.run_data import RunData, interval_text, number_of, percent_text, signed_interval_text
from tune_sketch.callbacks.progress import duration_text
from tune_sketch.statistics.comparisons import chances_of_best, holm, mcnemar, measure_optimism
from tune_sketch.statistics.intervals import paired_interval

Rows = list[dict[str, Any]]
METRICS = {"top1": "top-1", "top5": "top-5", "precision": "precision", "recall": "recall", "f1": "F1"}


def tabulate_finalists(run: RunData) -> Rows:
    """One row per finalist: means over its seeds with 95 % intervals, and its value in the search."""
    search_values = {r.number: r.epochs[-1]["val_top1"] for r in run.trials if r.epochs}
    chances = chances_of_finalists(run)
    rows = []
    for number in run.finalists:
        mean, seeds = run.confirm_row(number, "mean"), run.confirm_seeds(number)
        row: dict[str, Any] = {
            "trial": number,
            "is_study": number == 0,
            "is_chosen": number == run.chosen,
            "num_seeds": len(seeds),
            "val_top1_in_search": search_values.get(number),
            "val_top1": mean.get("val_top1") or None,
            "chance_best": chances.get(number),
        }
        for metric in METRICS:
            row[f"test_{metric}"] = mean.get(f"test_{metric}") or None
        row["test_top1_low"], row["test_top1_high"], row["interval"] = interval_of_top1(run, number)
        row["train_seconds"] = sum(float(seed["train_seconds"]) for seed in seeds) / len(seeds)
        rows.append(row)
    return rows


def show_finalists(rows: Rows) -> Rows:
    return [
        {
            "trial": f"{row['trial']}{' (study)' if row['is_study'] else ''}{' *' if row['is_chosen'] else ''}",
            "seeds": row["num_seeds"],
            "validation, in search": percent_text(row["val_top1_in_search"]),
            "validation, fresh seeds": percent_text(row["val_top1"]),
            "chance to be the best": percent_text(row["chance_best"], 0),
            "test top-1": percent_text(row["test_top1"]),
            "95 % interval": interval_text(row["test_top1_low"], row["test_top1_high"]),
            "top-5": percent_text(row["test_top5"]),
            "precision": percent_text(row["test_precision"]),
            "recall": percent_text(row["test_recall"]),
            "F1": percent_text(row["test_f1"]),
            "training": duration_text(row["train_seconds"]),
        }
        for row in rows
    ]


def interval_of_top1(run: RunData, trial: int | None) -> tuple[float | None, float | None, str]:
    """(low, high, kind) of a finalist's test top-1: t over its seeds, or Wilson's when it has only one."""
    seeds = [] if trial is None else run.confirm_seeds(trial)
    if len(seeds) == 1:
        bounds = [number_of(seeds[0][f"test_top1_wilson_{end}"]) for end in ("low", "high")]
        return bounds[0], bounds[1], "Wilson, one training"
    bounds = [run.mean_of(trial, "test_top1", f"interval_{end}") for end in ("low", "high")]
    return bounds[0], bounds[1], "t over seeds"


def chances_of_finalists(run: RunData) -> dict[int, float]:
    """{finalist: chance that it is the best of them on the validation split}; empty where it cannot be known."""
    values = {n: [float(seed["val_top1"]) for seed in run.confirm_seeds(n)] for n in run.finalists}
    return chances_of_best(values) or {}


def tabulate_optimism(run: RunData) -> Rows:
    """Each finalist that the search tried: its value there and on fresh seeds after the same epoch."""
    rows = []
    for place, record in enumerate(run.ranked, start=1):
        epoch = len(record.epochs)
        own = [r for r in run.retrainings if r.number == record.number and len(r.epochs) >= epoch]
        if not own:
            continue
        retrained = [r.epochs[epoch - 1]["val_top1"] for r in own]
        value = record.epochs[-1]["val_top1"]
        row = {"trial": record.number, "place_in_search": place, "epoch": epoch, "val_top1_in_search": value}
        row |= {"val_top1": sum(retrained) / len(retrained), "num_seeds": len(retrained)}
        rows.append(row | measure_optimism(value, retrained))
    return rows


def show_optimism(rows: Rows) -> Rows:
    return [
        {
            "trial": f"{row['trial']}{' (study)' if row['trial'] == 0 else ''}",
            "place in the search": row["place_in_search"],
            "epoch": row["epoch"],
            "in the search": percent_text(row["val_top1_in_search"]),
            "fresh seeds": percent_text(row["val_top1"]),
            "seeds": row["num_seeds"],
            "search too high by (points)": points_text(row["optimism"]),
            "95 % interval": " to ".join(points_text(row[f"optimism_{end}"]) for end in ("low", "high"))
            if row["optimism_low"] is not None
            else "",
        }
        for row in rows
    ]


def points_text(fraction: float) -> str:
    """A difference of fractions in percentage points, with its sign."""
    return f"{100 * fraction:+.1f}"


def tabulate_mcnemar(run: RunData) -> Rows:
    """The chosen network against each other finalist's best one on validation, on the same test drawings."""
    networks = {}
    for number in run.finalists:
        best = max(run.confirm_seeds(number), key=lambda seed: (float(seed["val_top1"]), int(seed["seed_index"])))
        path = run.run.retrained / f"confirm-{number:04d}-{int(best['seed_index']):02d}-test.npz"
        if path.is_file() and run.predictions:
            with np.load(path) as file:
                networks[f"trial {number}"] = file["probabilities"].argmax(axis=1) == run.test_labels
    names = list(networks)
    return compare_pairs(networks, [(names[0], other) for other in names[1:]])


def tabulate_mcnemar_of_runs(runs: Sequence[RunData]) -> Rows:
    """The chosen networks of several runs against each other, where they were tested on the same drawings."""
    networks, drawings = {}, {}
    for run in runs:
        if run.predictions:
            name = f"{run.settings.model} ({run.name})"
            networks[name] = np.array([row["class_1"] == row["true_class"] for row in run.predictions])
            images = [(row["image"], row["true_class"]) for row in run.predictions]
            drawings[name] = (run.search["data"]["fingerprint"], images)
    names = list(networks)
    pairs = [(a, b) for place, a in enumerate(names) for b in names[place + 1 :] if drawings[a] == drawings[b]]
    return compare_pairs(networks, pairs)


def compare_pairs(networks: dict[str, np.ndarray], pairs: Sequence[tuple[str, str]]) -> Rows:
    """One row per pair: what each recognises, and the test."""
    rows: Rows = []
    for first, second in pairs:
        right = networks[first], networks[second]
        row: dict[str, Any] = {"first": first, "second": second, "num_test": len(right[0])}
        row |= {"first_top1": float(right[0].mean()), "second_top1": float(right[1].mean())}
        row |= mcnemar(*right)
        row["gain"] = (row["only_first"] - row["only_second"]) / len(right[0])
        row["gain_low"], row["gain_high"] = paired_interval(row["only_first"], row["only_second"], len(right[0]))
        rows.append(row)
    for row, adjusted in zip(rows, holm([row["p"] for row in rows]), strict=True):
        row["p_holm"] = adjusted
    return rows


def show_mcnemar(rows: Rows) -> Rows:
    return [
        {
            "first": row["first"],
            "second": row["second"],
            "test drawings": row["num_test"],
            "first, top-1": percent_text(row["first_top1"]),
            "second, top-1": percent_text(row["second_top1"]),
            "only the first is right": row["only_first"],
            "only the second is right": row["only_second"],
            "difference (points)": points_text(row["gain"]),
            "95 % interval": signed_interval_text(row["gain_low"], row["gain_high"]),
            "p": p_text(row["p"]),
            "p, Holm": p_text(row["p_holm"]),
        }
        for row in rows
    ]


def p_text(p: float) -> str:
    """A p value for a reader."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"

"""Whether networks differ on the same test drawings: McNemar's test between finalists, and between runs."""

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np

from tune_sketch.analysis.rows import Row, Rows
from tune_sketch.analysis.run_data import RunData, runs_with_result
from tune_sketch.analysis.tables.base import Table
from tune_sketch.analysis.text import p_text, percent_text, points_interval_text, points_text
from tune_sketch.statistics import holm, mcnemar, paired_interval


def tabulate_mcnemar(run: RunData) -> Rows:
    """The chosen network against each other finalist's best one on validation, on the same test drawings."""
    networks = {}
    for finalist in run.finalists if run.predictions else ():
        best = max(finalist.retrainings, key=lambda trial: (trial.epochs[-1].val_top1, trial.key))
        probabilities = run.read_test_probabilities(best.key)
        if probabilities is not None:
            networks[f"trial {finalist.number}"] = probabilities.argmax(axis=1) == run.test_labels
    names = list(networks)
    return compare_pairs(networks, [(names[0], other) for other in names[1:]])


def tabulate_mcnemar_of_runs(runs: Sequence[RunData]) -> Rows:
    """The chosen networks of several runs against each other, where they were tested on the same drawings.

    Those of the best run on validation come first.
    """
    networks, drawings = {}, {}
    for run in runs_with_result(runs):
        if run.predictions:
            name = f"{run.model} ({run.name})"
            networks[name] = np.array([p.predicted_class == p.true_class for p in run.predictions])
            images = [(p.image, p.true_class) for p in run.predictions]
            drawings[name] = (run.facts.data.fingerprint, images)
    names = list(networks)
    pairs = [(a, b) for index, a in enumerate(names) for b in names[index + 1 :] if drawings[a] == drawings[b]]
    return compare_pairs(networks, pairs)


def compare_pairs(networks: dict[str, np.ndarray], pairs: Sequence[tuple[str, str]]) -> Rows:
    """One row per pair: what each recognises, and the test."""
    rows: Rows = []
    for first, second in pairs:
        right = networks[first], networks[second]
        row: Row = {"first": first, "second": second, "num_test": len(right[0])}
        row |= {"first_top1": float(right[0].mean()), "second_top1": float(right[1].mean())}
        row |= asdict(mcnemar(*right))
        row["gain"] = (row["only_first"] - row["only_second"]) / len(right[0])
        row["gain_low"], row["gain_high"] = paired_interval(row["only_first"], row["only_second"], len(right[0]))
        rows.append(row)
    for row, adjusted in zip(rows, holm([row["p"] for row in rows]), strict=True):
        row["p_holm"] = adjusted
    return rows


def show_mcnemar(rows: Rows) -> Rows:
    """The text of the cells."""
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
            "95 % interval": points_interval_text(row["gain_low"], row["gain_high"]),
            "p": p_text(row["p"]),
            "p, Holm": p_text(row["p_holm"]),
        }
        for row in rows
    ]


CAPTION = (
    "McNemar's exact test between two networks, each the best of its seeds on validation: if they were equally good, "
    "each would be the only correct one equally often. It compares these two networks; another seed is another "
    "network. Holm: adjusted for making all tests of this table. Sources: retrained/ and predictions.csv."
)
MCNEMAR = Table(
    "mcnemar",
    "result",
    "Do the networks differ on the test drawings?",
    CAPTION,
    tabulate_mcnemar,
    show_mcnemar,
)
MCNEMAR_OF_RUNS = Table(
    MCNEMAR.name,
    MCNEMAR.section,
    MCNEMAR.title,
    MCNEMAR.caption,
    tabulate_mcnemar_of_runs,
    show_mcnemar,
)

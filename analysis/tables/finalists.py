"""The finalists: their results on fresh seeds, beside what the search saw, and how sure the choice is."""

from tune_sketch.analysis.rows import Row, Rows
from tune_sketch.analysis.run_data import RunData
from tune_sketch.analysis.tables.base import Table
from tune_sketch.analysis.text import interval_text, percent_text, seconds_text
from tune_sketch.retraining.finalists import Finalist
from tune_sketch.statistics import wilson_interval

METRICS = {"top1": "top-1", "top5": "top-5", "precision": "precision", "recall": "recall", "f1": "F1"}


def tabulate_finalists(run: RunData) -> Rows:
    """One row per finalist: means over its seeds with 95 % intervals, and its value in the search."""
    in_search = {trial.number: trial.epochs[-1].val_top1 for trial in run.trials if trial.epochs}
    rows = []
    for finalist in run.finalists:
        row: Row = {
            "trial": finalist.number,
            "mark": finalist.mark,
            "is_baseline": finalist.is_baseline,
            "is_chosen": finalist.is_chosen,
            "is_of_search": finalist.is_of_search,
            "num_seeds": len(finalist.retrainings),
            "least_epochs": min((len(trial.epochs) for trial in finalist.retrainings), default=None),
            "most_epochs": max((len(trial.epochs) for trial in finalist.retrainings), default=None),
            "val_top1_in_search": in_search.get(finalist.number),
            "val_top1": finalist.mean("val_top1"),
            "chance_of_best": finalist.chance_of_best,
        }
        row |= {f"test_{metric}": finalist.mean(f"test_{metric}") for metric in (*METRICS, "balanced_accuracy")}
        row["test_top1_low"], row["test_top1_high"], row["interval"] = interval_of_top1(finalist)
        seconds = [trial.train_seconds for trial in finalist.retrainings]
        rows.append(row | {"train_seconds": sum(seconds) / len(seconds)})
    return rows


def interval_of_top1(finalist: Finalist) -> tuple[float | None, float | None, str]:
    """(low, high, kind) of a finalist's test top-1: t over its seeds, or Wilson's when it has only one."""
    tests = [trial.test for trial in finalist.retrainings if trial.test is not None]
    if len(tests) == 1:
        return *wilson_interval(tests[0].top1, tests[0].num_images), "Wilson, one training"
    return *(finalist.interval("test_top1") or (None, None)), "t over seeds"


def show_finalists(rows: Rows) -> Rows:
    """The text of the cells."""
    return [
        {
            "trial": f"{row['trial']}{row['mark']}",
            "seeds": row["num_seeds"],
            "epochs": epochs_text(row["least_epochs"], row["most_epochs"]),
            "validation, in search": percent_text(row["val_top1_in_search"]),
            "validation, fresh seeds": "none" if row["is_of_search"] else percent_text(row["val_top1"]),
            "chance of being best": percent_text(row["chance_of_best"], 0),
            "test top-1": percent_text(row["test_top1"]),
            "95 % interval": interval_text(row["test_top1_low"], row["test_top1_high"]),
            "top-5": percent_text(row["test_top5"]),
            "balanced accuracy": percent_text(row["test_balanced_accuracy"]),
            "macro F1": percent_text(row["test_f1"]),
            "training": seconds_text(row["train_seconds"]),
        }
        for row in rows
    ]


def epochs_text(least: int | None, most: int | None) -> str:
    """The lengths of a finalist's retrainings, which --total-time may have cut."""
    return "" if least is None else str(most) if least == most else f"{least} to {most}"


FINALISTS = Table(
    "finalists",
    "result",
    "Finalists on fresh seeds",
    "Means over seeds; the test split is read once per retrained network. * chosen on validation. (search): "
    "the search's own network, for want of time, chosen by its value there. Chance of "
    "being best: that no other finalist has a higher mean over all possible seeds on these validation drawings "
    "(a hierarchical normal model with one spread between seeds: Gelman et al. 2013, section 5.4). Finalists without a "
    "chance get fewer seeds. Balanced accuracy is the mean recall of the classes that the test split has; F1 "
    "is the macro mean, as in the paper. Sources: retraining.csv and finalists.csv.",
    tabulate_finalists,
    show_finalists,
)

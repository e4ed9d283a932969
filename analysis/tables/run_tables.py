"""The report's tables: finalists beside the study, parameters, leaderboard, costs, settings; each also a CSV file."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tune_sketch.analysis import paper as study
from tune_sketch.analysis.figures.search import tabulate_leaderboard, tabulate_rungs
from tune_sketch.analysis.run_data import RunData, interval_text, percent_text, short_text
from tune_sketch.analysis.tables import finalists as finalist_tables
from tune_sketch.analysis.tables import networks as network_tables
from tune_sketch.analysis.tables.finalists import METRICS, interval_of_top1
from tune_sketch.callbacks.progress import duration_text
from tune_sketch.statistics.intervals import wilson_interval
from tune_sketch.storage.run_directory import write_csv

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Table:
    """One table: rows for its CSV file (fractions, seconds), and `show`, which makes text of them for the page."""

    name: str  # of its file figures/NAME.csv
    section: str
    title: str
    caption: str
    rows: Callable[[Any], Rows]  # of a RunData, in the chapter over several runs of a list of them
    show: Callable[[Rows], Rows]
    is_long: bool = False  # scrolls in its own box, and can be sorted


@dataclass(frozen=True)
class ShownTable:
    """A table as the page shows it."""

    table: Table
    columns: list[str]
    rows: list[list[str]]
    csv: str

    @property
    def name(self) -> str:
        return self.table.name


def show_leaderboard(rows: Rows) -> Rows:
    shown = []
    for row in rows:
        cells = {}
        for name, value in row.items():
            if name.startswith("top1_at_"):
                cells[f"top-1 at {name.removeprefix('top1_at_')}"] = percent_text(value)
            else:
                cells[name.replace("_", " ")] = short_text(value)
        shown.append(cells)
    return shown


def show_rungs(rows: Rows) -> Rows:
    return [
        {
            "epoch": row["rung"],
            "trials": row["num_trials"],
            "best top-1": percent_text(row["best_val_top1"]),
            "median": percent_text(row["median_val_top1"]),
            "stopped here": row["num_stopped"],
            "best of the stopped": percent_text(row["best_stopped"]),
            "stopped though ahead of the later winner": row.get("num_stopped_ahead_of_winner", ""),
            "stopped within the largest gain seen": row.get("num_stopped_within_reach", ""),
        }
        for row in rows
    ]


def tabulate_costs(run: RunData) -> Rows:
    """Training time and epochs of the search and of the retrainings; images per second."""
    rows = []
    for what, records in (("search", run.trials), ("retraining of finalists", run.retrainings)):
        epochs = [epoch for record in records for epoch in record.epochs]
        if not epochs:
            continue
        seconds = sum(epoch["epoch_seconds"] for epoch in epochs)
        begun = min((record.started_at for record in records if record.started_at), default=None)
        wall = max(epoch["recorded_at"] for epoch in epochs) - begun if begun else None
        rates = sorted(epoch["images_per_second"] for epoch in epochs)
        rows.append(
            {
                "part": what,
                "num_trainings": len(records),
                "num_epochs": len(epochs),
                "worker_seconds": seconds,
                "wall_seconds": wall,
                "images_per_second_median": rates[len(rates) // 2],
                "halved_batches": sum(e["micro_batch"] < r.config["batch_size"] for r in records for e in r.epochs)
                if what == "search"
                else None,
                "epochs_from_store": sum(epoch.get("frozen_views", 0) > 0 for epoch in epochs),
            }
        )
    return rows


def show_costs(rows: Rows) -> Rows:
    return [
        {
            "part": row["part"],
            "trainings": row["num_trainings"],
            "epochs": row["num_epochs"],
            "worker time": duration_text(row["worker_seconds"]),
            "wall clock, pauses included": duration_text(row["wall_seconds"]) if row["wall_seconds"] else "",
            "images/s (median epoch)": f"{row['images_per_second_median']:,.0f}",
            "epochs with a halved batch": short_text(row["halved_batches"]),
            "epochs with frozen layers from the store": str(row["epochs_from_store"]),
        }
        for row in rows
    ]


def tabulate_settings(run: RunData) -> Rows:
    """Every setting of the search, and what its machine was."""
    rows = [{"setting": name, "value": short_value(value)} for name, value in run.search["settings"].items()]
    data = run.search["data"]
    for name in ("num_images", "num_classes", "num_train", "num_validation", "num_test", "fingerprint"):
        rows.append({"setting": f"data: {name.replace('_', ' ')}", "value": short_value(data.get(name))})
    rows.append({"setting": "initial weights", "value": run.search["weights"]["description"]})
    for place, sitting in enumerate(run.search["sittings"], start=1):
        versions = ", ".join(f"{name} {version}" for name, version in sitting["versions"].items())
        host = ", ".join(f"{name} {value}" for name, value in sitting["host"].items())
        rows += [
            {"setting": f"sitting {place}: command", "value": " ".join(sitting["command"])},
            {"setting": f"sitting {place}: time", "value": sitting["time"]},
            {"setting": f"sitting {place}: machine", "value": host},
            {"setting": f"sitting {place}: versions", "value": versions},
            {"setting": f"sitting {place}: git commit", "value": short_value(sitting.get("git_commit"))},
        ]
    return rows


def short_value(value: Any) -> str:
    """A setting for a reader; a long list is cut."""
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value[:20])) + (f" and {len(value) - 20} more" if len(value) > 20 else "")
    return "" if value is None else str(value)


def tabulate_study(runs: Sequence[RunData]) -> Rows:
    """Tables 2 and 3: ours (chosen finalist, mean over seeds) beside the study's."""
    rows = []
    for run in runs:
        if run.chosen is not None and run.finalists:
            mean = run.confirm_row(run.chosen, "mean")
            row: dict[str, Any] = {"model": run.settings.model, "source": f"this project, {run.name}"}
            row |= {metric: float(mean[f"test_{metric}"]) for metric in METRICS if mean.get(f"test_{metric}")}
            row["top1_low"], row["top1_high"], row["interval"] = interval_of_top1(run, run.chosen)
            row |= {"num_test": run.search["data"]["num_test"], "num_seeds": len(run.confirm_seeds(run.chosen))}
            data, num_classes = Path(run.settings.data).name, run.search["data"]["num_classes"]
            row["data"] = f"{data}, {num_classes} classes, {run.settings.image_px} px"
            rows.append(row)
    ours = [row["model"] for row in rows]
    for model, reported in study.RESULTS.items():
        if not ours or model in ours or len(runs) > 1 or ours[0] not in study.RESULTS:
            bounds = wilson_interval(reported["top1"], study.NUM_TEST)
            row = {
                "model": model,
                "source": "the study",
                **reported,
                "top1_low": bounds[0],
                "top1_high": bounds[1],
                "interval": "Wilson, one training",
                "num_test": study.NUM_TEST,
                "num_seeds": 1,
            }
            rows.append(row | {"data": "125 classes, 224 px"})
    return rows


def show_study(rows: Rows) -> Rows:
    shown = []
    for row in rows:
        cells = {"model": row["model"], "source": row["source"]}
        cells |= {title: percent_text(row.get(metric)) for metric, title in METRICS.items()}
        cells["95 % interval of top-1"] = interval_text(row.get("top1_low"), row.get("top1_high"))
        shown.append(cells | {"seeds": row["num_seeds"], "test drawings": row["num_test"], "data": row["data"]})
    return shown


STUDY_TABLE = Table(
    "study",
    "result",
    "Beside the study (its Tables 2 and 3)",
    "Percent. Ours: the chosen finalist, mean over its seeds, with Student's t interval over them (Wilson's of the "
    "drawings when there is one seed); the study's: Wilson. " + " ".join(study.REMARKS) + f" Source: {study.SOURCE}.",
    lambda subject: tabulate_study([subject] if isinstance(subject, RunData) else subject),
    show_study,
)


def show_as_it_is(rows: Rows) -> Rows:
    return rows


MCNEMAR_TABLE = Table(
    "mcnemar",
    "result",
    "Do the networks differ on the test drawings?",
    "McNemar's exact test between two networks, each the best of its seeds on validation: were they equally good, "
    "either would be as often the only one that is right. It speaks of these two networks; another seed is another "
    "network. Holm: adjusted for making all tests of this table. Sources: retrained/ and predictions.csv.",
    finalist_tables.tabulate_mcnemar,
    finalist_tables.show_mcnemar,
)

TABLES = (
    Table(
        "finalists",
        "result",
        "Finalists on fresh seeds",
        "Means over seeds in percent; test split read once per retrained network. * chosen on validation. Chance to be "
        "the best: that no other finalist's mean over all seeds is higher on these validation drawings (normal values "
        "with one spread, no prior knowledge: Gelman et al. 2013, section 3.2). Those with no chance left got fewer "
        "seeds. Source: confirm.csv.",
        finalist_tables.tabulate_finalists,
        finalist_tables.show_finalists,
    ),
    Table(
        "optimism",
        "result",
        "How much luck was in the search's own values",
        "The best of many looks better than it is: validation top-1 in the search, and of fresh seeds after the same "
        "epoch. The interval is Student's t over the seeds. Sources: epochs.csv and confirm_epochs.csv.",
        finalist_tables.tabulate_optimism,
        finalist_tables.show_optimism,
    ),
    MCNEMAR_TABLE,
    Table(
        "parameters",
        "result",
        "Parameters, reconciled (study: Table 1)",
        "Counted in best/weights.pt.",
        network_tables.tabulate_parameters,
        network_tables.show_parameters,
    ),
    Table(
        "votes",
        "look",
        "Several looks at one drawing (the study's future work)",
        "On test drawings, after the choice was made: these numbers chose nothing. Gain against one look on the same "
        "drawings; an interval that holds 0 shows no difference. A large network after a short search is measured on "
        "part of the split.",
        network_tables.tabulate_votes,
        network_tables.show_votes,
    ),
    Table(
        "leaderboard",
        "search",
        "Leaderboard at equal epochs",
        "Validation top-1 in percent at each rung; deeper rungs first, values of different epochs are never compared. "
        "Sources: trials.csv and epochs.csv.",
        tabulate_leaderboard,
        show_leaderboard,
        is_long=True,
    ),
    Table(
        "rung_counts",
        "search",
        "What the rungs did",
        "Whether a stopped trial would have won cannot be known: the last two columns say how many were ahead of the "
        "later winner at the same epoch, and how many could have passed it with the largest gain that any trial made.",
        tabulate_rungs,
        show_rungs,
    ),
    Table(
        "costs",
        "cost",
        "What it cost",
        "Worker time is the sum over all workers. Sources: epochs.csv and confirm_epochs.csv.",
        tabulate_costs,
        show_costs,
    ),
    Table("settings", "settings", "Settings", "Source: search.json.", tabulate_settings, show_as_it_is),
)


def write_table(table: Table, rows: Rows, folder: Path, relative_to: Path) -> ShownTable:
    """Write a table's rows as CSV, and make the text of its cells."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{table.name}.csv"
    write_csv(path, dict.fromkeys(name for row in rows for name in row), rows)
    shown = table.show(rows)
    columns = list(dict.fromkeys(name for row in shown for name in row))
    cells = [["" if row.get(name) is None else str(row[name]) for name in columns] for row in shown]
    return ShownTable(table, columns, cells, path.relative_to(relative_to).as_posix())


def write_tables(
    subject: RunData | Sequence[RunData], folder: Path, relative_to: Path, tables: Sequence[Table] = TABLES
) -> list[ShownTable]:
    """Write each table that has any row."""
    shown = []
    for table in tables:
        rows = table.rows(subject)
        if rows:
            shown.append(write_table(table, rows, folder, relative_to))
    return shown

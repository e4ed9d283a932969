"""Writes what confirming gave: confirm.csv, predictions.csv, best/ and the table on the screen."""

import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from tune_sketch.callbacks.progress import percent
from tune_sketch.config.settings import SearchSettings
from tune_sketch.statistics.comparisons import chances_of_best
from tune_sketch.statistics.intervals import standard_deviation, t_interval, wilson_interval
from tune_sketch.storage.journal import Journal, Record
from tune_sketch.storage.run_directory import (
    CONFIRM_COLUMNS,
    CONFIRM_METRICS,
    RunDirectory,
    read_csv,
    write_csv,
    write_json,
)


def write_results(
    run: RunDirectory,
    search: dict[str, Any],
    settings: SearchSettings,
    journal: Journal,
    chosen: int,
    best_seed: Record,
) -> None:
    """Write confirm.csv, predictions.csv and best/."""
    from tune_sketch.data import open_data
    from tune_sketch.data.splits import read_splits

    write_csv(run.confirm_csv, CONFIRM_COLUMNS, confirm_rows(journal, chosen))
    data = open_data(Path(search["data"]["cache"]))
    test = read_splits(run.splits_csv, data).test
    with np.load(run.retrained / f"{best_seed.key}-test.npz") as file:
        probabilities = file["probabilities"]
    best = np.argsort(-probabilities, axis=1, kind="stable")[:, :5]
    columns = ["image", "true_class"]
    for place_ in range(1, best.shape[1] + 1):
        columns += [f"class_{place_}", f"probability_{place_}"]
    rows = []
    for row, index in enumerate(test):
        cells: dict[str, Any] = {"image": data.names[index], "true_class": data.class_names[data.labels[index]]}
        for place_, label in enumerate(best[row], start=1):
            cells[f"class_{place_}"] = data.class_names[label]
            cells[f"probability_{place_}"] = f"{probabilities[row, label]:.6f}"
        rows.append(cells)
    write_csv(run.predictions_csv, columns, rows)
    run.best.mkdir(exist_ok=True)
    shutil.copyfile(run.retrained / f"{best_seed.key}.pt", run.best / "weights.pt")
    write_json(
        run.best / "model.json",
        {
            "architecture": settings.model,
            "dropout": best_seed.config.get("dropout", 0.0),
            "class_names": data.class_names,
            "image_px": settings.image_px,
            "invert": settings.invert,
            "pretrained": search["weights"]["pretrained"],
            "trial": chosen,
            "retraining": best_seed.key,
            "config": best_seed.config,
            "val_top1": best_seed.epochs[-1]["val_top1"],
            "test": best_seed.test,
            "data": settings.data,
            "data_fingerprint": search["data"]["fingerprint"],
        },
    )


def confirm_rows(journal: Journal, chosen: int) -> list[dict[str, Any]]:
    """Rows of confirm.csv: each retraining, then mean, standard deviation and 95 % t interval of each finalist."""
    rows = []
    records = sorted(journal.retrainings.values(), key=lambda record: record.key)
    for number in sorted({record.number for record in records}):
        common = {"trial": number, "is_study": number == 0, "is_chosen": number == chosen}
        own_rows = []
        for record in (r for r in records if r.number == number):
            row: dict[str, Any] = common | {
                "row": "seed",
                "seed_index": int(record.key.rsplit("-", 1)[1]),
                "seed": record.seed,
                "status": record.status,
                "num_epochs": len(record.epochs),
                "train_seconds": sum(epoch["epoch_seconds"] for epoch in record.epochs),
            }
            if record.status == "completed":
                last = record.epochs[-1]
                row |= {name: last[name] for name in ("val_top1", "val_top5", "val_loss")}
            if record.test is not None:
                row |= {f"test_{name}": value for name, value in record.test.items() if name != "num_images"}
                row["num_test"] = record.test["num_images"]
                low, high = wilson_interval(record.test["top1"], record.test["num_images"])
                row |= {"test_top1_wilson_low": low, "test_top1_wilson_high": high}
            own_rows.append(row)
        rows += own_rows
        for name in ("mean", "standard_deviation", "interval_low", "interval_high"):
            rows.append(common | {"row": name} | summarise(own_rows, name))
    return rows


def summarise(rows: list[dict[str, Any]], statistic: str) -> dict[str, float]:
    """One statistic of every metric over a finalist's seeds; nothing where there are too few."""
    summary = {}
    for metric in CONFIRM_METRICS:
        values = [row[metric] for row in rows if row.get(metric) is not None]
        if statistic == "mean" and values:
            summary[metric] = math.fsum(values) / len(values)
        elif len(values) >= 2 and statistic == "standard_deviation":
            summary[metric] = standard_deviation(values)
        elif len(values) >= 2 and statistic != "mean":
            interval = t_interval(values)
            assert interval is not None
            summary[metric] = interval[0] if statistic == "interval_low" else interval[1]
    return summary


def results_lines(run: RunDirectory) -> list[str]:
    """The finalists' table and the next commands, as printed at the end."""
    rows = read_csv(run.confirm_csv)
    more = "--passes N" if run.read_settings().strategy == "one-factor" else "--num-samples N"
    num_test = next((row["num_test"] for row in rows if row["num_test"]), "0")
    lines = ["", f"finalists on fresh seeds (test: {num_test} drawings, read once; mean and 95 % interval over seeds)"]
    lines.append(
        f"{'trial':<16}{'seeds':>6}{'validation top-1':>18}{'best?':>8}{'test top-1':>26}{'top-5':>9}{'F1':>9}"
    )
    seed_rows = [row for row in rows if row["row"] == "seed" and row["val_top1"]]
    chances = chances_of_best(
        {
            int(trial): [float(row["val_top1"]) for row in seed_rows if row["trial"] == trial]
            for trial in dict.fromkeys(row["trial"] for row in rows)
        }
    )
    for trial in dict.fromkeys(row["trial"] for row in rows):
        own_rows = {row["row"]: row for row in rows if row["trial"] == trial}
        seeds = [row for row in rows if row["trial"] == trial and row["row"] == "seed" and row["val_top1"]]
        name = trial + (" (study)" if own_rows["mean"]["is_study"] == "True" else "")
        name += " *" if own_rows["mean"]["is_chosen"] == "True" else ""
        if not seeds:
            lines.append(f"{name:<16}{'no seed trained to its end':>32}")
            continue
        mean = own_rows["mean"]
        low, high = own_rows["interval_low"]["test_top1"], own_rows["interval_high"]["test_top1"]
        within = [100 * min(1.0, max(0.0, float(bound))) for bound in (low, high) if bound]  # t knows no limits
        spread = f" [{within[0]:.1f}, {within[1]:.1f}]" if within else " [one seed]"
        lines.append(
            f"{name:<16}{len(seeds):>6}{percent(float(mean['val_top1'])):>18}"
            f"{f'{100 * chances[int(trial)]:.0f} %' if chances else '-':>8}"
            f"{percent(float(mean['test_top1'])) + spread:>26}"
            f"{percent(float(mean['test_top5'])):>9}{percent(float(mean['test_f1'])):>9}"
        )
    lines += [
        "* chosen on validation; best?: the chance that no other finalist is better on these validation drawings",
        "",
        f"run directory  {run.path}",
        f"report         {run.report_html}",
        f"compare        tensorboard --logdir {run.tensorboard}",
        f"recognise      python -m tune_sketch.predict {run.path} IMAGE...",
        f"extend         python -m tune_sketch.search --resume {run.path} {more}",
    ]
    return lines

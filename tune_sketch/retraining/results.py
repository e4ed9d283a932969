"""Writes the results of a run: retraining.csv, finalists.csv, predictions.csv, best/ and the table on the screen."""

from pathlib import Path

import numpy as np

from tune_sketch.commands import command_text, tensorboard_text
from tune_sketch.config.plan import flags_to_extend
from tune_sketch.data import open_data
from tune_sketch.data.pixels import measure_lines
from tune_sketch.data.splits import read_splits
from tune_sketch.events import Trial
from tune_sketch.formatting import percent
from tune_sketch.retraining.ensemble import WINNER_COLUMNS, ensemble_members, winner_lines, winner_rows
from tune_sketch.retraining.finalists import Finalist, find_finalists
from tune_sketch.retraining.model_card import CARD, card_text
from tune_sketch.statistics import wilson_interval
from tune_sketch.storage.facts import Facts, read_facts
from tune_sketch.storage.files import Row, write_csv, write_json, write_text
from tune_sketch.storage.history import History
from tune_sketch.storage.probabilities import read_probabilities
from tune_sketch.storage.run_directory import RunDirectory

VALIDATION_METRICS = ("val_top1", "val_top5", "val_loss", "val_balanced_accuracy", "val_f1")
TEST_METRICS = ("top1", "top5", "loss", "precision", "recall", "f1", "balanced_accuracy")
RESULT_METRICS = (*VALIDATION_METRICS, *(f"test_{name}" for name in TEST_METRICS))
RETRAINING_COLUMNS = (
    "trial",
    "seed_index",
    "seed",
    "status",
    "num_epochs",
    *RESULT_METRICS,
    "num_test",
    "temperature",
    "test_top1_wilson_low",
    "test_top1_wilson_high",
    "train_seconds",
    "is_baseline",
    "is_chosen",
)
STATISTICS = ("mean", "standard_deviation", "interval_low", "interval_high")  # of each metric, over a finalist's seeds
FINALIST_COLUMNS = (
    "trial",
    "is_baseline",
    "is_chosen",
    "num_seeds",
    "chance_of_best",
    *(f"{metric}_{statistic}" for metric in RESULT_METRICS for statistic in STATISTICS),
)
NUM_PREDICTIONS = 5  # of each test drawing in predictions.csv


def write_results(run: RunDirectory, facts: Facts, history: History, best: Trial) -> None:
    """Write retraining.csv, finalists.csv, winner.csv, predictions.csv and best/, with the network of `best`."""
    finalists = find_finalists(history)
    write_csv(run.retraining_csv, RETRAINING_COLUMNS, retraining_rows(history, finalists))
    write_csv(run.finalists_csv, FINALIST_COLUMNS, map(finalist_row, finalists))
    write_csv(run.winner_csv, WINNER_COLUMNS, winner_rows(run, facts, history))
    write_predictions(run, facts, best)
    write_best(
        run,
        facts.of(best.network),
        best,
        {t.key: t.test.temperature for t in ensemble_members(history) if t.test is not None},
    )
    write_text(run.best / CARD, card_text(run, facts, history, best))


def retraining_rows(history: History, finalists: list[Finalist]) -> list[Row]:
    """One row for each retraining."""
    chosen = {finalist.number for finalist in finalists if finalist.is_chosen}
    rows = []
    for _, trial in sorted(history.retrainings.items()):
        row: Row = {
            "trial": trial.number,
            "seed_index": trial.seed_index,
            "seed": trial.seed,
            "status": trial.status,
            "num_epochs": len(trial.epochs),
            "train_seconds": trial.train_seconds,
            "is_baseline": trial.is_baseline,
            "is_chosen": trial.number in chosen,
        }
        if trial.status == "completed":
            row |= {name: value for name, value in trial.epochs[-1].metrics.items() if name in VALIDATION_METRICS}
        if trial.test is not None:
            row |= {f"test_{name}": value for name, value in trial.test.metrics.items()}
            low, high = wilson_interval(trial.test.top1, trial.test.num_images)
            row |= {"num_test": trial.test.num_images, "temperature": trial.test.temperature}
            row |= {"test_top1_wilson_low": low, "test_top1_wilson_high": high}
        rows.append(row)
    return rows


def finalist_row(finalist: Finalist) -> Row:
    """A finalist's mean, standard deviation and 95 % t interval of each metric over its seeds."""
    row: Row = {
        "trial": finalist.number,
        "is_baseline": finalist.is_baseline,
        "is_chosen": finalist.is_chosen,
        "num_seeds": len(finalist.retrainings),
        "chance_of_best": finalist.chance_of_best,
    }
    for metric in RESULT_METRICS:
        low, high = finalist.interval(metric) or (None, None)
        values = (finalist.mean(metric), finalist.standard_deviation(metric), low, high)
        row |= {f"{metric}_{name}": value for name, value in zip(STATISTICS, values, strict=True)}
    return row


def write_predictions(run: RunDirectory, facts: Facts, best: Trial) -> None:
    """Write predictions.csv: each test drawing with its five best classes."""
    data = open_data(Path(facts.data.cache))
    test = read_splits(run.splits_csv, data).test
    probabilities = read_probabilities(run.test_probabilities(best.key))
    ranked = np.argsort(-probabilities, axis=1, kind="stable")[:, :NUM_PREDICTIONS]
    columns = ["image", "true_class"]
    for rank in range(1, ranked.shape[1] + 1):
        columns += [f"class_{rank}", f"probability_{rank}"]
    rows = []
    for row, index in enumerate(test):
        cells: Row = {"image": data.names[index], "true_class": data.class_names[data.labels[index]]}
        for rank, label in enumerate(ranked[row], start=1):
            cells[f"class_{rank}"] = data.class_names[label]
            cells[f"probability_{rank}"] = f"{probabilities[row, label]:.6f}"
        rows.append(cells)
    write_csv(run.predictions_csv, columns, rows)


def write_best(run: RunDirectory, facts: Facts, best: Trial, ensemble: dict[str, float]) -> None:
    """Write best/: the weights and what is needed to use them. ensemble: {key: temperature} of the winner's seeds."""
    # torch takes two seconds to import, which the first trial of a search need not wait for.
    from tune_sketch.inference.model import write_weights
    from tune_sketch.trainables.evaluation import input_statistics
    from tune_sketch.trainables.networks.registry import known_architecture
    from tune_sketch.trainables.networks.weights import read_weights

    data = open_data(Path(facts.data.cache))
    train = read_splits(run.splits_csv, data).train
    image_px = facts.settings.image_px
    mean, deviation = input_statistics(known_architecture(facts.settings.model), facts.weights.normalised)
    run.best.mkdir(exist_ok=True)
    write_weights(run.best, read_weights(run.kept_weights(best.key)))
    assert best.test is not None
    write_json(
        run.best / "model.json",
        {
            "architecture": facts.settings.model,
            "dropout": best.config.get("dropout", 0.0),
            "head": best.config.get("head", "plain"),
            "class_names": facts.data.class_names,
            "image_px": image_px,
            "invert": facts.settings.invert,
            "preprocessing": {
                "picture": "framed as the file is, proportions kept, padded with paper to a square",
                "paper_and_ink": [0, 255] if facts.settings.invert else [255, 0],
                "divided_by": 255,
                "mean": mean,
                "standard_deviation": deviation,
                "input": ["N", 3, image_px, image_px],
            },
            "pretrained": facts.weights.normalised,
            "temperature": best.test.temperature,
            **measure_lines(data.images, train, facts.settings.invert),
            "trial": best.number,
            "retraining": best.key,
            "follows": best.follows,
            "trained_on": ["train", "validation"] if best.is_last_step else ["train"],
            "ensemble": ensemble,
            "config": best.config,
            "val_top1": None if best.is_last_step else best.epochs[-1].val_top1,
            "test": {**best.test.metrics, "num_images": best.test.num_images},
            "data": facts.settings.data,
            "data_fingerprint": facts.data.fingerprint,
        },
    )


def results_lines(run: RunDirectory, history: History) -> list[str]:
    """The finalists' table and the next commands, as printed at the end."""
    finalists = find_finalists(history)
    width = max(16, *(len(f"{finalist.number}{finalist.mark}") + 2 for finalist in finalists)) if finalists else 16
    num_test = next((t.test.num_images for f in finalists for t in f.retrainings if t.test is not None), 0)
    lines = ["", f"finalists on fresh seeds (test: {num_test} drawings, read once; mean and 95 % interval over seeds)"]
    lines.append(
        f"{'trial':<{width}}{'seeds':>6}{'validation top-1':>18}{'best?':>8}{'test top-1':>26}{'top-5':>9}"
        f"{'balanced':>10}{'macro F1':>10}"
    )
    lines += [finalist_line(finalist, width) for finalist in finalists]
    more = flags_to_extend(read_facts(run).settings, len(history.trials))
    lines += [
        "* chosen on validation; best?: the chance that no other finalist is better on these validation drawings",
        "balanced: balanced accuracy, the mean over classes of the share of each that is recognised",
        *winner_lines(run, history),
        "",
        f"run directory  {run.path}",
        f"report         {run.report_html}",
        f"compare        {tensorboard_text(run.tensorboard)}",
        f"recognise      {command_text('predict', run.path, more='IMAGE...')}",
        f"extend         {command_text('search', '--resume', run.path, more=more)}",
    ]
    return lines


def finalist_line(finalist: Finalist, width: int = 16) -> str:
    """A finalist's row of the table on the screen. width: of its name."""
    name = f"{finalist.number}{finalist.mark}"
    if not finalist.retrainings:
        return f"{name:<{width}}{'no seed trained to its end':>32}"
    interval = finalist.interval("test_top1")
    within = [100 * min(1.0, max(0.0, bound)) for bound in interval or ()]  # Student's t knows no limits
    spread = f" [{within[0]:.1f}, {within[1]:.1f}]" if within else " [one seed]"
    chance = "-" if finalist.chance_of_best is None else f"{100 * finalist.chance_of_best:.0f} %"
    return (
        f"{name:<{width}}{len(finalist.retrainings):>6}{percent(finalist.mean('val_top1')):>18}{chance:>8}"
        f"{percent(finalist.mean('test_top1')) + spread:>26}"
        f"{percent(finalist.mean('test_top5')):>9}{percent(finalist.mean('test_balanced_accuracy')):>10}"
        f"{percent(finalist.mean('test_f1')):>10}"
    )

"""Measures gains once the winner is known: annealing, soup, ensemble, validation drawings to train on.

    python -m benchmarks.last_step FOLDER [--quick | --now]     what FOLDER holds of trainings is not done again

SqueezeNet 1.1 with ImageNet weights (benchmarks/real_weights.py) on 125 classes of Sketchy split by photo, the recipe,
by the program's own `fit`. The test split is read when all trainings have ended. Accuracy alone is measured, so the
machine may do other things.
"""

import argparse
import math
import os
import statistics
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.machine import describe, result_path, write_result
from benchmarks.real_weights import write_squeezenet
from benchmarks.recipe_parts import SKETCHY
from tune_sketch.search_spaces import SpaceLimits, configuration_of, recipe_configuration
from tune_sketch.statistics import paired_interval, t_interval, wilson_interval
from tune_sketch.storage.files import write_csv

MODEL, IMAGE_PX, NUM_EPOCHS, NUM_SEEDS = "squeezenet1_1", 64, 20, 3
ANNEALED_EPOCHS = NUM_EPOCHS // 2  # the last half, as it was tried with 8 epochs
RECIPE, ANNEALED, TOGETHER = "the recipe", "annealed", "on training and validation drawings"
SOUP, ENSEMBLE = "soup of the recipe's seeds", "ensemble of the recipe's seeds"
COLUMNS = ("what", "seed", "num_networks", "num_epochs", "val_top1", "raw_val_top1", "test_top1", "test_top5")


class Job(NamedTuple):
    """One training."""

    seed: int
    what: str

    def file(self, folder: Path) -> Path:
        return folder / f"{self.what.replace(' ', '_')}-{self.seed}.npz"


class Drawings(NamedTuple):
    """The data set with its division."""

    data: Any
    splits: Any

    @property
    def labels(self) -> np.ndarray:
        return np.asarray(self.data.labels)


def open_drawings() -> Drawings:
    """The drawings as the search's default division has them."""
    from tune_sketch.data import open_data, prepare_data
    from tune_sketch.data.request import DataRequest
    from tune_sketch.data.splits import split_data

    data = open_data(prepare_data(DataRequest(str(SKETCHY), IMAGE_PX)))
    return Drawings(data, split_data(data, protocol="standard", split_by="photo", seed=0))


def recipe() -> dict[str, Any]:
    """The recipe's full configuration."""
    limits = SpaceLimits(NUM_EPOCHS, pretrained=True)
    return configuration_of(MODEL, recipe_configuration(MODEL, limits), limits)


def annealed_rate(rate: float, epoch: int) -> float:
    """A rate that falls to zero along a half cosine over the last epochs; epoch: from 1."""
    done = max(0, epoch - 1 - (NUM_EPOCHS - ANNEALED_EPOCHS)) / ANNEALED_EPOCHS
    return rate * (1 + math.cos(math.pi * done)) / 2


def train(job: Job, folder: Path, weights: str) -> Job:
    """Train one network; keep its weights, its probabilities on validation and test, and its validation top-1."""
    import torch

    from tune_sketch.trainables.averaging import best_weights
    from tune_sketch.trainables.batches import SplitArrays, TrainingSplits
    from tune_sketch.trainables.evaluation import predict_probabilities
    from tune_sketch.trainables.training import fit

    torch.set_num_threads(1)
    data, splits = open_drawings()
    rows = splits.train if job.what != TOGETHER else np.union1d(splits.train, splits.validation)
    arrays = [SplitArrays(data.images, data.labels, indices) for indices in (rows, splits.validation)]
    training = TrainingSplits(*arrays, num_classes=len(data.class_names), invert=True)
    config = recipe()
    rate = config["learning_rate"]
    torch.manual_seed(job.seed)
    model = build(len(data.class_names), weights)
    for metrics, state in fit(model, training, config, seed=job.seed, pretrained=True):
        kept = state["averaged"] if job.what == TOGETHER else best_weights(state)
        if job.what == ANNEALED:
            config["learning_rate"] = annealed_rate(rate, int(metrics["epoch"]) + 1)
    model.load_state_dict(kept)
    values = {
        name: predict_probabilities(model, data.images[indices], device="cpu", invert=True, pretrained=True)
        for name, indices in (("validation", splits.validation), ("test", splits.test))
    }
    of_validation = {} if job.what == TOGETHER else {name: metrics[name] for name in ("val_top1", "raw_val_top1")}
    torch.save(kept, job.file(folder).with_suffix(".pt"))
    np.savez_compressed(job.file(folder), **values, **of_validation)
    return job


def build(num_classes: int, weights: str | None = None) -> Any:
    """The recipe's network."""
    from tune_sketch.trainables.networks.build import build_model

    config = recipe()
    return build_model(
        MODEL,
        num_classes,
        dropout=config["dropout"],
        freeze=config["freeze"],
        head=config["head"],
        weights_path=weights,
    )


def train_all(jobs: list[Job], folder: Path, num_processes: int) -> Iterator[Job]:
    """The trainings, as they end."""
    weights = str(write_squeezenet(folder / "squeezenet1_1.pth"))
    with ProcessPoolExecutor(num_processes, mp_context=get_context("spawn")) as pool:
        for future in as_completed([pool.submit(train, job, folder, weights) for job in jobs]):
            yield future.result()


def mix_soup(jobs: list[Job], folder: Path) -> dict[str, np.ndarray]:
    """The probabilities of one network with the mean of several networks' weights, its batch norm recomputed."""
    import torch

    from tune_sketch.trainables.batch_norm import recompute_batch_norm
    from tune_sketch.trainables.batches import BatchSource, SplitArrays
    from tune_sketch.trainables.evaluation import predict_probabilities
    from tune_sketch.trainables.networks.freezing import set_training_mode
    from tune_sketch.trainables.training import seed_epoch

    data, splits = open_drawings()
    states = [torch.load(job.file(folder).with_suffix(".pt"), weights_only=True) for job in jobs]
    model = build(len(data.class_names))
    model.load_state_dict(
        {
            name: torch.stack([state[name] for state in states]).mean(dim=0) if tensor.is_floating_point() else tensor
            for name, tensor in states[0].items()
        }
    )
    source = BatchSource(SplitArrays(data.images, data.labels, splits.train), torch.device("cpu"))
    set_training_mode(model)
    recompute_batch_norm(model, source, recipe(), seed_epoch(0, 1), True, True, 32)
    return {
        name: predict_probabilities(model, data.images[indices], device="cpu", invert=True, pretrained=True)
        for name, indices in (("validation", splits.validation), ("test", splits.test))
    }


def top(probabilities: np.ndarray, labels: np.ndarray, most: int = 1) -> float:
    """The share of drawings whose class is among the first `most` guesses."""
    best = np.argsort(-probabilities, axis=1, kind="stable")[:, :most]
    return float((best == labels[:, None]).any(axis=1).mean())


def measure(jobs: list[Job], folder: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """(rows, lines of the table) of what the trainings gave, the test split read."""
    drawings = open_drawings()
    of_validation = drawings.labels[drawings.splits.validation]
    of_test = drawings.labels[drawings.splits.test]
    given = {job: dict(np.load(job.file(folder))) for job in jobs}
    rows = []

    def add(what: str, seed: int | str, num_networks: int, values: dict[str, Any], sees_validation: bool) -> None:
        row = {"what": what, "seed": seed, "num_networks": num_networks, "num_epochs": NUM_EPOCHS}
        row |= {} if sees_validation else {"val_top1": top(values["validation"], of_validation)}
        row |= {"raw_val_top1": float(values["raw_val_top1"])} if "raw_val_top1" in values else {}
        row |= {"test_top1": top(values["test"], of_test), "test_top5": top(values["test"], of_test, 5)}
        rows.append(row)

    for job, values in given.items():
        add(job.what, job.seed, 1, values, job.what == TOGETHER)
    of_recipe = [job for job in jobs if job.what == RECIPE]
    together: dict[str, dict[str, Any]] = {}
    if len(of_recipe) > 1:
        together[ENSEMBLE] = {n: np.mean([given[job][n] for job in of_recipe], axis=0) for n in ("validation", "test")}
        together[SOUP] = mix_soup(of_recipe, folder)
        add(ENSEMBLE, "all", len(of_recipe), together[ENSEMBLE], False)
        add(SOUP, "all", 1, together[SOUP], False)
    num_train, num_validation = len(drawings.splits.train), len(of_validation)
    lines = [
        f"{MODEL}, ImageNet weights, {IMAGE_PX} px, the recipe for {NUM_EPOCHS} epochs: {num_train} drawings to train, "
        f"{num_validation} of validation, {len(of_test)} of test, 125 classes, split by photo. Top-1 in percent, mean "
        "over n seeds (lowest to highest). Difference of test top-1 to the recipe in points: Student's t over the same "
        "seeds, or, for one network beside each of the recipe's, the mean difference (Wilson below is the chance of "
        f"the {len(of_test)} drawings alone: {wilson_text(np.mean([r['test_top1'] for r in rows]), len(of_test))}).",
        "",
        "| networks | n | validation | test top-1 | test top-5 | test minus the recipe |",
        "|---|---|---|---|---|---|",
    ]
    base = {row["seed"]: row for row in rows if row["what"] == RECIPE}
    for what in (RECIPE, ANNEALED, TOGETHER, SOUP, ENSEMBLE):
        own = [row for row in rows if row["what"] == what]
        if not own:
            continue
        cells = [cell([row[name] for row in own if name in row]) for name in ("val_top1", "test_top1", "test_top5")]
        lines.append(f"| {what} | {len(own)} | {' | '.join(cells)} | {difference(what, own, base)} |")
    lines += ["", *choices_lines(rows, of_recipe, given, together, of_test)]
    return rows, lines


def choices_lines(
    rows: list[dict[str, Any]],
    of_recipe: list[Job],
    given: dict[Job, dict[str, Any]],
    together: dict[str, dict[str, Any]],
    of_test: np.ndarray,
) -> list[str]:
    """Paired differences that one network has to the recipe's best seed on validation; annealing on validation."""
    best = max(of_recipe, key=lambda job: float(given[job]["val_top1"]))
    plain = given[best]["test"].argmax(axis=1) == of_test
    lines = []
    for name, values in together.items():
        right = values["test"].argmax(axis=1) == of_test
        gained, lost = int((right & ~plain).sum()), int((plain & ~right).sum())
        low, high = paired_interval(gained, lost, len(of_test))
        lines.append(
            f"- {name} minus the recipe's best seed on validation, same test drawings: "
            f"{100 * (gained - lost) / len(of_test):+.1f} points [{100 * low:+.1f}, {100 * high:+.1f}]"
        )
    pairs = {what: {row["seed"]: row["val_top1"] for row in rows if row["what"] == what} for what in (RECIPE, ANNEALED)}
    gains = [100 * (pairs[ANNEALED][seed] - pairs[RECIPE][seed]) for seed in pairs[ANNEALED] if seed in pairs[RECIPE]]
    if gains:
        lines.append(f"- annealed minus the recipe on validation: {points(gains)} points, n = {len(gains)} seeds")
    return lines


def cell(values: list[float]) -> str:
    """A mean in percent with the range."""
    if not values:
        return "none"
    text = f"{100 * statistics.mean(values):.1f}"
    return text if len(values) == 1 else f"{text} ({100 * min(values):.1f} to {100 * max(values):.1f})"


def difference(what: str, own: list[dict[str, Any]], base: dict[Any, dict[str, Any]]) -> str:
    """Test top-1 minus the recipe's, seed by seed, or minus each of its seeds."""
    if what == RECIPE:
        return ""
    if own[0]["seed"] == "all":
        return points([100 * (own[0]["test_top1"] - row["test_top1"]) for row in base.values()], with_interval=False)
    pairs = [(row, base[row["seed"]]) for row in own if row["seed"] in base]
    return points([100 * (row["test_top1"] - other["test_top1"]) for row, other in pairs]) if pairs else ""


def points(values: list[float], with_interval: bool = True) -> str:
    """A mean difference in points with its interval over seeds."""
    between = t_interval(values) if with_interval else None
    return f"{statistics.mean(values):+.1f}" + (f" [{between[0]:+.1f}, {between[1]:+.1f}]" if between else "")


def wilson_text(top1: float, num_images: int) -> str:
    low, high = wilson_interval(float(top1), num_images)
    return f"{100 * low:.1f} to {100 * high:.1f} % around {100 * top1:.1f} %"


def main() -> int:
    """Train what is missing, read the test split, write the table; 1 where the last step is behind the recipe."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where trained networks are kept")
    parser.add_argument("--quick", action="store_true", help="one seed; writes no result file")
    parser.add_argument("--now", action="store_true", help="train nothing more: the table of what FOLDER holds")
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    folder.mkdir(parents=True, exist_ok=True)
    seeds = range(1 if arguments.quick else NUM_SEEDS)
    jobs = [Job(seed, what) for seed in seeds for what in (RECIPE, TOGETHER, ANNEALED)]
    missing = [job for job in jobs if not job.file(folder).exists()]
    for job in [] if arguments.now else train_all(missing, folder, os.cpu_count() or 1):
        print(f"seed {job.seed}: {job.what}", flush=True)
    jobs = [job for job in jobs if job.file(folder).exists()]
    rows, lines = measure(jobs, folder)
    if not arguments.quick:
        write_csv(result_path("last_step", ".csv"), COLUMNS, rows)
        write_result("last_step", "What can still be gained once the winner is known", lines)
    print("\n".join(lines))
    means = {what: statistics.mean(r["test_top1"] for r in rows if r["what"] == what) for what in (RECIPE, TOGETHER)}
    return int(means[TOGETHER] < means[RECIPE])


if __name__ == "__main__":
    print(describe(), flush=True)
    sys.exit(main())

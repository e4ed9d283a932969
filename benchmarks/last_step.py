"""Measures gains once the winner is known: annealing, soup, ensemble, validation drawings to train on.

    python -m benchmarks.last_step FOLDER [--networks baseline] [--data quickdraw] [--quick | --now]

The recipe of SqueezeNet 1.1 with ImageNet weights (benchmarks/real_weights.py) and of `baseline` from scratch, by the
program's own `fit`, on 125 classes of Quick, Draw!, to choose on, and of Sketchy split by photo, to judge. What FOLDER
holds of trainings is not done again. The test split is read when all trainings have ended. Accuracy alone is measured,
so the machine may do other things.

Three ways to go on from the recipe's network, planned before they were measured: on seeds that no choice had seen,
the one with the best mean on Quick, Draw! over both networks is compared with that of before on Sketchy. Then, on
seeds that these had not seen: longer last steps than 8 epochs; the one with the best mean on Quick, Draw! over both
networks replaces 8 epochs if it is ahead of them on Sketchy with its interval above 0.
"""

import argparse
import itertools
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
from benchmarks.recipe_parts import SKETCHY, measured_recipe
from tune_sketch.search_spaces import SpaceLimits, configuration_of
from tune_sketch.statistics import paired_interval, t_interval, wilson_interval
from tune_sketch.storage.files import write_csv

DATA = {"quickdraw": SKETCHY.parent / "quickdraw-344x25-simplified", "sketchy": SKETCHY}
NETWORKS = {"squeezenet1_1": "ImageNet weights", "baseline": "from scratch"}
IMAGE_PX, NUM_EPOCHS, NUM_SEEDS, NUM_CLASSES = 64, 20, 3, 125
ANNEALED_EPOCHS = NUM_EPOCHS // 2  # the last half, as it was tried with 8 epochs
RECIPE, ANNEALED, TOGETHER = "the recipe", "annealed", "new weights, on training and validation drawings"
SOUP, ENSEMBLE = "soup of the recipe's seeds", "ensemble of the recipe's seeds"
MORE_EPOCHS = (2, 4, 8)  # of a training that goes on: a tenth, a fifth, two fifths
LONGER_EPOCHS = (12, 16, 20)  # up to as long again
LABELS = {"quickdraw": "Quick, Draw!, to choose on", "sketchy": "Sketchy, by photo, to judge"}
LAST_STEP = {num_epochs: f"last step of {num_epochs} epochs" for num_epochs in (*MORE_EPOCHS, *LONGER_EPOCHS)}
FALLING = {max(MORE_EPOCHS): f"{max(MORE_EPOCHS)} epochs from its state, annealed"}
WEIGHTS_ALONE = {num_epochs: f"{num_epochs} epochs from its weights alone, annealed" for num_epochs in MORE_EPOCHS}
MORE = {what: num for names in (LAST_STEP, FALLING, WEIGHTS_ALONE) for num, what in names.items()}
SEEDS_OF_THE_PLAN = range(NUM_SEEDS, NUM_SEEDS + 4)  # for the three ways to go on alone
SEEDS_OF_THE_LENGTHS = range(SEEDS_OF_THE_PLAN.stop, SEEDS_OF_THE_PLAN.stop + 3)  # for longer last steps alone
WAYS = (WEIGHTS_ALONE[max(MORE_EPOCHS)], LAST_STEP[max(MORE_EPOCHS)], *FALLING.values())
COLUMNS = (
    *("network", "data", "what", "seed", "num_networks", "num_epochs"),
    *("val_top1", "raw_val_top1", "test_top1", "test_top5"),
)


class Job(NamedTuple):
    """One network."""

    network: str
    data: str
    seed: int
    what: str

    @property
    def is_pretrained(self) -> bool:
        return self.network != "baseline"

    def file(self, folder: Path) -> Path:
        return folder / f"{self.network}-{self.data}-{self.what.replace(' ', '_')}-{self.seed}.npz"


class Drawings(NamedTuple):
    """A data set with its division."""

    data: Any
    splits: Any

    @property
    def labels(self) -> np.ndarray:
        return np.asarray(self.data.labels)


def open_drawings(name: str) -> Drawings:
    """The drawings as the search's default division has them: of photos, or drawing by drawing."""
    from tune_sketch.data import open_data, prepare_data
    from tune_sketch.data.request import DataRequest
    from tune_sketch.data.splits import split_data

    classes = None
    if name == "quickdraw":
        names = sorted(path.stem for path in DATA[name].glob("*.ndjson"))
        classes = tuple(names[:: len(names) // NUM_CLASSES][:NUM_CLASSES])
    data = open_data(prepare_data(DataRequest(str(DATA[name]), IMAGE_PX, classes=classes)))
    protocol = "standard" if name == "sketchy" else "small"
    return Drawings(data, split_data(data, protocol=protocol, split_by="photo", seed=0))


def recipe(job: Job) -> dict[str, Any]:
    """The recipe's full configuration; of loaded weights as it was for the table's first networks."""
    limits = SpaceLimits(NUM_EPOCHS, pretrained=job.is_pretrained)
    return configuration_of(job.network, measured_recipe(job.network, limits), limits)


def train(job: Job, folder: Path, weights: str) -> Job:
    """Train one network, and the recipe's for more epochs; keep weights, probabilities and validation top-1."""
    import torch

    torch.set_num_threads(1)
    own, both = arrays_of(job.data)
    config = recipe(job)
    torch.manual_seed(job.seed)
    model = build(job, own.num_classes, weights if job.is_pretrained else None)
    training = own if job.what in (RECIPE, ANNEALED) else both
    if job.what in WEIGHTS_ALONE.values():
        model.load_state_dict(torch.load(job._replace(what=RECIPE).file(folder).with_suffix(".pt"), weights_only=True))
        config |= {"epochs": MORE[job.what]}
    num_annealed = {ANNEALED: ANNEALED_EPOCHS}.get(job.what, MORE.get(job.what, 0))
    for metrics, state in annealed_fit(model, training, config, job, num_annealed):
        if metrics["epoch"] == config["epochs"]:
            keep(job, folder, model, metrics, state)
    if job.what != RECIPE:
        return job
    begun = state | {"epoch": 0, "frozen": None}  # of other drawings: its epochs are counted anew
    ways = [LAST_STEP] if job.seed in SEEDS_OF_THE_LENGTHS else [{n: LAST_STEP[n] for n in MORE_EPOCHS}, FALLING]
    for names in ways:
        longer = config | {"epochs": max(names)}
        other = job._replace(seed=job.seed + 1000)  # its epochs are not those of the training before it
        num_annealed = max(names) if names is FALLING else 0
        for metrics, after in annealed_fit(model, both, longer, other, num_annealed, begun):
            what = names.get(int(metrics["epoch"]))
            if what is not None:
                keep(job._replace(what=what), folder, model, metrics, after)
    return job


def annealed_fit(
    model: Any, splits: Any, config: dict[str, Any], job: Job, num_annealed: int, state: dict[str, Any] | None = None
) -> Iterator[tuple[dict[str, float], dict[str, Any]]]:
    """The epochs of `fit`, the rate falling to zero along half a cosine over the last `num_annealed` of them."""
    from tune_sketch.trainables.training import fit

    changing = dict(config)

    def set_rate(epoch: int) -> None:  # of the epochs counted from 1
        done = max(0, epoch - 1 - (config["epochs"] - num_annealed)) / max(1, num_annealed)
        changing["learning_rate"] = config["learning_rate"] * (1 + math.cos(math.pi * done)) / 2

    set_rate(1)
    for metrics, after in fit(model, splits, changing, seed=job.seed, pretrained=job.is_pretrained, state=state):
        set_rate(int(metrics["epoch"]) + 1)
        yield metrics, after


def arrays_of(name: str) -> tuple[Any, Any]:
    """The training drawings, and these with the validation drawings."""
    from tune_sketch.trainables.batches import SplitArrays, TrainingSplits

    data, splits = open_drawings(name)
    validation = SplitArrays(data.images, data.labels, splits.validation)
    trained = [
        SplitArrays(data.images, data.labels, indices)
        for indices in (splits.train, np.union1d(splits.train, splits.validation))
    ]
    own, both = (TrainingSplits(train, validation, num_classes=len(data.class_names), invert=True) for train in trained)
    return own, both


def keep(job: Job, folder: Path, trained: Any, metrics: dict[str, float], state: dict[str, Any]) -> None:
    """Write what a network answers after an epoch, and its weights.

    Averaged ones where it has seen the validation drawings; else those that were better on them.
    """
    import copy

    import torch

    from tune_sketch.trainables.averaging import best_weights
    from tune_sketch.trainables.evaluation import predict_probabilities

    kept = state["averaged"] if sees_validation(job.what) else best_weights(state)
    model = copy.deepcopy(trained)  # the other goes on
    model.load_state_dict(kept)
    drawings = open_drawings(job.data)
    values = {
        name: predict_probabilities(
            model, drawings.data.images[indices], device="cpu", invert=True, pretrained=job.is_pretrained
        )
        for name, indices in (("validation", drawings.splits.validation), ("test", drawings.splits.test))
    }
    if not sees_validation(job.what):
        values |= {name: metrics[name] for name in ("val_top1", "raw_val_top1")}
    torch.save(kept, job.file(folder).with_suffix(".pt"))
    np.savez_compressed(job.file(folder), **values)


def sees_validation(what: str) -> bool:
    """Whether a network was trained on the validation drawings, which then say nothing about it."""
    return what == TOGETHER or what in MORE


def build(job: Job, num_classes: int, weights: str | None = None) -> Any:
    """The recipe's network."""
    from tune_sketch.trainables.networks.build import build_model

    config = recipe(job)
    return build_model(
        job.network,
        num_classes,
        dropout=config["dropout"],
        freeze=config["freeze"],
        head=config["head"],
        weights_path=weights,
    )


def train_all(jobs: list[Job], folder: Path, num_processes: int) -> Iterator[Job]:
    """The trainings, as they end: first those that others go on from."""
    weights = str(write_squeezenet(folder / "squeezenet1_1.pth"))
    with ProcessPoolExecutor(num_processes, mp_context=get_context("spawn")) as pool:
        for is_last in (False, True):
            own = [job for job in jobs if (job.what in WEIGHTS_ALONE.values()) == is_last]
            for future in as_completed([pool.submit(train, job, folder, weights) for job in own]):
                yield future.result()


def mix_soup(jobs: list[Job], folder: Path) -> dict[str, np.ndarray]:
    """The probabilities of one network with the mean of several networks' weights, its batch norm recomputed."""
    import torch

    from tune_sketch.trainables.batch_norm import recompute_batch_norm
    from tune_sketch.trainables.batches import BatchSource, SplitArrays
    from tune_sketch.trainables.evaluation import predict_probabilities
    from tune_sketch.trainables.networks.freezing import set_training_mode
    from tune_sketch.trainables.training import seed_epoch

    data, splits = open_drawings(jobs[0].data)
    states = [torch.load(job.file(folder).with_suffix(".pt"), weights_only=True) for job in jobs]
    model = build(jobs[0], len(data.class_names))
    model.load_state_dict(
        {
            name: torch.stack([state[name] for state in states]).mean(dim=0) if tensor.is_floating_point() else tensor
            for name, tensor in states[0].items()
        }
    )
    source = BatchSource(SplitArrays(data.images, data.labels, splits.train), torch.device("cpu"))
    set_training_mode(model)
    recompute_batch_norm(model, source, recipe(jobs[0]), seed_epoch(0, 1), True, jobs[0].is_pretrained, 32)
    return {
        name: predict_probabilities(
            model, data.images[indices], device="cpu", invert=True, pretrained=jobs[0].is_pretrained
        )
        for name, indices in (("validation", splits.validation), ("test", splits.test))
    }


def top(probabilities: np.ndarray, labels: np.ndarray, most: int = 1) -> float:
    """The share of drawings whose class is among the first `most` guesses."""
    best = np.argsort(-probabilities, axis=1, kind="stable")[:, :most]
    return float((best == labels[:, None]).any(axis=1).mean())


def measure(jobs: list[Job], folder: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """(rows, lines of the table) of what the trainings gave, the test split read."""
    drawings = open_drawings(jobs[0].data)
    of_validation = drawings.labels[drawings.splits.validation]
    of_test = drawings.labels[drawings.splits.test]
    network, name = jobs[0].network, jobs[0].data
    given = {job: dict(np.load(job.file(folder))) for job in jobs}
    rows = []

    def add(what: str, seed: int | str, num_networks: int, values: dict[str, Any]) -> None:
        more = MORE.get(what, 0)
        row = {"network": network, "data": name, "what": what, "seed": seed, "num_networks": num_networks}
        row |= {"num_epochs": NUM_EPOCHS + more}
        row |= {} if sees_validation(what) else {"val_top1": top(values["validation"], of_validation)}
        row |= {"raw_val_top1": float(values["raw_val_top1"])} if "raw_val_top1" in values else {}
        row |= {"test_top1": top(values["test"], of_test), "test_top5": top(values["test"], of_test, 5)}
        rows.append(row)

    for job, values in given.items():
        add(job.what, job.seed, 1, values)
    of_recipe = [job for job in jobs if job.what == RECIPE and job.seed < NUM_SEEDS]
    together: dict[str, dict[str, Any]] = {}
    if len(of_recipe) > 1:
        together[ENSEMBLE] = {n: np.mean([given[job][n] for job in of_recipe], axis=0) for n in ("validation", "test")}
        together[SOUP] = mix_soup(of_recipe, folder)
        add(ENSEMBLE, "all", len(of_recipe), together[ENSEMBLE])
        add(SOUP, "all", 1, together[SOUP])
    num_train, num_validation = len(drawings.splits.train), len(of_validation)
    lines = [
        f"## {network}, {NETWORKS[network]}: {LABELS[name]}",
        "",
        f"{num_train} drawings to train, {num_validation} of validation, {len(of_test)} of test. The chance of these "
        f"alone, by Wilson: {wilson_text(np.mean([r['test_top1'] for r in rows]), len(of_test))}.",
        "",
        "| networks | n | validation | test top-1 | test top-5 | test minus the recipe |",
        "|---|---|---|---|---|---|",
    ]
    base = {row["seed"]: row for row in rows if row["what"] == RECIPE}
    for what in (RECIPE, ANNEALED, TOGETHER, *MORE, SOUP, ENSEMBLE):
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


def paired_lines(rows: list[dict[str, Any]], seeds: range, base: str, others: dict[str, str]) -> list[str]:
    """Test top-1 minus that of `base` on some seeds, over all networks. others: what is beside it, by its title."""
    lines = [
        "| data | networks and seeds | " + " | ".join(others) + " |",
        "|---|---|" + "---|" * len(others),
    ]
    for data in DATA:
        own = {
            (row["network"], row["seed"], row["what"]): row["test_top1"]
            for row in rows
            if row["data"] == data and row["seed"] in seeds
        }
        pairs = [key[:2] for key in own if key[2] == base]
        gains = [[100 * (own[*pair, what] - own[*pair, base]) for pair in pairs] for what in others.values()]
        if pairs:
            lines.append(f"| {LABELS[data]} | {len(pairs)} | {' | '.join(map(points, gains))} |")
    return lines


def plan_lines(rows: list[dict[str, Any]]) -> list[str]:
    """The two planned comparisons: ways to go on, and longer last steps."""
    base, *others = WAYS
    lengths = {"0 epochs": RECIPE, **{f"{num} epochs": what for num, what in LAST_STEP.items()}}
    return [
        "## Three ways to go on, on seeds that no choice had seen",
        "",
        "Test top-1 minus that of the first in points, Student's t over pairs of the same network and seed.",
        "",
        *paired_lines(rows, SEEDS_OF_THE_PLAN, base, {what: what for what in others}),
        "",
        "## Longer last steps, on seeds that no choice had seen",
        "",
        f"Test top-1 minus that after {max(MORE_EPOCHS)} epochs more, in points, Student's t over pairs of the same "
        "network and seed. After 0 epochs: the recipe.",
        "",
        *paired_lines(rows, SEEDS_OF_THE_LENGTHS, LAST_STEP[max(MORE_EPOCHS)], lengths),
    ]


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
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=NETWORKS, metavar="NETWORK")
    parser.add_argument("--data", nargs="+", default=list(DATA), choices=DATA, metavar="DATA", help=", ".join(DATA))
    parser.add_argument("--quick", action="store_true", help="one seed; writes no result file")
    parser.add_argument("--now", action="store_true", help="train nothing more: the table of what FOLDER holds")
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    folder.mkdir(parents=True, exist_ok=True)
    seeds = range(1 if arguments.quick else NUM_SEEDS)
    kinds = (RECIPE, TOGETHER, ANNEALED, *WEIGHTS_ALONE.values())
    pairs = [(network, name) for network in arguments.networks for name in arguments.data]
    missing = [Job(*pair, seed, what) for pair in pairs for seed in seeds for what in kinds]
    planned = () if arguments.quick else (*SEEDS_OF_THE_PLAN, *SEEDS_OF_THE_LENGTHS)
    missing += [Job(*pair, seed, RECIPE) for seed in planned for pair in pairs]
    missing += [Job(*pair, seed, WAYS[0]) for seed in planned if seed in SEEDS_OF_THE_PLAN for pair in pairs]
    missing = [job for job in missing if not job.file(folder).exists()]
    for job in [] if arguments.now else train_all(missing, folder, os.cpu_count() or 1):
        print(f"{job.network}, {job.data}, seed {job.seed}: {job.what}", flush=True)
    rows: list[dict[str, Any]] = []
    lines = [
        f"{IMAGE_PX} px, {NUM_CLASSES} classes, the recipe for {NUM_EPOCHS} epochs. A last step goes on from its whole "
        "state, optimizer and averaged weights included, on training and validation drawings together. Beside it, on "
        "the same drawings: the rate falling to zero along half a cosine (annealed), from that state and from the "
        "weights alone, with a new optimizer (those of this table at every step, by the `fit` of 95ad1ba3e4; now at "
        "every epoch). Top-1 in percent, mean over n seeds (lowest to highest). Difference of test top-1 to the recipe "
        "in points: Student's t over the same seeds; of one network beside each of the recipe's, the mean.",
    ]
    for network, name in itertools.product(NETWORKS, DATA):
        kinds = (RECIPE, TOGETHER, ANNEALED, *MORE)
        jobs = [Job(network, name, seed, what) for seed in (*seeds, *planned) for what in kinds]
        jobs = [job for job in jobs if job.file(folder).exists()]
        if jobs:
            own_rows, own_lines = measure(jobs, folder)
            rows, lines = rows + own_rows, [*lines, "", *own_lines]
    if not arguments.quick:
        lines += ["", *plan_lines(rows)]
        write_csv(result_path("last_step", ".csv"), COLUMNS, rows)
        write_result("last_step", "What can still be gained once the winner is known", lines)
    print("\n".join(lines))
    ends = (RECIPE, LAST_STEP[max(MORE_EPOCHS)])
    means = {what: statistics.mean(r["test_top1"] for r in rows if r["what"] == what) for what in ends}
    return int(means[ends[1]] < means[ends[0]])


if __name__ == "__main__":
    print(describe(), flush=True)
    sys.exit(main())

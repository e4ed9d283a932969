"""Measures each part of today's recipe: validation top-1 on real drawings with it and without it, over seeds.

    python -m benchmarks.recipe_parts [--quick]     resumes: trainings that are in the CSV are not done again

SqueezeNet 1.1 with ImageNet weights (benchmarks/real_weights.py), and `baseline` from scratch, on 125 classes of
Sketchy split by photo, by the program's own `fit`. Accuracy alone is measured, so the machine may do other things.
"""

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.machine import describe, read_rows, result_path, write_result
from benchmarks.real_weights import write_squeezenet
from tune_sketch.search_spaces import SpaceLimits, configuration_of, paper_configuration, recipe_configuration
from tune_sketch.statistics import t_interval
from tune_sketch.storage.files import write_csv

SKETCHY = Path(__file__).parents[2] / "shared" / "data" / "sketchy-125x25"
LONGER = "squeezenet1_1, 40 classes"  # few and small, so that there is time for the epochs that strong changes need
WHOLE = "squeezenet1_1, 50 epochs"  # as a search trains, until the training drawings are known by heart
PAPER, RECIPE = "the paper's", "the recipe"
MEASURED = {"freeze": "none", "layer_rate_factor": 0.1}  # what the recipe of these tables had, until recipe_depth.py
DARK = "recipe with dark ink on light paper"
# What of the recipe is changed. Without rates by depth the one rate is that which is good for loaded weights.
CHANGES: dict[str, dict[str, dict[str, Any]]] = {
    "squeezenet1_1": {
        PAPER: {},
        RECIPE: {},
        "recipe with a plain head": {"head": "plain"},
        "recipe with one rate, 3e-4": {"layer_rate_factor": 1.0, "learning_rate": 3e-4},
        "recipe without warm-up": {"warmup_steps": 0},
    },
    LONGER: {
        RECIPE: {},
        "recipe with batches of 16": {"batch_size": 16},
        DARK: {},
    },
    WHOLE: {RECIPE: {}},
    "baseline": {
        PAPER: {},
        RECIPE: {},
        "recipe with a plain head": {"head": "plain"},
        "recipe without warm-up": {"warmup_steps": 0},
    },
}
# What did not gain and was not built in: its rows are kept. "mixup": another drawing's share is uniform from 0 to 1/4;
# over 50 epochs the smaller part of a Beta(0.2, 0.2), as of Zhang et al. 2018 (arXiv 1710.09412), for each drawing.
# "strokes": lines bent by up to 4 % of the side, up to a fifth of an 8 x 8 grid's cells erased, the pen's width by 0.4.
NOT_BUILT_IN = {
    LONGER: ("recipe with mixup", "recipe with strokes bent, erased, widened"),
    WHOLE: ("recipe with mixup",),
}
ABOUT = (
    "Same split, network and first weights in a row; n seeds, of which the order of drawings, their changes and the "
    "head's first weights depend. An interval is Student's t over the seeds; without one there is one seed, and a "
    "difference of less than some three points (a validation split of 666 drawings; some five with 40 classes, of 221) "
    "says nothing. The recipe of these tables trains loaded weights at every layer, the first ones at a tenth of the "
    "head's rate. What is not built in was measured by code that was not kept. Rows are of several machines: the "
    "line above names the last."
)
COLUMNS = ("model", "what", "seed", "epoch", "val_top1", "raw_val_top1", "train_loss")


class Training(NamedTuple):
    """The values that all lines of one table share."""

    network: str
    image_px: int
    num_epochs: int
    shown: tuple[int, ...]  # the epochs of the table's columns
    num_seeds: int = 3
    num_classes: int | None = None  # the first ones; None: all
    num_last: int = 1  # epochs at the end whose mean is compared: more where few drawings validate


TRAININGS = {
    "squeezenet1_1": Training("squeezenet1_1", 64, 8, (1, 2, 4, 8), num_seeds=6),
    LONGER: Training("squeezenet1_1", 48, 16, (2, 4, 8, 12, 16), num_seeds=6, num_classes=40, num_last=4),
    WHOLE: Training("squeezenet1_1", 128, 50, (3, 9, 27, 50), num_seeds=1, num_last=5),
    "baseline": Training("baseline", 64, 24, (1, 3, 8, 24)),
}


class Job(NamedTuple):
    """One training of the table; `model` is the name of its table."""

    seed: int
    model: str
    what: str


def list_jobs(model: str, num_seeds: int) -> list[Job]:
    """Every training of one table, seed by seed, so that any beginning of them is a table."""
    return [Job(seed, model, what) for seed in range(num_seeds) for what in CHANGES[model]]


def configure(job: Job) -> dict[str, Any]:
    """The full configuration of a training."""
    training = TRAININGS[job.model]
    network, limits = training.network, SpaceLimits(training.num_epochs, training.network == "squeezenet1_1")
    choose = paper_configuration if job.what == PAPER else measured_recipe
    return configuration_of(network, choose(network, limits), limits) | CHANGES[job.model][job.what]


def measured_recipe(network: str, limits: SpaceLimits) -> dict[str, Any]:
    """The recipe as sampled parameters; of loaded weights as it was when a table's first rows were measured."""
    recipe = recipe_configuration(network, limits)
    return recipe | MEASURED if limits.pretrained else recipe


def train(job: Job, weights: str) -> list[dict[str, Any]]:
    """The rows of one training's epochs."""
    import torch

    from tune_sketch.data import open_data, prepare_data
    from tune_sketch.data.request import DataRequest
    from tune_sketch.data.splits import split_data
    from tune_sketch.trainables.batches import SplitArrays, TrainingSplits
    from tune_sketch.trainables.networks.build import build_model
    from tune_sketch.trainables.training import fit

    torch.set_num_threads(1)
    training = TRAININGS[job.model]
    pretrained, invert = training.network == "squeezenet1_1", job.what != DARK
    request = DataRequest(str(SKETCHY), training.image_px, classes=training.num_classes, invert=invert)
    data = open_data(prepare_data(request))
    splits = split_data(data, protocol="standard", split_by="photo", seed=0)
    arrays = [SplitArrays(data.images, data.labels, rows) for rows in (splits.train, splits.validation)]
    config = configure(job)
    torch.manual_seed(job.seed)
    model = build_model(
        training.network,
        len(data.class_names),
        dropout=config["dropout"],
        freeze=config["freeze"],
        head=config["head"],
        weights_path=weights if pretrained else None,
    )
    drawings = TrainingSplits(*arrays, num_classes=len(data.class_names), invert=invert)
    return [
        {"model": job.model, "what": job.what, "seed": job.seed} | {name: metrics[name] for name in COLUMNS[3:]}
        for metrics, _ in fit(model, drawings, config, seed=job.seed, pretrained=pretrained)
    ]


def train_all(jobs: list[Job], num_processes: int) -> Iterator[list[dict[str, Any]]]:
    """The rows of each training, as they end."""
    with tempfile.TemporaryDirectory() as folder:
        weights = str(write_squeezenet(Path(folder) / "squeezenet1_1.pth"))
        with ProcessPoolExecutor(num_processes, mp_context=get_context("spawn")) as pool:
            futures = [pool.submit(train, job, weights) for job in jobs]
            for future in as_completed(futures):
                yield future.result()


def tables(rows: list[dict[str, Any]]) -> list[str]:
    """A table for each model of which the recipe was measured."""
    lines = [ABOUT]
    for model in TRAININGS:
        if RECIPE in {row["what"] for row in rows if row["model"] == model}:
            lines += ["", *table(rows, model)]
    return lines


def table(rows: list[dict[str, Any]], model: str) -> list[str]:
    """A line for each training of a model, and one for the recipe's weights without averaging."""
    image_px, shown, num_last = TRAININGS[model].image_px, TRAININGS[model].shown, TRAININGS[model].num_last
    last = range(shown[-1] - num_last + 1, shown[-1] + 1)
    against = "minus the recipe" + (f" over the last {num_last} epochs" if num_last > 1 else "")
    values = {(r["what"], int(r["epoch"]), int(r["seed"])): float(r["val_top1"]) for r in rows if r["model"] == model}
    raw = "recipe without averaging"
    values |= {
        (raw, int(r["epoch"]), int(r["seed"])): float(r["raw_val_top1"])
        for r in rows
        if r["model"] == model and r["what"] == RECIPE
    }
    names = [
        name
        for name in (*CHANGES[model], *NOT_BUILT_IN.get(model, ()), raw)
        if any(what == name for what, *_ in values)
    ]
    lines = [
        f"{model}, {image_px} px: validation top-1 in percent, mean over seeds (lowest to highest at the last epoch)",
        "",
        f"| training | n | {' | '.join(f'epoch {epoch}' for epoch in shown)} | {against}, points [95 %] |",
        "|---|---|" + "---|" * (len(shown) + 1),
    ]
    for name in names:
        seeds = sorted(seed for what, epoch, seed in values if (what, epoch) == (name, shown[-1]))
        cells = [[100 * values[name, epoch, seed] for seed in seeds] for epoch in shown]
        texts = [f"{statistics.mean(cell):.1f}" for cell in cells]
        texts[-1] += f" ({min(cells[-1]):.1f} to {max(cells[-1]):.1f})"
        pairs = [s for s in seeds if (RECIPE, shown[-1], s) in values]
        differences = [100 * statistics.mean(values[name, e, s] - values[RECIPE, e, s] for e in last) for s in pairs]
        text = f"{name} (not built in)" if name in NOT_BUILT_IN.get(model, ()) else name
        lines.append(f"| {text} | {len(seeds)} | {' | '.join(texts)} | {difference_text(name, differences)} |")
    return lines


def difference_text(name: str, differences: list[float]) -> str:
    """A mean difference with its interval over seeds."""
    if name == RECIPE or not differences:
        return ""
    low_high = t_interval(differences)
    between = "" if low_high is None else f" [{low_high[0]:+.1f}, {low_high[1]:+.1f}]"
    return f"{statistics.mean(differences):+.1f}{between}"


def main() -> int:
    """Train what is missing, write the table; 1 where the recipe is not ahead of the paper's training."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one seed of `baseline` alone; writes no result file")
    parser.add_argument("--report", action="store_true", help="train nothing, write the table of what is there")
    parser.add_argument("--only", nargs="+", choices=TRAININGS, default=list(TRAININGS), help="train for these tables")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="trainings at once")
    given = parser.parse_args()
    quick = given.quick
    path = result_path("recipe_parts", ".csv")
    rows = [] if quick else read_rows(path)
    done = {Job(int(row["seed"]), row["model"], row["what"]) for row in rows}
    wanted = (
        list_jobs("baseline", 1) if quick else [j for m in given.only for j in list_jobs(m, TRAININGS[m].num_seeds)]
    )
    jobs = [] if given.report else [job for job in wanted if job not in done]
    for more in train_all(jobs, given.processes) if jobs else ():
        rows += more
        print({name: more[-1][name] for name in ("model", "what", "seed", "val_top1")}, flush=True)
        if not quick:  # what is there can be read at any time
            write(path, rows)
    if not quick:
        write(path, rows)
    print("\n".join(tables(rows)))
    return int(not is_ahead(rows))


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    """The rows, and the table of them beside."""
    write_csv(path, COLUMNS, rows)
    write_result("recipe_parts", "What each part of the recipe is worth", tables(rows))


def is_ahead(rows: list[dict[str, Any]]) -> bool:
    """Whether the recipe ends above the paper's training with each model, in the mean over seeds."""
    means: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        if int(row["epoch"]) == TRAININGS[row["model"]].num_epochs:
            means.setdefault((row["model"], row["what"]), []).append(float(row["val_top1"]))
    models = [model for model, what in means if what == RECIPE and (model, PAPER) in means]
    return all(statistics.mean(means[m, RECIPE]) > statistics.mean(means[m, PAPER]) for m in models)


if __name__ == "__main__":
    print(describe(), flush=True)
    sys.exit(main())

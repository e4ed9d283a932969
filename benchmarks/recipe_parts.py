"""What each part of today's recipe is worth: validation top-1 on real drawings with it and without it, over seeds.

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
NUM_SEEDS = 3
# model -> (side in px, epochs, the epochs that the table shows)
TRAININGS = {"squeezenet1_1": (64, 8, (1, 2, 4, 8)), "baseline": (64, 24, (1, 3, 8, 24))}
PAPER, RECIPE = "the paper's", "the recipe"
# What of the recipe is changed. Without rates by depth the one rate is that which is good for loaded weights.
CHANGES: dict[str, dict[str, dict[str, Any]]] = {
    "squeezenet1_1": {
        PAPER: {},
        RECIPE: {},
        "recipe with a plain head": {"head": "plain"},
        "recipe with one rate, 3e-4": {"layer_rate_factor": 1.0, "learning_rate": 3e-4},
        "recipe without warm-up": {"warmup_steps": 0},
    },
    "baseline": {
        PAPER: {},
        RECIPE: {},
        "recipe with a plain head": {"head": "plain"},
        "recipe without warm-up": {"warmup_steps": 0},
    },
}
ABOUT = (
    "Same split, network and first weights in a row; n seeds, of which the order of drawings, their changes and the "
    "head's first weights depend. An interval is Student's t over the seeds; without one there is one seed, and a "
    "difference of less than some three points (a validation split of 666 drawings) says nothing."
)
COLUMNS = ("model", "what", "seed", "epoch", "val_top1", "raw_val_top1", "train_loss")


class Job(NamedTuple):
    """One training of the table."""

    seed: int
    model: str
    what: str


def list_jobs(num_seeds: int) -> list[Job]:
    """Every training of one model after the other, seed by seed, so that any beginning of them is a table."""
    return [Job(seed, model, what) for model in TRAININGS for seed in range(num_seeds) for what in CHANGES[model]]


def configure(job: Job) -> dict[str, Any]:
    """The full configuration of a training."""
    limits = SpaceLimits(TRAININGS[job.model][1], pretrained=job.model == "squeezenet1_1")
    choose = paper_configuration if job.what == PAPER else recipe_configuration
    return configuration_of(job.model, choose(job.model, limits), limits) | CHANGES[job.model][job.what]


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
    image_px, pretrained = TRAININGS[job.model][0], job.model == "squeezenet1_1"
    data = open_data(prepare_data(DataRequest(str(SKETCHY), image_px)))
    splits = split_data(data, protocol="standard", split_by="photo", seed=0)
    arrays = [SplitArrays(data.images, data.labels, rows) for rows in (splits.train, splits.validation)]
    config = configure(job)
    torch.manual_seed(job.seed)
    model = build_model(
        job.model,
        len(data.class_names),
        dropout=config["dropout"],
        freeze=config["freeze"],
        head=config["head"],
        weights_path=weights if pretrained else None,
    )
    training = TrainingSplits(*arrays, num_classes=len(data.class_names), invert=True)
    return [
        {"model": job.model, "what": job.what, "seed": job.seed} | {name: metrics[name] for name in COLUMNS[3:]}
        for metrics, _ in fit(model, training, config, seed=job.seed, pretrained=pretrained)
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
    """The models of which both the paper's training and the recipe were measured."""
    lines = [ABOUT]
    for model in TRAININGS:
        if {PAPER, RECIPE} <= {row["what"] for row in rows if row["model"] == model}:
            lines += ["", *table(rows, model)]
    return lines


def table(rows: list[dict[str, Any]], model: str) -> list[str]:
    """A line for each training of a model, and one for the recipe's weights without averaging."""
    image_px, _, shown = TRAININGS[model]
    values = {(r["what"], int(r["epoch"]), int(r["seed"])): float(r["val_top1"]) for r in rows if r["model"] == model}
    raw = "recipe without averaging"
    values |= {
        (raw, int(r["epoch"]), int(r["seed"])): float(r["raw_val_top1"])
        for r in rows
        if r["model"] == model and r["what"] == RECIPE
    }
    names = [name for name in (*CHANGES[model], raw) if any(what == name for what, *_ in values)]
    lines = [
        f"{model}, {image_px} px: validation top-1 in percent, mean over seeds (lowest to highest at the last epoch)",
        "",
        f"| training | n | {' | '.join(f'epoch {epoch}' for epoch in shown)} | minus the recipe, points [95 %] |",
        "|---|---|" + "---|" * (len(shown) + 1),
    ]
    for name in names:
        seeds = sorted(seed for what, epoch, seed in values if (what, epoch) == (name, shown[-1]))
        cells = [[100 * values[name, epoch, seed] for seed in seeds] for epoch in shown]
        texts = [f"{statistics.mean(cell):.1f}" for cell in cells]
        texts[-1] += f" ({min(cells[-1]):.1f} to {max(cells[-1]):.1f})"
        pairs = [s for s in seeds if (RECIPE, shown[-1], s) in values]
        differences = [100 * (values[name, shown[-1], s] - values[RECIPE, shown[-1], s]) for s in pairs]
        lines.append(f"| {name} | {len(seeds)} | {' | '.join(texts)} | {difference_text(name, differences)} |")
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
    quick = parser.parse_args().quick
    path = result_path("recipe_parts", ".csv")
    rows = [] if quick else read_rows(path)
    done = {Job(int(row["seed"]), row["model"], row["what"]) for row in rows}
    jobs = [job for job in list_jobs(1 if quick else NUM_SEEDS) if job not in done]
    jobs = [job for job in jobs if job.model == "baseline"] if quick else jobs
    for more in train_all(jobs, os.cpu_count() or 1):
        rows += more
        print({name: more[-1][name] for name in ("model", "what", "seed", "val_top1")}, flush=True)
        if not quick:  # what is there can be read at any time
            write_csv(path, COLUMNS, rows)
            write_result("recipe_parts", "What each part of the recipe is worth", tables(rows))
    print("\n".join(tables(rows)))
    return int(not is_ahead(rows))


def is_ahead(rows: list[dict[str, Any]]) -> bool:
    """Whether the recipe ends above the paper's training with each model, in the mean over seeds."""
    means: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        if int(row["epoch"]) == TRAININGS[row["model"]][1]:
            means.setdefault((row["model"], row["what"]), []).append(float(row["val_top1"]))
    models = [model for model, what in means if what == RECIPE and (model, PAPER) in means]
    return all(statistics.mean(means[m, RECIPE]) > statistics.mean(means[m, PAPER]) for m in models)


if __name__ == "__main__":
    print(describe(), flush=True)
    sys.exit(main())

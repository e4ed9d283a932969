"""Records learning curves: trains a network with many configurations and keeps every epoch's metrics.

    python -m benchmarks.curves.record rows sketch --part 0 --parts 2   # a process per core, OMP_NUM_THREADS=1; resumes
    python -m benchmarks.curves.record pack sketch                      # rows-*.jsonl -> sketch.npz, which is shipped

Tables: `sketch` is `baseline` from scratch with random configurations of `curves/space.py`. `pretrained` is
SqueezeNet 1.1 with ImageNet weights in its own space: the paper's configuration, today's recipe, then for one random
configuration two that the search would make of the recipe, since that is where a search is most of its time.

All data sets of a table have the same configurations. Each trains to MAX_EPOCHS whatever its own number of epochs is:
no schedule of the spaces depends on the end, so a shorter training is the beginning of this curve. Some are trained a
second time with another seed, which tells the noise.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import optuna
import torch
from torch import nn

from benchmarks.curves import space as sketch_space
from benchmarks.curves.table import METRICS, TABLES, pack_rows
from benchmarks.real_weights import write_squeezenet
from tune_sketch.config.seeds import derive_seed
from tune_sketch.data import open_data, prepare_data
from tune_sketch.data.request import DataRequest
from tune_sketch.data.splits import make_splits
from tune_sketch.samplers.incumbent import RECIPE_STEP, MutationSampler
from tune_sketch.search_spaces import SpaceLimits, paper_configuration, recipe_configuration
from tune_sketch.search_spaces import squeezenet1_1 as squeezenet_space
from tune_sketch.trainables.batches import SplitArrays, TrainingSplits
from tune_sketch.trainables.networks.build import build_model
from tune_sketch.trainables.training import DivergedError, fit

MAX_EPOCHS = 27
KEPT_FRACTION = 0.5  # of the recipe in its changes, as the search had it when the pretrained table was recorded
SHARED = Path(__file__).parents[3] / "shared" / "data"


class Drawings(NamedTuple):
    """The drawings of one task, and how often it is trained."""

    data: str
    classes: int | tuple[str, ...]  # so many, the first ones, or by name
    per_class: int
    num_configurations: int
    num_repeated: int  # of the configurations, on a second seed


class Recording(NamedTuple):
    """One table: a network in its space on one or more sets of drawings."""

    network: str
    image_px: int
    is_pretrained: bool
    tasks: dict[str, Drawings]

    @property
    def limits(self) -> SpaceLimits:
        return SpaceLimits(max_epochs=MAX_EPOCHS, pretrained=self.is_pretrained)


SKETCHY, QUICKDRAW = str(SHARED / "sketchy-125x25"), str(SHARED / "quickdraw-344x25-simplified")
RECORDINGS = {
    "sketch": Recording(
        "baseline",
        28,
        False,
        {"sketchy": Drawings(SKETCHY, 25, 25, 320, 40), "doodles": Drawings("doodles", 20, 40, 160, 0)},
    ),
    "pretrained": Recording(
        "squeezenet1_1",
        48,
        True,
        {"sketchy": Drawings(SKETCHY, 40, 25, 150, 15), "quickdraw": Drawings(QUICKDRAW, 40, 25, 150, 15)},
    ),
}


class Job(NamedTuple):
    """One training of the table."""

    task: str
    configuration: int  # its number
    repeat: int  # 0, or 1 for a second seed


def list_jobs(recording: Recording) -> list[Job]:
    """All trainings, mixed so that any beginning of them is a usable table."""
    jobs = []
    for task, drawings in recording.tasks.items():
        for number in range(drawings.num_configurations):
            jobs.append((number / drawings.num_configurations, Job(task, number, 0)))
        for number in range(drawings.num_repeated):
            jobs.append(((number + 0.5) / drawings.num_repeated, Job(task, number, 1)))
    return [job for _, job in sorted(jobs)]


def draw_configuration(recording: Recording, number: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """(sampled parameters, full configuration) number `number` of a table's."""
    seed, limits, sampler = derive_seed("curves", number), recording.limits, optuna.samplers.RandomSampler
    study = optuna.create_study(sampler=sampler(seed=seed))
    if not recording.is_pretrained:
        trial = study.ask()
        config = sketch_space.space(trial, limits)
        return trial.params, config
    recipe = recipe_configuration(recording.network, limits)
    if number < 2:
        study.enqueue_trial((paper_configuration(recording.network, limits), recipe)[number])
    elif number % 3:
        study.sampler = MutationSampler(recipe, seed, KEPT_FRACTION, RECIPE_STEP)
    trial = study.ask()
    config = squeezenet_space.space(trial, limits)
    return trial.params, config


def load_splits(recording: Recording, task: str) -> TrainingSplits:
    """60 % of the drawings for training, 40 % for validation, split by photo where there are photos."""
    drawings = recording.tasks[task]
    request = DataRequest(
        data=drawings.data,
        image_px=recording.image_px,
        classes=drawings.classes,
        per_class=drawings.per_class,
        invert=True,
        skip_bad_images=False,
        download=False,
    )
    data = open_data(prepare_data(request))
    splits = make_splits(data.labels, data.groups, protocol="small", split_by="photo", seed=0)
    images, labels = np.asarray(data.images), np.asarray(data.labels)
    train = SplitArrays(images, labels, splits.train)
    validation = SplitArrays(images, labels, np.concatenate([splits.validation, splits.test]))
    return TrainingSplits(train, validation, num_classes=len(data.class_names), invert=True)


def build_first(network: str, num_classes: int, config: dict[str, Any], seed: int, weights: str | None) -> nn.Module:
    """The network of a configuration before its training; new weights come from the seed."""
    torch.manual_seed(seed)
    return build_model(
        network,
        num_classes,
        dropout=config["dropout"],
        freeze=config["freeze"],
        head=config["head"],
        weights_path=weights,
    )


def run_job(recording: Recording, job: Job, splits: TrainingSplits, weights: str | None) -> dict[str, Any]:
    """Train once; the row of the table."""
    params, config = draw_configuration(recording, job.configuration)
    seed = derive_seed("curves", job.task, job.configuration, job.repeat)
    model = build_first(recording.network, splits.num_classes, config, seed, weights)
    epochs, status = [], "completed"
    try:
        for metrics, _ in fit(
            model, splits, config | {"epochs": MAX_EPOCHS}, seed=seed, pretrained=recording.is_pretrained
        ):
            epochs.append({name: round(metrics[name], 6) for name in METRICS})
    except DivergedError:
        status = "diverged"
    return {**job._asdict(), "status": status, "params": params, "epochs": epochs}


def record(recording: Recording, folder: Path, part: int, parts: int) -> None:
    """Train what this part has not trained yet, one line of JSON each."""
    torch.set_num_threads(1)
    path = folder / f"rows-{part}.jsonl"
    done = set()
    for other in folder.glob("rows-*.jsonl"):
        for line in other.read_text().splitlines(keepends=True):
            if line.endswith("\n"):  # a kill may leave half a line
                row = json.loads(line)
                done.add(Job(row["task"], row["configuration"], row["repeat"]))
    if path.exists():
        path.write_text("".join(line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")))
    weights = str(write_squeezenet(folder / f"weights-{part}.pth")) if recording.is_pretrained else None
    splits = {task: load_splits(recording, task) for task in recording.tasks}
    for job in list_jobs(recording)[part::parts]:
        if job in done:
            continue
        started = time.perf_counter()
        row = run_job(recording, job, splits[job.task], weights)
        with path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(*job, row["status"], f"{time.perf_counter() - started:.1f} s", flush=True)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(allow_abbrev=False, description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["rows", "pack"])
    parser.add_argument("table", choices=list(RECORDINGS))
    parser.add_argument("--folder", type=Path, help="where rows-*.jsonl are (default: build/curves/TABLE)")
    parser.add_argument("--part", type=int, default=0)
    parser.add_argument("--parts", type=int, default=1)
    arguments = parser.parse_args(argv)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folder = arguments.folder or Path("build/curves") / arguments.table
    folder.mkdir(parents=True, exist_ok=True)
    if arguments.what == "rows":
        record(RECORDINGS[arguments.table], folder, arguments.part, arguments.parts)
    else:
        lines = [line for path in sorted(folder.glob("rows-*.jsonl")) for line in path.read_text().splitlines()]
        print(pack_rows([json.loads(line) for line in lines], TABLES[arguments.table]))
    return 0


if __name__ == "__main__":
    sys.exit(main())

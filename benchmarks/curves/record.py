"""Records the sketch table: trains `baseline` with random configurations and keeps every epoch's metrics.

    python -m benchmarks.curves.record rows --part 0 --parts 2   # one process per core, OMP_NUM_THREADS=1; resumes
    python -m benchmarks.curves.record pack                      # rows-*.jsonl -> sketch.npz, which is shipped

Configurations are drawn at random from `curves/space.py`, the same ones on both data sets. Each trains to
MAX_EPOCHS whatever its own number of epochs is: no schedule of the space depends on the end, so a shorter training is
the beginning of this curve. Some are trained a second time with another seed, which tells the noise.
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

from benchmarks.curves.space import space
from benchmarks.curves.table import METRICS, TABLE, pack_rows
from tune_sketch.config.seeds import derive_seed
from tune_sketch.data import open_data, prepare_data
from tune_sketch.data.request import DataRequest
from tune_sketch.data.splits import make_splits
from tune_sketch.search_spaces.common import SpaceLimits
from tune_sketch.trainables.batches import SplitArrays, TrainingSplits
from tune_sketch.trainables.networks.build import build_model
from tune_sketch.trainables.training import DivergedError, fit

MAX_EPOCHS = 27
IMAGE_PX = 28
SKETCHY = Path(__file__).parents[3] / "shared" / "data" / "sketchy-125x25"
# task -> data set, classes (the first N), drawings per class, configurations, and how many of them on a second seed
TASKS: dict[str, tuple[str, int, int, int, int]] = {
    "sketchy": (str(SKETCHY), 25, 25, 320, 40),
    "doodles": ("doodles", 20, 40, 160, 0),
}


class Job(NamedTuple):
    """One training of the table."""

    task: str
    configuration: int  # its number
    repeat: int  # 0, or 1 for a second seed


def list_jobs() -> list[Job]:
    """All trainings, mixed so that any beginning of them is a usable table."""
    jobs = []
    for task, (_, _, _, num_configurations, num_repeated) in TASKS.items():
        for number in range(num_configurations):
            jobs.append((number / num_configurations, Job(task, number, 0)))
        for number in range(num_repeated):
            jobs.append(((number + 0.5) / num_repeated, Job(task, number, 1)))
    return [job for _, job in sorted(jobs)]


def draw_configuration(number: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """(sampled parameters, full configuration) number `number` of the random ones."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=derive_seed("curves", number)))
    trial = study.ask()
    config = space(trial, SpaceLimits(max_epochs=MAX_EPOCHS, pretrained=False))
    return trial.params, config


def load_splits(task: str) -> TrainingSplits:
    """60 % of the drawings for training, 40 % for validation, split by photo where there are photos."""
    data_name, num_classes, per_class, _, _ = TASKS[task]
    request = DataRequest(
        data=data_name,
        image_px=IMAGE_PX,
        classes=num_classes,
        per_class=per_class,
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


def run_job(job: Job, splits: TrainingSplits) -> dict[str, Any]:
    """Train once; the row of the table."""
    params, config = draw_configuration(job.configuration)
    seed = derive_seed("curves", job.task, job.configuration, job.repeat)
    torch.manual_seed(seed)
    model = build_model("baseline", splits.num_classes, dropout=config["dropout"], freeze=config["freeze"])
    epochs, status = [], "completed"
    try:
        for metrics, _ in fit(model, splits, config | {"epochs": MAX_EPOCHS}, seed=seed):
            epochs.append({name: round(metrics[name], 6) for name in METRICS})
    except DivergedError:
        status = "diverged"
    return {**job._asdict(), "status": status, "params": params, "epochs": epochs}


def record(folder: Path, part: int, parts: int) -> None:
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
    splits = {task: load_splits(task) for task in TASKS}
    for job in list_jobs()[part::parts]:
        if job in done:
            continue
        started = time.perf_counter()
        row = run_job(job, splits[job.task])
        with path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(*job, row["status"], f"{time.perf_counter() - started:.1f} s", flush=True)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(allow_abbrev=False, description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["rows", "pack"])
    parser.add_argument("--folder", type=Path, default=Path("build/curves"), help="where rows-*.jsonl are")
    parser.add_argument("--part", type=int, default=0)
    parser.add_argument("--parts", type=int, default=1)
    arguments = parser.parse_args(argv)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    if arguments.what == "rows":
        record(arguments.folder, arguments.part, arguments.parts)
    else:
        lines = [
            line for path in sorted(arguments.folder.glob("rows-*.jsonl")) for line in path.read_text().splitlines()
        ]
        print(pack_rows([json.loads(line) for line in lines], TABLE))
    return 0


if __name__ == "__main__":
    sys.exit(main())

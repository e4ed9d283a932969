"""tune_sketch itself, as on the command line: search, retraining and test within `--total-time`."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from job import Job

from tune_sketch.data import open_data
from tune_sketch.data.splits import read_splits
from tune_sketch.storage.facts import read_facts
from tune_sketch.storage.run_directory import RunDirectory


def command(job: Job) -> list[str]:
    """The command line: defaults but for what the comparison fixes, and no end of the search but the time's."""
    return [
        *(sys.executable, "-m", "tune_sketch.search"),
        *("--model", "squeezenet1_1" if job.weights else "baseline", "--weights", job.weights or "none"),
        *("--data", str(job.folder), "--split-by", "own", "--image-px", str(job.image_px)),
        *("--total-time", f"{max(1, int(job.wall_left()))}s", "--seed", str(job.seed)),
        *("--runs-dir", str(job.work), "--name", "ours"),
    ]


def read_probabilities(run: RunDirectory) -> tuple[list[str], dict[str, np.ndarray]]:
    """(classes, probabilities of each test drawing) by the network that the run offers, as the run computed them."""
    data = open_data(Path(read_facts(run).data.cache))
    key = json.loads((run.best / "model.json").read_text())["retraining"]
    with np.load(run.test_probabilities(key)) as file:
        probabilities = file["probabilities"]
    names = [data.names[index].removeprefix("test/") for index in read_splits(run.splits_csv, data).test]
    return data.class_names, dict(zip(names, probabilities, strict=True))


def main() -> None:
    job = Job()
    subprocess.run(command(job), check=True)
    run = RunDirectory(job.work / "ours")
    classes, rows = read_probabilities(run)
    best = json.loads((run.best / "model.json").read_text())
    note = f"{best['architecture']}, trial {best['trial']}, {best['retraining']}"
    probabilities = [rows[f"{label}/{file.name}"] for file, label in job.files("test")]
    job.answer(classes, probabilities, note, ("torch", "torchvision", "ray", "optuna"))


if __name__ == "__main__":
    main()

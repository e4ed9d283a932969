"""Seconds from a proposal to its first training step over many short trials, with Ray's default wiring beside it.

python -m benchmarks.trial_start [--quick]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.machine import describe, result_path, write_result
from tune_sketch.storage.files import write_csv

MOST_SECONDS = 0.5  # in the median, after each worker's first trial
NUM_WORKERS = len(os.sched_getaffinity(0))  # trials at once
CLASSES, PER_CLASS, IMAGE_PX = 10, 20, 32


def main() -> int:
    """Measure, write the result, print the medians; 1 when ours is over its target."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one round of fewer trials; writes no result file")
    parser.add_argument("--default", nargs=3, help=argparse.SUPPRESS)  # number of trials, folder of drawings, result
    arguments = parser.parse_args()
    if arguments.default:
        num_trials, data, path = arguments.default
        Path(path).write_text(json.dumps(run_default(int(num_trials), data)))
        return 0
    print(describe(), flush=True)
    num_rounds, num_trials, num_default = (1, 12, 6) if arguments.quick else (2, 25 + NUM_WORKERS, 12)
    rounds = [(run_ours(num_trials), measure_default(num_default)) for _ in range(num_rounds)]
    ways = ("ours", "Ray's default")
    rows = [
        (way, number, trial, seconds)
        for number, measured in enumerate(rounds)
        for way, starts in zip(ways, measured, strict=True)
        for trial, seconds in enumerate(starts)
    ]
    later = {way: [s for w, _, trial, s in rows if w == way and trial >= NUM_WORKERS] for way in ways}
    first = {way: [s for w, _, trial, s in rows if w == way and trial < NUM_WORKERS] for way in ways}
    lines = [
        f"Trials of one epoch of the baseline on {CLASSES * PER_CLASS} doodles at {IMAGE_PX} px, {NUM_WORKERS} at once",
        "with one core each; whole searches take turns. Ours: a search with its journal, checkpoints and tables, from",
        "the record of a proposal until its first epoch is recorded, less that epoch: an upper bound. Ray's default:",
        "Tuner, OptunaSearch and a function trainable with the same drawings and network, from the end of `suggest`",
        "to its first step. First trials: those that wait for a process to begin.",
        "",
        "| wiring | later trials, s: median | least to most | first trials, s: median | n, later and first |",
        "|---|---|---|---|---|",
    ]
    for way in ways:
        some = later[way]
        spread = f"{statistics.median(some):.3f} | {min(some):.3f} to {max(some):.3f}"
        lines.append(f"| {way} | {spread} | {statistics.median(first[way]):.2f} | {len(some)}, {len(first[way])} |")
    median, by_default = (statistics.median(later[way]) for way in ways)
    ratios = [statistics.median(d[NUM_WORKERS:]) / statistics.median(o[NUM_WORKERS:]) for o, d in rounds]
    lines += ["", f"Target: at most {MOST_SECONDS} s in the median of later trials."]
    print("\n".join(lines))
    if not arguments.quick:
        write_result("trial_start", "From suggestion to first step", lines)
        columns = ("wiring", "round", "trial", "seconds")
        cells = (dict(zip(columns, (*row[:3], f"{row[3]:.4f}"), strict=True)) for row in rows)
        write_csv(result_path("trial_start", ".csv"), columns, cells)
    print(
        f"{median:.3f} s [{min(later['ours']):.3f}, {max(later['ours']):.3f}], target {MOST_SECONDS} s, "
        f"n = {len(later['ours'])}; Ray's default {by_default:.3f} s, {by_default / median:.1f} times as long "
        f"[{min(ratios):.1f}, {max(ratios):.1f} by round]"
    )
    return int(median > MOST_SECONDS)


def run_ours(num_trials: int) -> list[float]:
    """Seconds per trial in order of suggestion, from the journal of a real search."""
    from tune_sketch.storage.reading import read_history
    from tune_sketch.storage.run_directory import RunDirectory

    with tempfile.TemporaryDirectory() as folder:
        command = f"--model baseline --name start --runs-dir {folder} --num-samples {num_trials} --max-epochs 1"
        command += f" --classes {CLASSES} --per-class {PER_CLASS} --image-px {IMAGE_PX} --cpus-per-trial 1"
        command += f" --max-concurrent {NUM_WORKERS} --finalists 0 --retraining-seeds 1"
        subprocess.run(
            [sys.executable, "-m", "tune_sketch.search", *command.split()], check=True, stdout=subprocess.DEVNULL
        )
        trials = read_history(RunDirectory(Path(folder) / "start")).trials
    return [trial.epochs[0].recorded_at - trial.epochs[0].seconds - trial.started_at for trial in trials]


def measure_default(num_trials: int) -> list[float]:
    """The same of Ray's default wiring, in a process of its own."""
    from tune_sketch.data import DataRequest, prepare_data

    data = prepare_data(DataRequest("doodles", IMAGE_PX, classes=CLASSES, per_class=PER_CLASS), progress=False)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "seconds.json"
        command = [sys.executable, "-m", "benchmarks.trial_start", "--default", str(num_trials), str(data), str(path)]
        home = os.environ | {"HOME": folder}  # where Ray keeps the token that it makes
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=home)
        return json.loads(path.read_text())


def run_default(num_trials: int, data: str) -> list[float]:
    """Seconds per trial with Tune and Optuna as their documentation wires them; nothing is switched off."""
    from ray import tune
    from ray.tune.search.optuna import OptunaSearch

    class TimedSearch(OptunaSearch):
        def suggest(self, trial_id: str) -> Any:
            suggestion = super().suggest(trial_id)
            return suggestion and suggestion | {"suggested_at": time.time()}

    search = TimedSearch(space=suggest_rate, metric="loss", mode="min")
    with tempfile.TemporaryDirectory() as folder:
        results = tune.Tuner(
            tune.with_resources(tune.with_parameters(train_once, data=data), {"cpu": 1}),
            tune_config=tune.TuneConfig(search_alg=search, num_samples=num_trials, max_concurrent_trials=NUM_WORKERS),
            run_config=tune.RunConfig(storage_path=folder),
        ).fit()
        starts = sorted((result.config["suggested_at"], result.metrics["start_seconds"]) for result in results)
    return [seconds for _, seconds in starts]


def suggest_rate(trial: Any) -> None:
    trial.suggest_float("learning_rate", 1e-5, 1e-2, log=True)


def train_once(config: dict[str, Any], data: str) -> None:
    """A function trainable: imports, loads, builds, trains one epoch, reports."""
    import torch
    import torch.nn.functional as F
    from ray import tune

    from tune_sketch.data import open_data
    from tune_sketch.trainables.networks.build import build_model

    opened = open_data(Path(data))
    images = torch.tensor(opened.images).unsqueeze(1).expand(-1, 3, -1, -1) / 255
    labels = torch.tensor(opened.labels)
    model = build_model("baseline", CLASSES)
    optimizer = torch.optim.Adam(model.parameters(), lr=config["learning_rate"])
    start_seconds = time.time() - config["suggested_at"]
    for rows in torch.randperm(len(labels)).split(64):
        loss = F.cross_entropy(model(images[rows]), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    tune.report({"loss": loss.item(), "start_seconds": start_seconds})


if __name__ == "__main__":
    sys.exit(main())

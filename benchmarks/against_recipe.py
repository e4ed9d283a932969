"""The same training by the ordinary recipe and by ours, each in a process of its own, in turns.

python -m benchmarks.against_recipe [--quick] [--rounds N] [MODEL ...]     adds rounds to those in results/
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from benchmarks.against_recipe_report import IMAGE_PX, MOST_OTHERS, WAYS, report
from benchmarks.limit import CONFIG
from benchmarks.machine import busy_seconds, cpu_name, cpu_seconds, describe, read_rows, result_path, write_result
from tune_sketch.events import Job
from tune_sketch.storage.files import write_csv

NUM_CLASSES = 20
# Drawings of a class and epochs, then those of --quick.
CASES = {"baseline": ((60, 8), (40, 4)), "resnet50": ((15, 3), (10, 2))}
NUM_CORES = len(os.sched_getaffinity(0))  # `taskset -c 0` measures what one of a machine's trials gets
NUM_WORKERS = range(NUM_CORES + 1)  # of the recipe's loaders: the best is taken; torch warns of more
PROCESSOR = f"{NUM_CORES} cores of {cpu_name()}"


def main() -> int:
    """Measure, write the result, print the ratios; 1 when one is under its target."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"of {', '.join(CASES)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="one round of shorter trainings; writes no result file")
    parser.add_argument("--rounds", type=int, default=3, help="more rounds beside those in the result's CSV")
    parser.add_argument("--one", help=argparse.SUPPRESS)  # one training, of a JSON job
    arguments = parser.parse_args()
    if arguments.one:
        job = json.loads(arguments.one)
        print(json.dumps(try_num_workers(job) if job["way"] == "pilot" else train_one(job)))
        return 0
    print(describe(), flush=True)
    path = result_path("against_recipe", ".csv")
    rows = [] if arguments.quick else read_rows(path)
    lines: list[str] = []
    code = 1
    with tempfile.TemporaryDirectory() as folder:
        for model in arguments.models or CASES:
            first = 1 + max((int(row["round"]) for row in rows if row["model"] == model), default=-1)
            last = first + (1 if arguments.quick else arguments.rounds)
            for one_round in compare(model, Path(folder) / model, range(first, last), quick=arguments.quick):
                rows += one_round
                lines, code = report(rows)
                if not arguments.quick:  # after every round: what is measured is kept
                    write_csv(path, rows[0], rows)
                    write_result("against_recipe", "Against the ordinary recipe", lines)
    print("\n".join(lines))
    print("; ".join(line.removeprefix("- ") for line in lines if line.startswith("- ")))
    return code


def compare(model: str, folder: Path, rounds: range, *, quick: bool) -> Iterator[list[dict[str, Any]]]:
    """For each round, which is also the seed, the rows of every way; two disturbed ones are measured again."""
    (per_class, num_epochs), of_quick = CASES[model]
    if quick:
        per_class, num_epochs = of_quick
    job = prepare(model, folder, per_class, num_epochs)
    num_workers = {way: run(job | {"way": "pilot", "folder": path})["best"] for way, path in job["folders"].items()}
    seeds = list(rounds)
    num_disturbed = 0
    while seeds:
        seed, rows = seeds.pop(0), []
        for way in WAYS:
            workers = num_workers.get(way)
            of_way = {"way": way, "seed": seed, "num_workers": workers, "folder": job["folders"].get(way)}
            row: dict[str, Any] = {"model": model, "processor": PROCESSOR, "way": way}
            row |= {"num_workers": workers, "round": seed}
            row |= run(job | of_way)
            row = {name: round(value, 4) if isinstance(value, float) else value for name, value in row.items()}
            print(row, flush=True)
            rows.append(row | {"decode_seconds": round(job["decode_seconds"], 2)})
        if max(row["others"] for row in rows) > MOST_OTHERS and num_disturbed < 2:
            num_disturbed += 1
            seeds.insert(0, seed)
            print("other programs were at work: once more", flush=True)
        else:
            yield rows


def prepare(model: str, folder: Path, per_class: int, num_epochs: int) -> dict[str, Any]:
    """Inputs of all ways: PNG files of two sizes, our decoded cache and its split, the recipe's indices of it."""
    from PIL import Image
    from torchvision.datasets import ImageFolder

    from tune_sketch.data import DataRequest, open_data, prepare_data
    from tune_sketch.data.doodles import CATEGORIES, render_doodle
    from tune_sketch.data.splits import make_splits, write_splits

    png, small = folder / "png", folder / "small"
    for category in list(CATEGORIES)[:NUM_CLASSES]:
        for size in (png, small):
            (size / category).mkdir(parents=True)
        for index in range(per_class):
            picture = Image.fromarray(255 - render_doodle(category, index, seed=0, image_px=256))
            picture.save(png / category / f"{index:04d}.png")
            shrunk = picture.resize((IMAGE_PX, IMAGE_PX), Image.Resampling.BILINEAR)
            shrunk.save(small / category / f"{index:04d}.png")
    start = time.perf_counter()
    cache = prepare_data(DataRequest(str(png), IMAGE_PX), cache_dir=folder / "cache", progress=False)
    decode_seconds = time.perf_counter() - start
    data = open_data(cache)
    splits = make_splits(data.labels, data.groups, protocol="small", split_by="file", seed=0)
    write_splits(folder / "splits.csv", data, splits)
    index_of = {str(Path(path).relative_to(png)): index for index, (path, _) in enumerate(ImageFolder(png).samples)}
    return {
        "model": model,
        "folders": {"recipe": str(png), "recipe on small files": str(small)},
        "cache": str(cache),
        "decode_seconds": decode_seconds,
        "splits": str(folder / "splits.csv"),
        "train": [index_of[data.names[i]] for i in splits.train],
        "validation": [index_of[data.names[i]] for i in splits.validation],
        "num_classes": NUM_CLASSES,
        "image_px": IMAGE_PX,
        # Without what torchvision or a plain loop has not: pen width and a schedule.
        "config": CONFIG | {"epochs": num_epochs, "pen_width": 0.0, "decay": 0.0},
        "num_threads": NUM_CORES,
        "gpus": 0,
        "results": str(folder),
        "seed": 0,
    }


def run(job: dict[str, Any]) -> dict[str, Any]:
    """One training in a process of its own, and the most memory that its trial's processes held."""
    command = [sys.executable, "-m", "benchmarks.against_recipe", "--one", json.dumps(job)]
    with tempfile.TemporaryFile("w+") as output:
        start, busy = time.perf_counter(), busy_seconds()
        process = subprocess.Popen(command, stdout=output)
        peak, own = 0, dict[int, float]()
        while process.poll() is None:
            peak = max(peak, trial_bytes(process.pid))
            own |= cpu_seconds(process.pid)
            time.sleep(1.0)
        others = (busy_seconds() - busy - sum(own.values())) / (time.perf_counter() - start) / NUM_CORES
        if process.returncode:
            raise SystemExit(f"{job['model']}, {job['way']}: exit code {process.returncode}")
        output.seek(0)
        result = json.loads(output.read().splitlines()[-1])
    if job["way"] == "pilot":
        print(f"images/s by number of loader workers: {result['images_per_second']}", flush=True)
        return result
    return result | {"peak_mb": peak / 1e6, "others": max(0.0, others)}


def trial_bytes(pid: int) -> int:
    """Memory of Ray's trial process below `pid` and of its loaders; shared pages count in part (PSS)."""
    num_bytes = 0
    for child in psutil.Process(pid).children(recursive=True):
        try:
            commands = [" ".join(process.cmdline()) for process in (child, *child.parents())]
            if any(c.startswith("ray::") and not c.startswith("ray::IDLE") for c in commands):
                num_bytes += child.memory_full_info().pss
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return num_bytes


def try_num_workers(job: dict[str, Any]) -> dict[str, Any]:
    """`find_num_workers` in a process of Ray's, as the recipe is going to run."""
    import ray

    from tune_sketch.backend.cluster import start_ray

    start_ray(None)
    return ray.get(ray.remote(num_cpus=NUM_CORES)(find_num_workers).remote(job))


def find_num_workers(job: dict[str, Any]) -> dict[str, Any]:
    """{"best": number of loader workers with which the recipe's second epoch is fastest, "images_per_second": ...}."""
    from benchmarks.recipe import recipe_epochs

    rates = {}
    for num_workers in NUM_WORKERS:
        epochs = recipe_epochs(job | {"num_workers": num_workers})
        next(epochs)
        rates[num_workers] = next(epochs)[0]["images_per_second"]
    return {"best": max(rates, key=lambda number: rates[number]), "images_per_second": rates}


def train_one(job: dict[str, Any]) -> dict[str, float]:
    """Through Ray Tune by one way; medians over the epochs after the first."""
    from ray import tune

    from tune_sketch.backend.cluster import start_ray

    start_ray(None)
    if job["way"] == "ours":
        from tune_sketch.trainables.trial import SketchTrial

        trainable: Any = SketchTrial
        config: dict[str, Any] = {"job": our_job(job)}
    else:
        from benchmarks.recipe import train_by_recipe

        trainable, config = train_by_recipe, job
    arrived: list[tuple[float, dict[str, Any]]] = []

    class Clock(tune.Callback):
        def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any) -> None:
            if job["way"] == "ours":
                result = {"epoch": result["report"].number, **result["report"].metrics}
            arrived.append((time.perf_counter(), result))

    start = time.perf_counter()
    tune.Tuner(
        tune.with_resources(trainable, {"cpu": NUM_CORES}),
        param_space=config,
        run_config=tune.RunConfig(
            storage_path=f"{job['results']}/ray",
            verbose=0,
            callbacks=[Clock()],
            stop={"training_iteration": job["config"]["epochs"]},
        ),
    ).fit()
    assert [epoch["epoch"] for _, epoch in arrived] == list(range(1, job["config"]["epochs"] + 1)), arrived
    times = [when for when, _ in arrived]
    return {
        "images_per_second": statistics.median(epoch["images_per_second"] for _, epoch in arrived[1:]),
        "epoch_seconds": statistics.median(later - sooner for sooner, later in itertools.pairwise(times)),
        "first_epoch_seconds": times[0] - start,
        "val_top1": arrived[-1][1]["val_top1"],
    }


def our_job(job: dict[str, Any]) -> Job:
    """The job that a search would make."""
    folder = tempfile.mkdtemp(dir=job["results"], prefix="checkpoints-")  # a repeated round begins anew, too
    return Job(
        key=f"{job['model']}-{job['seed']}",
        model=job["model"],
        config=job["config"],
        seed=job["seed"],
        data=job["cache"],
        splits=job["splits"],
        checkpoints=folder,
        checkpoint_epochs=1,
        stop_file=f"{folder}/stop",
        weights=None,
        pretrained=False,
        invert=True,
        frozen_views=0,
        views_seed=0,
        num_threads=job["num_threads"],
        num_processes=1,
        gpus=job["gpus"],
    )


if __name__ == "__main__":
    sys.exit(main())

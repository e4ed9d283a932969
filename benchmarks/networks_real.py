"""Real searches on Sketchy drawings: one over three networks against one of each with a third of the time.

    python -m benchmarks.networks_real [--quick] [--minutes 60] [--parts 2 --part 0]

Rows go to results/networks_real-cpu.csv as they are measured; a second start goes on with what is missing. Time is that
of workers, as `--gpu-hours` counts it. What has the highest validation top-1, of all trials of the one search or of all
three, is trained on fresh seeds, and these networks are scored on the test split, which no search has seen. Within a
repetition both have the same drawings in the same splits. With --parts several processes divide the repetitions.
"""

import argparse
import io
import statistics
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock

from benchmarks.machine import describe, read_rows, result_path, write_result
from benchmarks.strategies_real import SKETCHY, mean_and_deviation, retrain
from tune_sketch.backend.jobs import job_of
from tune_sketch.backend.ray_backend import RayBackend
from tune_sketch.callbacks.progress import Progress
from tune_sketch.config.flags import make_settings_of_each
from tune_sketch.config.plan import expected_epochs, prepare_inputs
from tune_sketch.config.seeds import derive_seed
from tune_sketch.events import Job, Trial
from tune_sketch.new_run import create_run
from tune_sketch.run import open_run, search_trials
from tune_sketch.schedulers.rungs import rank_trials
from tune_sketch.statistics import t_interval
from tune_sketch.storage.files import write_csv
from tune_sketch.storage.lock import lock

NETWORKS = ("baseline", "sketch_a_net", "squeezenet1_1")  # those that a CPU trains in minutes, from new weights
TOGETHER, ONE_EACH = "one search", "one each"
WAYS = (TOGETHER, ONE_EACH)
REPETITIONS = 6
SEEDS = 2  # fresh ones for each choice
BUDGET_SECONDS = 540.0  # of a worker, of a repetition's one search or three
# Without experience, which only one of the networks has.
FULL: dict[str, Any] = {"image_px": 48, "weights": "none", "max_epochs": 18, "num_samples": 1000, "experience": False}
FULL |= {"max_concurrent": 1, "cpus_per_trial": 1.0}
QUICK = FULL | {"classes": 6, "per_class": 12, "image_px": 48, "max_epochs": 3}


@dataclass
class Found:
    """The best of one search, with a job for each fresh seed, and what the search took."""

    trial: Trial
    network: str
    val_top1: float
    fresh: list[Job]
    num_trials: int
    seconds: Counter[str]  # of a worker, by network


def measure(way: str, repetition: int, choices: dict[str, Any], budget: float, folder: Path) -> dict[str, Any]:
    """One row: the searches of a way, and what is best of all theirs by validation, on fresh seeds."""
    groups: list[tuple[str, ...]] = [NETWORKS] if way == TOGETHER else [(network,) for network in NETWORKS]
    searches = [search(models, repetition, choices, budget / len(groups), folder) for models in groups]
    best = max(searches, key=lambda found: found.val_top1)
    values = [retrain(job) for job in best.fresh]
    spent = sum((found.seconds for found in searches), Counter[str]())
    return {
        "repetition": repetition,
        "way": way,
        "worker_seconds": round(sum(spent.values()), 1),
        "num_trials": sum(found.num_trials for found in searches),
        "network": best.network,
        "trial": best.trial.number,
        "num_epochs": len(best.trial.epochs),
        "val_top1_in_search": best.val_top1,
        "val_top1": statistics.fmean(value for value, _ in values),
        "test_top1": statistics.fmean(value for _, value in values),
        "num_seeds": len(values),
        "seconds_of_networks": ", ".join(f"{network} {spent[network]:.0f}" for network in NETWORKS),
        "where": describe(),
    }


def search(
    models: tuple[str, ...], repetition: int, choices: dict[str, Any], budget_seconds: float, folder: Path
) -> Found:
    """Search until the worker's seconds are spent; a training that runs then finishes its epoch."""
    first, *others = make_settings_of_each(models, choices | {"seed": repetition, "gpu_hours": budget_seconds / 3600})
    path = folder / f"{repetition}-{'-'.join(models)}"
    run = create_run(path, first, prepare_inputs(first, others), None)
    with lock(run), open_run(run, RayBackend(), None) as work:
        work.screen = Progress(first.num_samples, expected_epochs(first), 0.0, file=io.StringIO())
        search_trials(work)
        trials = [trial for trial in work.journal.trials if trial.epochs]
        best = rank_trials(trials)[0]
        assert best.best_epoch is not None
        workers = work.allocate(first.num_samples)
        fresh = [replace(best, seed=derive_seed(repetition, "fresh", index)) for index in range(SEEDS)]
        seconds: Counter[str] = Counter()
        for trial in trials:
            seconds[trial.network or first.model] += trial.train_seconds
        return Found(
            *(best, best.network or first.model, best.best_epoch.val_top1),
            *([job_of(trial, run, work.facts, workers) for trial in fresh], len(trials), seconds),
        )


def summarise(rows: list[dict[str, Any]]) -> tuple[list[str], list[float]]:
    """(lines of the table, the one search's test top-1 minus the other's in points, by repetition)."""
    of = {(row["way"], int(row["repetition"])): row for row in rows}
    both = sorted(r for way, r in of if way == TOGETHER and (ONE_EACH, r) in of)
    lines = [
        "| way | test top-1 of the choice, %: mean (sd) | by repetition | validation there, % | chosen | trials |",
        "|---|---|---|---|---|---|",
    ]
    for way in WAYS:
        own = [of[way, r] for r in both]
        tests, seen = ([100 * float(row[name]) for row in own] for name in ("test_top1", "val_top1_in_search"))
        if own:
            counts = Counter(str(row["network"]) for row in own).most_common()
            cells = (
                *(mean_and_deviation(tests, ".1f"), ", ".join(f"{value:.1f}" for value in tests)),
                *(mean_and_deviation(seen, ".1f"), ", ".join(f"{name} {count}" for name, count in counts)),
                ", ".join(str(row["num_trials"]) for row in own),
            )
            lines.append(f"| {way} | {' | '.join(cells)} |")
    gains = [100 * (float(of[TOGETHER, r]["test_top1"]) - float(of[ONE_EACH, r]["test_top1"])) for r in both]
    return lines, gains


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one small repetition on doodles; writes no result file")
    parser.add_argument("--minutes", type=float, help="begin nothing that would end later; the next start goes on")
    parser.add_argument("--parts", type=int, default=1, help="processes that divide the repetitions")
    parser.add_argument("--part", type=int, default=0, help="of this one, from 0 on")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    path = result_path("networks_real", ".csv")
    rows = [] if arguments.quick else read_rows(path)
    done = {(row["way"], int(row["repetition"])) for row in rows}
    repetitions = range(1) if arguments.quick else range(arguments.part, REPETITIONS, arguments.parts)
    # In turns which is first: the machine may be slower by then.
    missing = [(way, r) for r in repetitions for way in WAYS[:: 1 if r // 2 % 2 else -1] if (way, r) not in done]
    choices, budget = (QUICK, 20.0) if arguments.quick else (FULL | {"data": str(SKETCHY)}, BUDGET_SECONDS)
    started, longest = time.monotonic(), 0.0
    with tempfile.TemporaryDirectory() as folder:
        for way, repetition in missing:
            begun = time.monotonic()
            if arguments.minutes and begun + 1.1 * longest > started + 60 * arguments.minutes:
                break
            row = measure(way, repetition, choices, budget, Path(folder) / way.replace(" ", "-"))
            longest = max(longest, time.monotonic() - begun)
            print(row, flush=True)
            if not arguments.quick:
                with FileLock(Path(folder).parent / f"{path.name}.lock"):  # for the process with the other repetitions
                    write_csv(path, list(row), [*read_rows(path), row])
            else:
                rows.append(row)
    rows = rows if arguments.quick else read_rows(path)
    lines, gains = summarise(rows)
    if not gains:
        print("no repetition has both ways yet; start again to go on")
        return 3
    interval = t_interval(gains)
    between = f" [{interval[0]:+.1f}, {interval[1]:+.1f}]" if interval else ""
    said = f"one search minus one each, test top-1 in points: {statistics.fmean(gains):+.1f}{between}, n = {len(gains)}"
    if not arguments.quick:
        about = (
            f"sketchy-125x25 at {FULL['image_px']} px, new weights, trainings of at most {FULL['max_epochs']} epochs, "
            f"{BUDGET_SECONDS:.0f} seconds of one worker for the one search and for the three together; each choice on "
            f"{SEEDS} fresh seeds."
        )
        seconds = [
            f"- repetition {row['repetition']}, {row['way']}: {row['seconds_of_networks']} s, chosen {row['network']}"
            for row in sorted(rows, key=lambda row: (int(row["repetition"]), row["way"]))
        ]
        write_result("networks_real", __doc__.splitlines()[0], [about, "", *lines, "", f"{said}.", "", *seconds])
    print("\n".join([*lines, said]))
    return 0


if __name__ == "__main__":
    sys.exit(main())

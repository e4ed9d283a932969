"""Measures bfloat16 on a CPU that multiplies it fast: whole trainings of the recipe on Sketchy, in turns with float32.

python -m benchmarks.cpu_formats [--seeds N]     resumes: what is in the CSV is not trained again
"""

import argparse
import itertools
import statistics
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from unittest.mock import patch

from benchmarks.machine import cpu_name, read_rows, result_path, write_result
from benchmarks.real_weights import write_squeezenet
from benchmarks.recipe_parts import RECIPE, TRAININGS, Job, train
from tune_sketch.statistics import t_interval
from tune_sketch.storage.files import write_csv

NETWORKS = ("squeezenet1_1", "baseline")
FORMATS = ("float32", "bfloat16")
COLUMNS = ("processor", "network", "format", "seed", "val_top1", "cpu_seconds")


def main() -> int:
    """Train what is missing, write and print the table; 1 where bfloat16 is slower, or worse beyond the interval."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    num_seeds = parser.parse_args().seeds
    from tune_sketch.trainables.speed.devices import cpu_multiplies_bfloat16

    if not cpu_multiplies_bfloat16():
        print("this processor does not multiply bfloat16 faster than float32: nothing to measure")
        return 0
    path = result_path("cpu_formats", ".csv")
    rows = read_rows(path)
    done = {(r["network"], r["format"], int(r["seed"])) for r in rows if r["processor"] == cpu_name()}
    with tempfile.TemporaryDirectory() as folder:
        weights = str(write_squeezenet(Path(folder) / "squeezenet1_1.pth"))
        wanted = [(network, f, seed) for seed in range(num_seeds) for network in NETWORKS for f in FORMATS]
        for job in wanted:
            if job not in done:  # a process for each: nothing is warm in one and cold in another
                with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                    rows.append(pool.submit(train_in, *job, weights).result())
                print(rows[-1], flush=True)
                write_csv(path, COLUMNS, rows)
    lines, is_worse = tabulate(rows)
    write_result("cpu_formats", "bfloat16 against float32 in whole trainings on a CPU", lines)
    print("\n".join(lines))
    return int(is_worse)


def train_in(network: str, number_format: str, seed: int, weights: str) -> dict[str, Any]:
    """The row of one training of the recipe, on one thread."""
    name = "tune_sketch.trainables.speed.devices.cpu_multiplies_bfloat16"
    with patch(name, lambda: number_format == "bfloat16"):
        start = time.process_time()
        epochs = train(Job(seed, network, RECIPE), weights)
        seconds = time.process_time() - start
    values = (cpu_name(), network, number_format, seed, epochs[-1]["val_top1"], round(seconds, 1))
    return dict(zip(COLUMNS, values, strict=True))


def tabulate(rows: list[dict[str, Any]]) -> tuple[list[str], bool]:
    """(a line for each network, whether bfloat16 is slower or worse in any)."""
    lines = [
        "The recipe of benchmarks.recipe_parts on Sketchy, one thread; other work beside it. Validation top-1 at the "
        "end, in percent; the difference seed by seed, with Student's t interval. Times are of the processor.",
        "",
        "| processor | network | px | epochs | n | float32 | bfloat16 | difference, points [95 %] "
        "| times as fast: each seed |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    is_worse = False
    for processor, network in itertools.product(dict.fromkeys(row["processor"] for row in rows), NETWORKS):
        of_both = [row for row in rows if (row["processor"], row["network"]) == (processor, network)]
        values, seconds = (
            {(row["format"], int(row["seed"])): float(row[column]) for row in of_both}
            for column in ("val_top1", "cpu_seconds")
        )
        seeds = sorted(seed for number_format, seed in values if number_format == FORMATS[1])
        if not seeds:
            continue
        differences = [100 * (values[FORMATS[1], seed] - values[FORMATS[0], seed]) for seed in seeds]
        means = [100 * statistics.mean(values[f, seed] for seed in seeds) for f in FORMATS]
        ratios = [seconds[FORMATS[0], seed] / seconds[FORMATS[1], seed] for seed in seeds]
        low, high = t_interval(differences) or (-100.0, 100.0)
        training = TRAININGS[network]
        lines.append(
            f"| {processor} | {network} | {training.image_px} | {training.num_epochs} | {len(seeds)} "
            f"| {means[0]:.1f} | {means[1]:.1f} | {statistics.mean(differences):+.1f} [{low:+.1f}, {high:+.1f}] "
            f"| {', '.join(f'{ratio:.2f}' for ratio in ratios)} |"
        )
        is_worse |= min(ratios) < 1 or high < 0
    return lines, is_worse


if __name__ == "__main__":
    sys.exit(main())

"""Measures how much of loaded weights the recipe should train, and how fast: frozen layers and rates by depth.

    python -m benchmarks.recipe_depth [--only NAME ...]     resumes: trainings that are in the CSV are not done again
    python -m benchmarks.recipe_depth --report              trains nothing, writes the table of what is there

EfficientNet-Lite0, which has batch norm at every layer as most networks have, and SqueezeNet 1.1, which has none, both
with ImageNet weights (benchmarks/real_weights.py), at 64 px, by the program's own `fit`. Of each network the best way
of one seed on 125 classes of Quick, Draw! is compared with the recipe of before: there on more seeds, then on Sketchy,
by photo, on seeds that no choice had seen. The validation split alone is read. Accuracy is measured, and each
training's own CPU time, so the machine may do other things.

The rule, made when 20 epochs on Sketchy were known and 50 not yet: the network's recipe becomes that way if at equal
time, that of half the epochs of before, its interval there is above 0, and if in the mean it is not more than a point
behind at the end.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.last_step import LABELS, open_drawings, points
from benchmarks.machine import describe, read_rows, result_path, write_result
from benchmarks.real_weights import write_weights
from benchmarks.recipe_parts import MEASURED
from tune_sketch.search_spaces import SpaceLimits, configuration_of, recipe_configuration
from tune_sketch.storage.files import write_csv

BEFORE = "nothing frozen, a tenth"
CANDIDATE = {"timm:efficientnet_lite0": "half frozen, three tenths", "squeezenet1_1": "to fire3 frozen, three tenths"}
A_TENTH, THREE_TENTHS, ONE_RATE = ({"layer_rate_factor": factor} for factor in (0.1, 0.3, 1.0))
NOTHING, QUARTER, HALF, FIRE3 = ({"freeze": point} for point in ("none", "quarter", "half", "fire3"))
WAYS: dict[str, dict[str, dict[str, Any]]] = {  # of the recipe: what is frozen; the first layers' rate, of the head's
    "timm:efficientnet_lite0": {
        BEFORE: MEASURED,
        CANDIDATE["timm:efficientnet_lite0"]: HALF | THREE_TENTHS,
        "nothing frozen, three tenths": NOTHING | THREE_TENTHS,
        "half frozen, a tenth": HALF | A_TENTH,
        "a quarter frozen, three tenths": QUARTER | THREE_TENTHS,
        "half frozen, one rate": HALF | ONE_RATE,
    },
    "squeezenet1_1": {
        BEFORE: MEASURED,
        CANDIDATE["squeezenet1_1"]: FIRE3 | THREE_TENTHS,
        "nothing frozen, three tenths": NOTHING | THREE_TENTHS,
        "to fire3 frozen, a tenth": FIRE3 | A_TENTH,
    },
}
Curves = dict[str, dict[int, list[tuple[float, float]]]]  # way -> seed -> (CPU seconds, top-1 in percent) by epoch
COLUMNS = ("network", "data", "what", "seed", "epoch", "val_top1", "raw_val_top1", "train_cpu_seconds")


class Plan(NamedTuple):
    """The trainings of one table."""

    network: str
    data: str
    num_epochs: int
    seeds: range
    ways: tuple[str, ...]


PLANS = {
    f"{network}-{data}": Plan(network, data, num_epochs, seeds, ways or tuple(WAYS[network]))
    for network, data, num_epochs, seeds, ways in (
        ("timm:efficientnet_lite0", "quickdraw", 14, range(3), ()),
        ("squeezenet1_1", "quickdraw", 20, range(3), ()),
        ("timm:efficientnet_lite0", "sketchy", 50, range(3, 6), (BEFORE, CANDIDATE["timm:efficientnet_lite0"])),
        ("squeezenet1_1", "sketchy", 50, range(3, 6), (BEFORE, CANDIDATE["squeezenet1_1"])),
    )
}


class Job(NamedTuple):
    """One training of a table."""

    plan: str
    seed: int
    what: str


def list_jobs(name: str) -> list[Job]:
    """Every training of one table, seed by seed, so that any beginning of them is a table."""
    return [Job(name, seed, what) for seed in PLANS[name].seeds for what in PLANS[name].ways]


def configure(job: Job) -> dict[str, Any]:
    """The full configuration of a training."""
    plan = PLANS[job.plan]
    limits = SpaceLimits(plan.num_epochs, pretrained=True)
    recipe = configuration_of(plan.network, recipe_configuration(plan.network, limits), limits)
    return recipe | WAYS[plan.network][job.what]


def train(job: Job, weights: str) -> list[dict[str, Any]]:
    """The rows of one training's epochs."""
    import torch

    from tune_sketch.trainables.batches import SplitArrays, TrainingSplits
    from tune_sketch.trainables.networks.build import build_model
    from tune_sketch.trainables.training import fit

    torch.set_num_threads(1)
    plan, config = PLANS[job.plan], configure(job)
    data, splits = open_drawings(plan.data)
    torch.manual_seed(job.seed)
    model = build_model(
        plan.network,
        len(data.class_names),
        dropout=config["dropout"],
        freeze=config["freeze"],
        head=config["head"],
        weights_path=weights,
    )
    arrays = [SplitArrays(data.images, data.labels, rows) for rows in (splits.train, splits.validation)]
    drawings = TrainingSplits(*arrays, num_classes=len(data.class_names), invert=True)
    rows, begun = [], time.process_time()
    for metrics, _ in fit(model, drawings, config, seed=job.seed, pretrained=True):
        row = {"network": plan.network, "data": plan.data, "what": job.what, "seed": job.seed}
        row |= {name: metrics[name] for name in ("epoch", "val_top1", "raw_val_top1")}
        rows.append(row | {"train_cpu_seconds": round(time.process_time() - begun, 1)})
    return rows


def train_all(jobs: list[Job], num_processes: int) -> Iterator[list[dict[str, Any]]]:
    """The rows of each training, as they end."""
    with tempfile.TemporaryDirectory() as folder:
        networks = sorted({PLANS[job.plan].network for job in jobs})
        files = {n: Path(folder) / f"{n.split(':')[-1]}.pth" for n in networks}
        weights = {name: str(write_weights(file, file.stem)) for name, file in files.items()}
        with ProcessPoolExecutor(num_processes, mp_context=get_context("spawn")) as pool:
            futures = [pool.submit(train, job, weights[PLANS[job.plan].network]) for job in jobs]
            for future in as_completed(futures):
                yield future.result()


def tables(rows: list[dict[str, Any]]) -> list[str]:
    """A table for each plan that has rows."""
    lines = [
        "The recipe but for what its line says: which layers keep their loaded weights, and the rate of the first "
        "layers that learn, of the head's. Validation top-1 in percent, mean over n seeds (lowest to highest); the "
        "differences are paired by seed, with Student's t. At equal time: after as many epochs of the other as fit "
        f'into the CPU time of half the epochs of "{BEFORE}", which is what the recipe was before.'
    ]
    for name, plan in PLANS.items():
        if curves_of(rows, plan).get(BEFORE):
            lines += ["", f"## {name.removesuffix('-' + plan.data)}: {LABELS[plan.data]}", "", *table(rows, plan)]
    return lines


def table(rows: list[dict[str, Any]], plan: Plan) -> list[str]:
    """A line for each way, the recipe of before first."""
    curves = curves_of(rows, plan)
    half, last = plan.num_epochs // 2, plan.num_epochs
    lines = [
        f"| training | n | epoch {half} | epoch {last} | CPU seconds of an epoch | minus the recipe of before, epoch "
        f"{half} | epoch {last} | at equal time |",
        f"|{'---|' * 8}",
    ]
    for what in (way for way in WAYS[plan.network] if way in curves):
        own = curves[what].values()
        values = [[curve[epoch - 1][1] for curve in own] for epoch in (half, last)]
        cells = [f"{statistics.mean(v):.1f} ({min(v):.1f} to {max(v):.1f})" for v in values]
        seconds = f"{statistics.mean(curve[-1][0] for curve in own) / last:.1f}"
        gains = gains_of(curves, what, plan)
        texts = [points(gain) if gain and what != BEFORE else "" for gain in gains]
        name = f"**{what}**" if what == CANDIDATE[plan.network] else what
        lines.append(f"| {name} | {len(own)} | {' | '.join([*cells, seconds, *texts])} |")
    return lines


def curves_of(rows: list[dict[str, Any]], plan: Plan) -> Curves:
    """The whole trainings of a plan."""
    curves: Curves = {}
    for row in sorted(rows, key=lambda row: int(row["epoch"])):
        if (row["network"], row["data"]) == (plan.network, plan.data):
            value = float(row["train_cpu_seconds"]), 100 * float(row["val_top1"])
            curves.setdefault(row["what"], {}).setdefault(int(row["seed"]), []).append(value)
    whole = {what: {s: c for s, c in own.items() if len(c) == plan.num_epochs} for what, own in curves.items()}
    return {what: own for what, own in whole.items() if own}


def gains_of(curves: Curves, what: str, plan: Plan) -> list[list[float]]:
    """Points that a way has more than the recipe of before, by seed: after half the epochs, all, and at equal time."""
    half, last = plan.num_epochs // 2, plan.num_epochs
    before, own = curves.get(BEFORE, {}), curves.get(what, {})
    pairs = [(own[seed], before[seed]) for seed in own if seed in before]
    return [
        *([new[epoch - 1][1] - old[epoch - 1][1] for new, old in pairs] for epoch in (half, last)),
        [value_at(new, old[half - 1][0]) - old[half - 1][1] for new, old in pairs],
    ]


def value_at(curve: list[tuple[float, float]], seconds: float) -> float:
    """The value of the last epoch that ended within a time; of the first where none did."""
    return [value for ended, value in curve if ended <= seconds or ended == curve[0][0]][-1]


def main() -> int:
    """Train what is missing, write the table; 1 where a recipe of now is behind that of before at equal time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--report", action="store_true", help="train nothing, write the table of what is there")
    parser.add_argument("--only", nargs="+", choices=PLANS, default=list(PLANS), help="train for these tables")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="trainings at once")
    given = parser.parse_args()
    path = result_path("recipe_depth", ".csv")
    rows = read_rows(path)
    done = {(row["network"], row["data"], row["what"], int(row["seed"])) for row in rows}
    jobs = [
        job
        for name in given.only
        for job in list_jobs(name)
        if (PLANS[name].network, PLANS[name].data, job.what, job.seed) not in done
    ]
    for more in train_all([] if given.report else jobs, given.processes):
        rows += more
        print({name: more[-1][name] for name in ("network", "data", "what", "seed", "val_top1")}, flush=True)
        write(path, rows)  # what is there can be read at any time
    write(path, rows)
    print("\n".join(tables(rows)))
    return int(not is_ahead(rows))


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    """The rows, and the table of them beside."""
    write_csv(path, COLUMNS, rows)
    write_result("recipe_depth", "How much of loaded weights to train, and how fast", tables(rows))


def is_ahead(rows: list[dict[str, Any]]) -> bool:
    """Whether every candidate that is a recipe of now is ahead of that of before at equal time, in the mean."""
    means = [
        statistics.mean(gains_of(curves_of(rows, plan), CANDIDATE[plan.network], plan)[-1] or [0.0])
        for plan in PLANS.values()
        if is_recipe(plan.network)
    ]
    return all(mean >= 0 for mean in means)


def is_recipe(network: str) -> bool:
    """Whether the program's recipe for a network is the candidate."""
    recipe = recipe_configuration(network, SpaceLimits(1, pretrained=True))
    return recipe.items() >= WAYS[network][CANDIDATE[network]].items()


if __name__ == "__main__":
    print(describe(), flush=True)
    sys.exit(main())

"""Trains the bundled experience beside the recipe, on drawings unknown to it: python -m benchmarks.experience_trained.

    ...             resumes: trainings that are in the CSV are not done again; the table is written at the end
    ... --quick     two epochs of two configurations; writes no result file

A search of `baseline` from scratch begins with what was best of it on doodles (experience.py). The recorded tables hold
one training of each configuration, so what is gained on them can be their noise. Here each is trained on fresh seeds,
on classes of Sketchy that no table has; and so is what was best of SqueezeNet with ImageNet weights on Quick, Draw!,
which is not shipped because of what was found here. Accuracy alone is measured, so the machine may do other things.
"""

import argparse
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import torch

from benchmarks.curves.record import MAX_EPOCHS, SKETCHY, Drawings, Recording, build_first, load_splits
from benchmarks.curves.tasks import PretrainedTable
from benchmarks.experience import NUM_SHIPPED, find_best, gain_text, load
from benchmarks.machine import read_rows, result_path, write_result
from benchmarks.real_weights import write_weights
from benchmarks.recipe_parts import measured_recipe
from tune_sketch.config.seeds import derive_seed
from tune_sketch.events import Config
from tune_sketch.samplers.experience import read_experience
from tune_sketch.samplers.warm_start import adapt
from tune_sketch.search_spaces import configuration_of
from tune_sketch.storage.facts import EarlierTrial
from tune_sketch.storage.files import write_csv
from tune_sketch.trainables.batches import TrainingSplits
from tune_sketch.trainables.training import fit

NUM_CLASSES = 60  # the last ones; the tables have the first
RECIPE = "the recipe"
MEAN = "all known, mean"
COLUMNS = ("network", "what", "seed", "epoch", "val_top1")


class Case(NamedTuple):
    """A network, the side of its drawings, and how often each configuration is trained."""

    network: str
    image_px: int
    is_pretrained: bool
    num_seeds: int

    @property
    def recording(self) -> Recording:
        names = sorted(path.name for path in Path(SKETCHY).iterdir() if path.is_dir())
        drawings = Drawings(SKETCHY, tuple(names[-NUM_CLASSES:]), 25, 0, 0)
        return Recording(self.network, self.image_px, self.is_pretrained, {"": drawings})


CASES = (Case("baseline", 28, False, 5), Case("squeezenet1_1", 48, True, 5))


def list_configurations(case: Case) -> dict[str, Config]:
    """Sampled parameters of today's recipe and of each known configuration, as the network's space has them."""
    limits = case.recording.limits
    known = list(read_experience(case.network, case.is_pretrained))
    if not known:
        best = find_best(load(PretrainedTable, "quickdraw"), NUM_SHIPPED)
        known = [EarlierTrial("quickdraw", row, params, MAX_EPOCHS) for row, params in best]
    found = {f"known, training {one.trial}": adapt(one, case.network, limits) for one in known}
    return {RECIPE: measured_recipe(case.network, limits)} | found


def train(case: Case, splits: TrainingSplits, config: Config, seed: int, weights: Path | None) -> list[float]:
    """Validation top-1 after each epoch."""
    seed = derive_seed("experience", seed)
    model = build_first(case.network, splits.num_classes, config, seed, str(weights) if weights else None)
    epochs = fit(model, splits, config, seed=seed, pretrained=case.is_pretrained)
    return [metrics["val_top1"] for metrics, _ in epochs]


def table(rows: list[dict[str, Any]]) -> list[str]:
    """A line for each configuration: its best epoch, and what it gains over the recipe on the same seeds."""
    best: dict[tuple[str, str], dict[int, float]] = {}
    for row in rows:
        of_seeds = best.setdefault((row["network"], row["what"]), {})
        of_seeds[row["seed"]] = max(of_seeds.get(row["seed"], 0.0), 100 * row["val_top1"])
    for network in dict.fromkeys(network for network, _ in best):
        known = [of_seeds for (own, what), of_seeds in best.items() if own == network and what != RECIPE]
        seeds = set.intersection(*(set(of_seeds) for of_seeds in known)) if known else set()
        best[network, MEAN] = {seed: statistics.mean(of_seeds[seed] for of_seeds in known) for seed in sorted(seeds)}
    lines = ["| network | configuration | validation top-1, percent | minus the recipe, points [95 %] | n |"]
    lines += ["|---|---|---|---|---|"]
    for (network, what), of_seeds in sorted(best.items(), key=lambda item: item[0][0]):
        if of_seeds:
            of_recipe = best[network, RECIPE]
            gains = [value - of_recipe[seed] for seed, value in of_seeds.items() if seed in of_recipe]
            gain = "" if what == RECIPE else gain_text(gains, num_digits=1)
            lines.append(
                f"| {network} | {what} | {statistics.mean(of_seeds.values()):.1f} | {gain} | {len(of_seeds)} |"
            )
    return lines


def measure(case: Case, rows: list[dict[str, Any]], path: Path | None) -> None:
    """Append the trainings of a case that are missing, and keep them; path: None for a quick look."""
    configurations, recording = list_configurations(case), case.recording
    splits = load_splits(recording, "")
    with tempfile.TemporaryDirectory() as folder:
        weights = write_weights(Path(folder) / "weights.pth", case.network) if case.is_pretrained else None
        for seed in range(case.num_seeds if path else 1):
            for what, params in list(configurations.items())[: None if path else 2]:
                if any((row["network"], row["what"], row["seed"]) == (case.network, what, seed) for row in rows):
                    continue
                config = configuration_of(case.network, params, recording.limits)
                values = train(case, splits, config | {"epochs": MAX_EPOCHS if path else 2}, seed, weights)
                for epoch, value in enumerate(values, start=1):
                    rows.append(dict(zip(COLUMNS, (case.network, what, seed, epoch, value), strict=True)))
                if path:
                    write_csv(path, COLUMNS, rows)
                print(f"{case.network}: {what}, seed {seed}: {100 * max(values):.1f} %", flush=True)


def main() -> int:
    """Train what is missing, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a look that it runs; writes no result file")
    parser.add_argument("--network", nargs="+", choices=[case.network for case in CASES], help="these alone")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    path = result_path("experience_trained", ".csv")
    known = [] if arguments.quick else read_rows(path)
    rows = [row | {"seed": int(row["seed"]), "val_top1": float(row["val_top1"])} for row in known]
    for case in CASES:
        if arguments.network is None or case.network in arguments.network:
            measure(case, rows, None if arguments.quick else path)
    lines = [
        f"Sketchy, its last {NUM_CLASSES} classes of 25, 60 % of the drawings for training and 40 % for validation, by",
        f"photo; {MAX_EPOCHS} epochs, of which the best counts. Known: the best of `baseline` from scratch on doodles,",
        "with the head, the warm-up and the averaging of the recipe; the best of SqueezeNet with ImageNet weights on",
        "Quick, Draw!. The first are shipped. An interval is Student's t over seeds, on one split.",
        "",
        *table(rows),
    ]
    if not arguments.quick:
        write_result("experience_trained", "What is best on other drawings, trained beside the recipe", lines)
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())

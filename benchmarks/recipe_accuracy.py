"""Whether the baseline ends as well by our training as by the ordinary recipe: validation top-1 over seeds, in pairs.

python -m benchmarks.recipe_accuracy [--quick]     one thread, no Ray; the speed is against_recipe's
"""

import argparse
import math
import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks.against_recipe import our_job, prepare
from benchmarks.machine import describe, result_path, write_result
from benchmarks.recipe import recipe_epochs
from tune_sketch.storage.files import write_csv
from tune_sketch.trainables.job import start

PER_CLASS, NUM_EPOCHS, NUM_SEEDS = 60, 12, 12
# Files shrunk beforehand, which the recipe itself makes of large ones: two seeds that were tried gave the same top-1.
RECIPE = "recipe on small files"
LEAST_T = -2.0  # of the mean difference in its standard errors: under it ours would be worse than by chance


def main() -> int:
    """Measure, write the result, print the difference; 1 when ours is worse than chance explains."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="three seeds, fewer epochs; writes no result file")
    quick = parser.parse_args().quick
    print(describe(), flush=True)
    num_epochs, num_seeds = (4, 3) if quick else (NUM_EPOCHS, NUM_SEEDS)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        job = prepare("baseline", Path(folder) / "data", PER_CLASS, num_epochs) | {"num_threads": 1, "num_workers": 0}
        for job["seed"] in range(num_seeds):
            *_, (recipe, _, _) = recipe_epochs(job | {"folder": job["folders"][RECIPE]})
            epochs, _ = start(our_job(job))
            *_, (ours, _) = epochs
            rows.append({"seed": job["seed"], "recipe": recipe["val_top1"], "ours": ours["val_top1"]})
            print(rows[-1], flush=True)
        num_train, num_validation = len(job["train"]), len(job["validation"])
    lines = [
        f"Validation top-1 after {num_epochs} epochs over {num_train} doodles of 20 classes at 64 px, on",
        f"{num_validation} others, n = {num_seeds} seeds; same network, split, batches of 64, adam. First weights,",
        "orders and augmentations differ by chance, zoom also in kind: torchvision zooms both axes alike.",
    ]
    gains = [row["ours"] - row["recipe"] for row in rows]
    mean, error = statistics.mean(gains), statistics.stdev(gains) / math.sqrt(num_seeds)
    means = {way: statistics.mean(row[way] for row in rows) for way in ("ours", "recipe")}
    said = f"ours {means['ours']:.3f}, recipe {means['recipe']:.3f}: {mean:+.3f}, standard error {error:.3f} "
    said += f"[{min(gains):+.3f}, {max(gains):+.3f}], n = {num_seeds} seeds, at least {LEAST_T:g} standard errors"
    print("\n".join(lines))
    if not quick:
        write_csv(result_path("recipe_accuracy", ".csv"), rows[0], rows)
        write_result("recipe_accuracy", "As accurate as the ordinary recipe", [*lines, "", said])
    print(said)
    return int(mean < LEAST_T * error)


if __name__ == "__main__":
    sys.exit(main())

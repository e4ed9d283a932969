"""Real searches on Sketchy drawings: every strategy has the same number of epochs, its choice is trained anew.

    python -m benchmarks.strategies_real [--quick] [--minutes 5]

Rows go to results/strategies_real-cpu.csv as they are measured; a second start goes on with what is missing. Each
search stops when its TRAININGS are spent, counted in epochs; its best trial (the first of `rank_trials`) is trained on
fresh seeds, and these networks are scored on the test split, which the search has not seen. Within a repetition all
strategies have the same drawings in the same splits.
"""

import argparse
import io
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.machine import describe, read_rows, result_path, write_result
from tune_sketch.backend.jobs import job_of
from tune_sketch.backend.ray_backend import RayBackend
from tune_sketch.callbacks.progress import Progress
from tune_sketch.config.flags import make_settings
from tune_sketch.config.plan import expected_epochs, prepare_inputs
from tune_sketch.config.seeds import derive_seed
from tune_sketch.events import Job, Trial
from tune_sketch.new_run import create_run
from tune_sketch.run import open_run, search_trials
from tune_sketch.samplers import SAMPLERS
from tune_sketch.schedulers.rungs import rank_trials
from tune_sketch.schedulers.stop_signal import StopSignal
from tune_sketch.storage.files import write_csv
from tune_sketch.storage.journal import Journal
from tune_sketch.storage.lock import lock
from tune_sketch.storage.run_directory import RunDirectory

SKETCHY = Path(__file__).parents[2] / "shared" / "data" / "sketchy-125x25"
DEFAULT = next(iter(SAMPLERS))
REPETITIONS = 6
SEEDS = 3  # fresh ones for each choice
TRAININGS = 16  # the budget of a search, in trainings of full length
COLUMNS = (
    *("repetition", "strategy", "num_epochs", "num_trials", "trial", "trial_epochs", "val_top1_in_search"),
    *("val_top1", "test_top1", "num_seeds", "search_seconds"),
)
# One worker: then the same search gives the same rows again. One core: other programs may have the rest.
FULL: dict[str, Any] = {"classes": 60, "image_px": 28, "max_epochs": 18, "protocol": "small", "num_samples": 2000}
FULL |= {"max_concurrent": 1, "cpus_per_trial": 1.0}
QUICK = FULL | {"classes": 6, "max_epochs": 9}
LEAST_RATIO = 1.0  # of the mean test top-1: the direction; --quick, of one repetition, misses it often by chance


class EpochLimit(StopSignal):
    """Ends a search after a number of epochs of all trials together."""

    def __init__(self, run: RunDirectory, journal: Journal, num_epochs: int) -> None:
        super().__init__(run, lambda text: None)
        self.journal, self.num_epochs = journal, num_epochs

    def requested(self) -> bool:
        if not self.reason and sum(len(trial.epochs) for trial in self.journal.trials) >= self.num_epochs:
            self.request(f"{self.num_epochs} epochs")
        return super().requested()


def cut(trials: list[Trial], num_epochs: int) -> list[Trial]:
    """The trials as they were when a given number of epochs had been recorded."""
    times = sorted(epoch.recorded_at for trial in trials for epoch in trial.epochs)
    last = times[min(num_epochs, len(times)) - 1]
    earlier = []
    for trial in trials:
        epochs = tuple(epoch for epoch in trial.epochs if epoch.recorded_at <= last)
        whole = len(epochs) == len(trial.epochs)
        earlier.append(replace(trial, epochs=epochs, status=trial.status if whole else "stopped"))
    return earlier


def retrain(job: Job) -> tuple[float, float]:
    """(validation top-1, test top-1) of one training to its end."""
    from tune_sketch.data import open_data
    from tune_sketch.data.splits import read_splits
    from tune_sketch.trainables.evaluation import evaluate, predict_probabilities
    from tune_sketch.trainables.job import open_job
    from tune_sketch.trainables.training import fit

    model, splits, device = open_job(job)
    for metrics, _ in fit(model, splits, job.config, seed=job.seed, device=device):
        value = metrics["val_top1"]
    data = open_data(Path(job.data))
    test = read_splits(Path(job.splits), data).test
    probabilities = predict_probabilities(model, data.images[test], device=device, invert=job.invert, pretrained=False)
    return value, evaluate(probabilities, data.labels[test])["top1"]


def measure(strategy: str, repetition: int, choices: dict[str, Any], num_seeds: int, folder: Path) -> dict[str, Any]:
    """One row: a search with its budget of epochs, then its choice on fresh seeds."""
    import ray

    more = {"passes": 50} if strategy == "one-factor" else {}  # until the budget is spent
    settings = make_settings("baseline", choices | more | {"strategy": strategy, "seed": repetition})
    run = create_run(folder / f"{strategy}-{repetition}", settings, prepare_inputs(settings), None)
    num_epochs = TRAININGS * settings.max_epochs
    with lock(run), open_run(run, RayBackend(), None) as work:
        work.screen = Progress(settings.num_samples, expected_epochs(settings), 0.0, file=io.StringIO())
        work.stop = EpochLimit(run, work.journal, num_epochs)
        started = time.monotonic()
        search_trials(work)
        seconds = time.monotonic() - started
        trials = cut(work.journal.trials, num_epochs)
        best = rank_trials(trials)[0]
        workers = work.allocate(settings.num_samples)
        fresh = [replace(best, seed=derive_seed(repetition, "fresh", index)) for index in range(num_seeds)]
        task = ray.remote(num_cpus=workers.cpus)(retrain)
        values = [ray.get(task.remote(job_of(trial, run, work.facts, workers))) for trial in fresh]
    return {
        "repetition": repetition,
        "strategy": strategy,
        "num_epochs": sum(len(trial.epochs) for trial in trials),
        "num_trials": sum(bool(trial.epochs) for trial in trials),
        "trial": best.number,
        "trial_epochs": len(best.epochs),
        "val_top1_in_search": best.epochs[-1].val_top1,
        "val_top1": statistics.fmean(value[0] for value in values),
        "test_top1": statistics.fmean(value[1] for value in values),
        "num_seeds": num_seeds,
        "search_seconds": round(seconds, 1),
    }


def summarise(rows: list[dict[str, Any]]) -> tuple[list[str], list[str], bool]:
    """(lines of the table, ratios in words, whether the default's mean ratio to each is at least LEAST_RATIO)."""
    tops = {(r["strategy"], int(r["repetition"])): float(r["test_top1"]) for r in rows}
    repetitions = sorted({repetition for _, repetition in tops})
    lines = [
        "| strategy | test top-1 of the choice, %: mean (sd) | by repetition | default minus it, points: mean (sd) | "
        "trials | n |",
        "|---|---|---|---|---|---|",
    ]
    ratios, passed = [], True
    for strategy in SAMPLERS:
        own_rows = [row for row in rows if row["strategy"] == strategy]
        values = [100 * tops[strategy, r] for r in repetitions if (strategy, r) in tops]
        both = [r for r in repetitions if (strategy, r) in tops and (DEFAULT, r) in tops]
        if not values:
            continue
        gains = [100 * (tops[DEFAULT, r] - tops[strategy, r]) for r in both]
        trials = ", ".join(str(row["num_trials"]) for row in own_rows)
        each = ", ".join(f"{value:.1f}" for value in values)
        gain = mean_and_deviation(gains, "+.1f") if strategy != DEFAULT else ""
        lines.append(
            f"| {strategy} | {mean_and_deviation(values, '.1f')} | {each} | {gain} | {trials} | {len(values)} |"
        )
        if strategy != DEFAULT and both:
            quotients = [tops[DEFAULT, r] / tops[strategy, r] for r in both]
            ratios.append(f"{DEFAULT} / {strategy} {mean_and_deviation(quotients, '.2f')}, n = {len(both)}")
            passed = passed and statistics.fmean(quotients) >= LEAST_RATIO
    return lines, ratios, passed


def mean_and_deviation(values: list[float], form: str) -> str:
    """Mean and, in brackets, sample standard deviation."""
    deviation = f" ({statistics.stdev(values):{form.lstrip('+')}})" if len(values) > 1 else ""
    return f"{statistics.fmean(values):{form}}{deviation}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one small repetition on doodles; writes no result file")
    parser.add_argument("--minutes", type=float, help="begin no search that would end later; the next start goes on")
    arguments = parser.parse_args()
    path = result_path("strategies_real", ".csv")
    rows = [] if arguments.quick else read_rows(path)
    done = {(row["strategy"], int(row["repetition"])) for row in rows}
    repetitions = range(1 if arguments.quick else REPETITIONS)
    missing = [(s, r) for r in repetitions for s in SAMPLERS if (s, r) not in done]
    choices = QUICK if arguments.quick else FULL | {"data": str(SKETCHY)}
    started, longest = time.monotonic(), 0.0
    with tempfile.TemporaryDirectory() as folder:
        while missing:
            begun = time.monotonic()
            if arguments.minutes and begun + 1.2 * longest > started + 60 * arguments.minutes:
                break
            strategy, repetition = missing.pop(0)
            rows.append(measure(strategy, repetition, choices, 1 if arguments.quick else SEEDS, Path(folder)))
            longest = max(longest, time.monotonic() - begun)
            print(rows[-1], flush=True)
            if not arguments.quick:
                write_csv(path, COLUMNS, rows)
    lines, ratios, passed = summarise(rows)
    said = f"{'; '.join(ratios)} (test top-1: mean of paired ratios, standard deviation in brackets; at least "
    said += f"{LEAST_RATIO})"
    print("\n".join(lines))
    if not arguments.quick:
        about = (
            f"`baseline` on the first {FULL['classes']} classes of sketchy-125x25 at {FULL['image_px']} px, trainings "
            f"of at most {FULL['max_epochs']} epochs, {TRAININGS * FULL['max_epochs']} epochs for each search on one "
            f"worker; each choice on {SEEDS} fresh seeds. One-factor repeats its passes until its epochs are spent."
        )
        about += f" {len(missing)} searches are missing; start again to go on." if missing else ""
        write_result("strategies_real", __doc__.splitlines()[0], [about, "", *lines, "", said])
    print(f"{said}; {describe()}")
    return 3 if missing else 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())

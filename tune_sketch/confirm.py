"""Retrains the study's configuration and the best found on fresh seeds, then reads the test split: confirm RUN."""

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tune_sketch.backend.execution import Stopping, Workers, make_job, place, run_trainings, start_ray
from tune_sketch.callbacks.progress import Progress
from tune_sketch.config.settings import SearchSettings, check_at_least
from tune_sketch.retraining.results import results_lines, write_results
from tune_sketch.schedulers.rungs import rank_trials, rung_epochs
from tune_sketch.storage.journal import Journal, JournalError, Record
from tune_sketch.storage.run_directory import RunDirectory, own, write_tables


def choose_finalists(trials: Sequence[Record], confirm_top: int) -> list[Record]:
    """The study's configuration (trial 0) and the best `confirm_top` others that were trained at all."""
    others = [record for record in rank_trials(trials) if record.number != 0]
    return [trials[0], *others[:confirm_top]]


def confirm(
    run: RunDirectory,
    search: dict[str, Any],
    settings: SearchSettings,
    journal: Journal,
    workers: Workers,
    stopping: Stopping,
    progress: Progress,
) -> None:
    """Retrain the finalists, choose on validation, then score the test split, once per retrained network."""
    from tune_sketch.backend.scheduler import JournaledASHA
    from tune_sketch.callbacks.cleanup import Housekeeping
    from tune_sketch.retraining.racing import RaceSearcher

    rungs = rung_epochs(settings.grace_epochs, settings.max_epochs, settings.reduction_factor)
    finalists = choose_finalists(journal.trials, settings.confirm_top)
    progress.print_line(
        f"retraining {len(finalists)} finalists on fresh seeds, {settings.confirm_seeds} each on average: "
        + ", ".join(f"trial {record.number}" for record in finalists)
    )
    progress.watch(list(journal.retrainings.values()))
    progress.num_confirm_epochs = settings.confirm_seeds * sum(record.config["epochs"] for record in finalists)

    def job(record: Record) -> dict[str, Any]:
        return make_job(record, run, search, settings, workers.num_threads, workers.gpus)

    searcher = RaceSearcher(
        journal,
        finalists,
        job,
        lambda: not stopping.asked() and workers.have_room(len(searcher.handed_out)),
        confirm_seeds=settings.confirm_seeds,
        seed=settings.seed,
    )
    if searcher.unfinished or searcher.missing():
        scheduler = JournaledASHA(
            journal,
            rungs,
            settings.reduction_factor,
            max_failures=settings.max_failures,
            watchers=[progress, Housekeeping(run, journal, stopping)],
            stop_asked=stopping.asked,
            save_error=run.save_error,
            say=progress.print_line,
        )
        run_trainings(searcher, scheduler, run, workers)
    if stopping.by_signal:
        for record in journal.retrainings.values():
            if record.is_unfinished:
                journal.park(record)
        return
    finish(run, search, settings, journal, workers)


def finish(
    run: RunDirectory, search: dict[str, Any], settings: SearchSettings, journal: Journal, workers: Workers
) -> None:
    """Choose on validation, then score every retrained network on the test split that has not been, and write it."""
    import ray

    from tune_sketch.trainables.trial import keep_weights, score_on_test

    completed = [record for record in journal.retrainings.values() if record.status == "completed"]
    if not completed:
        reasons = sorted({record.error for record in journal.retrainings.values() if record.error})
        raise ValueError(f"no finalist could be retrained: {'; '.join(reasons)} (tracebacks in {run.path / 'errors'})")
    run.retrained.mkdir(exist_ok=True)
    for record in completed:
        keep_weights(run.checkpoints(record.key), run.retrained / f"{record.key}.pt")
    chosen = choose_winner(completed)
    best_seed = max((r for r in completed if r.number == chosen), key=lambda r: (r.epochs[-1]["val_top1"], r.key))
    unread = [record for record in completed if record.test is None]
    if unread:
        # The choice is committed before the test split is touched, and every reading of it is counted.
        readings = journal.notes().get("test_readings", [])
        journal.note("test_readings", [*readings, {"chosen": chosen, "networks": [r.key for r in unread]}])
        score = ray.remote(num_cpus=workers.cpus, num_gpus=min(1.0, workers.gpus))(score_on_test)
        futures = {}
        for record in unread:
            job = make_job(record, run, search, settings, workers.num_threads, workers.gpus)
            futures[score.remote(job, str((run.retrained / f"{record.key}.pt").absolute()))] = record
        while futures:
            (future,), _ = ray.wait(list(futures), num_returns=1)
            metrics, probabilities = ray.get(future)
            record = futures.pop(future)
            np.savez_compressed(run.retrained / f"{record.key}-test.npz", probabilities=probabilities)
            journal.record_test(record, metrics)
    write_results(run, search, settings, journal, chosen, best_seed)
    for record in completed:
        run.remove_checkpoints(record)


def choose_winner(completed: Sequence[Record]) -> int:
    """The finalist with the highest mean validation top-1 over its seeds; the earlier trial where two are equal."""
    values: dict[int, list[float]] = {}
    for record in completed:
        values.setdefault(record.number, []).append(record.epochs[-1]["val_top1"])
    return max(sorted(values), key=lambda number: math.fsum(values[number]) / len(values[number]))


def main(argv: list[str] | None = None) -> int:
    """The command: confirm an existing run again, with more finalists or seeds if asked."""
    parser = argparse.ArgumentParser(
        prog="python -m tune_sketch.confirm",
        allow_abbrev=False,
        description="Retrain the best configurations of a run on fresh seeds and score them on the test split.",
    )
    parser.add_argument("run", type=Path, help="a run directory")
    parser.add_argument("--confirm-top", type=int, metavar="K", help="retrain the K best, beside the study's")
    parser.add_argument("--confirm-seeds", type=int, metavar="N", help="seeds for each finalist")
    parser.add_argument("--storage", metavar="URL", help="the study's database, if it needs a password")
    parser.add_argument("--address", metavar="A", help="a Ray cluster: auto, or its address")
    arguments = parser.parse_args(argv)
    from tune_sketch.storage.resume import change_settings, check_data

    run = RunDirectory(arguments.run)
    try:
        names = ("confirm_top", "confirm_seeds")
        changes = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
        for name, value in changes.items():
            check_at_least(name, value, 1 if name == "confirm_seeds" else 0)
        run.read_search()
        with own(run):
            change_settings(run, changes)
            check_data(run)
            search, settings = run.read_search(), run.read_settings()
            journal = run.open_journal(arguments.storage)
            if not any(record.epochs for record in journal.trials):
                raise ValueError(f"{run.path} has no trained trial to confirm: go on with search --resume {run.path}")
            progress = Progress(0, 0.0, 0.0)
            start_ray(arguments.address)
            stopping = Stopping(run, progress.print_line)
            workers = place(
                settings,
                settings.num_retrainings,
                trials_per_gpu=search["sittings"][-1].get("packing", {}).get("trials_per_gpu", 1),
                may_grow=arguments.address is not None,
            )
            confirm(run, search, settings, journal, workers, stopping, progress)
            progress.show_live("")
            write_tables(run, journal)
            if stopping.by_signal:
                return 130
            from tune_sketch.analysis.report import write_report

            write_report([run.path], run.report_html)
        print("\n".join(results_lines(run)))
    except (ValueError, JournalError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

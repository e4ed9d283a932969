"""Finds the best way to train: python -m tune_sketch.search --model resnet50."""

import datetime
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tune_sketch.backend.execution import Stopping, Workers, make_job, place, run_trainings, start_ray
from tune_sketch.backend.gpu_sharing import find_trials_per_gpu, placement_text
from tune_sketch.callbacks.progress import Progress
from tune_sketch.config.flags import build_parser, check_combination, given_choices, make_settings, read_models
from tune_sketch.config.plan import (
    Inputs,
    describe_data,
    describe_machine,
    expected_hours_lines,
    plan_lines,
    prepare_inputs,
)
from tune_sketch.config.settings import SearchSettings
from tune_sketch.schedulers.rungs import expected_epochs, rung_epochs
from tune_sketch.search_spaces import SPACES, configuration_of, study_configuration
from tune_sketch.storage.journal import Journal, JournalError, Record, mask_password
from tune_sketch.storage.run_directory import RunDirectory, own, write_json, write_tables


def main(argv: list[str] | None = None) -> int:
    """The command. Exit code 0: done; 2: something that the user can mend; 130: interrupted, resumable."""
    arguments = build_parser().parse_args(argv)
    try:
        check_combination(arguments)
        choices = given_choices(arguments)
        if arguments.resume is not None:
            return resume(RunDirectory(Path(arguments.resume)), choices, arguments.storage, arguments.address)
        runs = []
        for model in read_models(arguments.model):
            settings = make_settings(model, choices)
            inputs = prepare_inputs(settings)
            print("\n".join(plan_lines(settings, inputs)), file=sys.stderr)
            if arguments.dry_run:
                print_expected_hours(settings, inputs, arguments.address)
                continue
            several = arguments.model == ["all"] or len(arguments.model) > 1
            name = choose_name(arguments.name, settings, several)
            run = create_run(Path(arguments.runs_dir or "runs") / name, settings, inputs, arguments.storage)
            runs.append(run)
            code = carry_out(run, arguments.address, arguments.storage)
            if code != 0:
                return code
        if len(runs) > 1:
            from tune_sketch.analysis.report import write_report

            print(f"all models    {write_report([r.path for r in runs], runs[0].path.parent / 'report.html')}")
        return 0
    except (ValueError, JournalError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # before Stopping listens: while data is decoded or Ray starts
        print("\ninterrupted; --resume goes on where a run directory is named above", file=sys.stderr)
        return 130


def choose_name(given: str | None, settings: SearchSettings, several: bool) -> str:
    """The run directory's name: given (with the model when there are several), or model, data and time."""
    if given is not None:
        return f"{given}-{settings.model}" if several else given
    data = "".join(c if c.isalnum() or c in "._" else "-" for c in Path(settings.data).name)[:40].strip("-.") or "data"
    return f"{settings.model}-{data}-{datetime.datetime.now():%Y%m%d-%H%M%S}"


def create_run(path: Path, settings: SearchSettings, inputs: Inputs, storage: str | None) -> RunDirectory:
    """Make a complete run directory or none: it is built beside its place and renamed.

    Raises ValueError when the name is taken.
    """
    from tune_sketch.data.splits import write_splits
    from tune_sketch.samplers.warm_start import read_earlier

    if path.exists():
        raise ValueError(f"{path} exists already: choose another --name, or go on with it by --resume {path}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".new-") as folder:
        new = RunDirectory(Path(folder) / path.name)
        new.path.mkdir()
        write_splits(new.splits_csv, inputs.data, inputs.splits)
        study_name = path.name if storage is None else f"{path.name}-{datetime.datetime.now():%Y%m%d%H%M%S}"
        search: dict[str, Any] = {
            "study_name": study_name,
            "storage": None if storage is None else mask_password(storage),
            "settings": settings.to_json(),
            "data": describe_data(settings, inputs),
            "weights": {
                "path": inputs.weights_path,
                "description": inputs.weights_description,
                "pretrained": inputs.pretrained,
            },
            "warm_start": read_earlier(settings.warm_start),
            "sittings": [],
        }
        write_json(new.search_json, search)
        Journal(storage or f"sqlite:///{new.study_db}", study_name, create=True).close()
        os.rename(new.path, path)
    return RunDirectory(path)


def resume(run: RunDirectory, changes: dict[str, Any], storage: str | None, address: str | None) -> int:
    """Go on with a run directory, extended by the changed settings."""
    from tune_sketch.storage.resume import change_settings, check_data

    run.read_search()
    with own(run):
        change_settings(run, changes)
        check_data(run)
    return carry_out(run, address, storage)


def carry_out(run: RunDirectory, address: str | None, storage: str | None = None) -> int:
    """Search, confirm, report: from a run directory that holds the settings to one that holds the results."""
    with own(run):
        search, settings = run.read_search(), run.read_settings()
        search["sittings"].append(describe_machine() | {"started_at": time.time(), "address": address})
        write_json(run.search_json, search)
        journal = run.open_journal(storage)
        rungs = rung_epochs(settings.grace_epochs, settings.max_epochs, settings.reduction_factor)
        num_confirm_epochs = settings.num_retrainings * settings.max_epochs
        progress = Progress(settings.num_samples, expected_epochs(settings), num_confirm_epochs)
        progress.watch([*journal.trials, *journal.retrainings.values()])
        progress.print_line(f"run directory  {run.path}\nTensorBoard    tensorboard --logdir {run.tensorboard}")
        start_ray(address)
        stopping = Stopping(run, progress.print_line)
        packing = search["sittings"][-1]["packing"] = find_trials_per_gpu(run, search, settings)
        write_json(run.search_json, search)
        at = {"trials_per_gpu": packing["trials_per_gpu"], "may_grow": address is not None}
        workers = place(settings, settings.num_samples, **at)
        progress.print_line(f"placement      {placement_text(workers, packing)}")
        search_trials(run, search, settings, journal, rungs, workers, stopping, progress)
        # Here, because the report's plotting takes a second to import, for which no trial need wait.
        from tune_sketch.analysis.report import write_report
        from tune_sketch.confirm import confirm
        from tune_sketch.retraining.results import results_lines

        if not stopping.by_signal:
            stopping.clear()
            workers = place(settings, settings.num_retrainings, **at)
            confirm(run, search, settings, journal, workers, stopping, progress)
        progress.show_live("")
        write_tables(run, journal)
        write_report([run.path], run.report_html)
        if stopping.by_signal:
            print(f"stopped. Resume with:  python -m tune_sketch.search --resume {run.path}", file=sys.stderr)
            return 130
        print("\n".join(results_lines(run)))
    return 0


def search_trials(
    run: RunDirectory,
    search: dict[str, Any],
    settings: SearchSettings,
    journal: Journal,
    rungs: list[int],
    workers: Workers,
    stopping: Stopping,
    progress: Progress,
) -> None:
    """Run the search's trials to their end, or until it is time to stop."""
    from tune_sketch.backend.scheduler import JournaledASHA
    from tune_sketch.callbacks.budget import Budget, wall_seconds
    from tune_sketch.callbacks.cleanup import Housekeeping
    from tune_sketch.callbacks.tensorboard import TensorBoardLog
    from tune_sketch.samplers.strategies import STRATEGIES
    from tune_sketch.samplers.warm_start import adapt, origin_of
    from tune_sketch.search_spaces.common import SpaceLimits

    limits = SpaceLimits(max_epochs=settings.max_epochs, pretrained=search["weights"]["pretrained"])

    def job(record: Record) -> dict[str, Any]:
        return make_job(record, run, search, settings, workers.num_threads, workers.gpus)

    if settings.time_budget_seconds is not None:
        stopping.deadline = time.time() + settings.time_budget_seconds - wall_seconds(search, journal.trials)
    housekeeping = Housekeeping(run, journal, stopping)
    budget = Budget(
        journal.trials,
        rungs,
        gpus=workers.gpus,
        gpu_hours=settings.gpu_hours,
        min_gain=settings.min_gain,
        can_forecast=settings.strategy != "one-factor",  # whose trials are not alike
        end_search=lambda reason: stopping.ask(f"{reason}; each training finishes its epoch"),
        say=progress.print_line,
    )
    more = {"passes": settings.passes} if settings.strategy == "one-factor" else {}
    searcher = STRATEGIES[settings.strategy](
        journal,
        SPACES[settings.model],
        limits,
        rungs,
        seed=settings.seed,
        num_samples=settings.num_samples,
        first=[study_configuration(settings.model, limits)],
        earlier=[(adapt(taken, settings.model, limits), origin_of(taken)) for taken in search.get("warm_start", [])],
        job=job,
        may_ask=lambda: not stopping.asked() and workers.have_room(len(searcher.handed_out)),
        **more,
    )
    scheduler = JournaledASHA(
        journal,
        rungs if searcher.stops_trials else rungs[-1:],
        settings.reduction_factor,
        max_failures=settings.max_failures,
        watchers=[progress, TensorBoardLog(run.tensorboard, journal.trials), housekeeping, budget],
        stop_asked=stopping.asked,
        save_error=run.save_error,
        say=progress.print_line,
    )
    if (len(journal.trials) < settings.num_samples or searcher.unfinished) and not stopping.asked():
        run_trainings(searcher, scheduler, run, workers)
    for record in journal.trials:
        if record.is_unfinished:
            journal.park(record)
    write_tables(run, journal)
    if not any(record.epochs for record in journal.trials) and not stopping.by_signal:
        reasons = sorted({record.error for record in journal.trials if record.error}) or [stopping.reason]
        raise ValueError(f"no trial trained a single epoch: {'; '.join(reasons)} (tracebacks in {run.path / 'errors'})")


def print_expected_hours(settings: SearchSettings, inputs: Inputs, address: str | None) -> None:
    """Time one epoch of the study's configuration and say what the plan costs."""
    from tune_sketch.trainables.trial import time_epoch

    limits = inputs.limits(settings)
    config = configuration_of(settings.model, study_configuration(settings.model, limits), limits)
    start_ray(address)
    workers = place(settings, settings.num_samples, may_grow=address is not None)
    import ray

    measure = ray.remote(num_cpus=workers.cpus, num_gpus=workers.gpus)(time_epoch)
    job = {
        "model": settings.model,
        "config": config,
        "seed": settings.seed,
        "data_cache": inputs.published,
        "splits": (inputs.splits.train, inputs.splits.validation),
        "weights_path": inputs.weights_path,
        "pretrained": inputs.pretrained,
        "invert": settings.invert,
        "num_threads": workers.num_threads,
        "num_processes": settings.num_processes,
        "gpus": workers.gpus,
    }
    seconds = ray.get(measure.remote(job))
    print("\n".join(expected_hours_lines(settings, seconds, workers.num_workers)), file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())

"""Finds the best way to train: python -m tune_sketch.search --model resnet50."""

import argparse
import sys
import tempfile
import types
from pathlib import Path
from typing import Any

from tune_sketch.config.flags import (
    build_parser,
    check_combination,
    given_choices,
    make_settings,
    read_models,
    resolve_choices,
)
from tune_sketch.config.settings import Settings
from tune_sketch.storage.history import JournalError


def main(argv: list[str] | None = None) -> int:
    """The command. Exit code 0: done; 2: something that the user can mend; 130: interrupted, resumable."""
    arguments = build_parser().parse_args(argv)
    try:
        check_combination(arguments)
        if arguments.resume is not None:
            return resume(arguments)
        return search_models(arguments)
    except (ValueError, JournalError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # before StopSignal listens: while data is decoded or Ray starts
        print("\ninterrupted; --resume goes on where a run directory is named above", file=sys.stderr)
        return 130


def search_models(arguments: argparse.Namespace) -> int:
    """A search of each model, and a joint report of several."""
    from tune_sketch.api import default_name
    from tune_sketch.backend.ray_backend import RayBackend
    from tune_sketch.config.plan import plan_lines, prepare_inputs
    from tune_sketch.run import create_run, run_search

    backend, choices, runs = RayBackend(arguments.address), given_choices(arguments), []
    several = arguments.model == ["all"] or len(arguments.model or ()) > 1
    for model in read_models(arguments.model):
        settings = make_settings(model, choices)
        inputs = prepare_inputs(settings)
        print("\n".join(plan_lines(settings, inputs)), file=sys.stderr)
        if arguments.dry_run:
            print_expected_hours(settings, inputs, backend)
            continue
        name = default_name(settings) if arguments.name is None else arguments.name + f"-{model}" * several
        run = create_run(Path(arguments.runs_dir or "runs") / name, settings, inputs, arguments.storage)
        runs.append(run)
        if not run_search(run, backend, arguments.storage):
            return 130
    if len(runs) > 1:
        from tune_sketch.analysis.report import write_report

        report = runs[0].path.parent / "report.html"
        print(f"all models    {write_report([r.path for r in runs], report, arguments.storage)}")
    return 0


def resume(arguments: argparse.Namespace) -> int:
    """Go on with a run directory, extended by the changed settings."""
    from tune_sketch.backend.ray_backend import RayBackend
    from tune_sketch.run import run_search
    from tune_sketch.storage.lock import lock
    from tune_sketch.storage.resume import change_run, check_data
    from tune_sketch.storage.run_directory import RunDirectory

    run = RunDirectory(Path(arguments.resume))
    if not run.search_json.is_file():
        raise ValueError(f"{run.path} is not a run directory: it has no search.json")
    with lock(run):
        change_run(run, resolve_choices(given_choices(arguments)))
        check_data(run)
    return 0 if run_search(run, RayBackend(arguments.address), arguments.storage) else 130


def print_expected_hours(settings: Settings, inputs: Any, backend: Any) -> None:
    """Time one epoch of the paper's configuration and say what the plan costs."""
    from tune_sketch.backend.jobs import job_of
    from tune_sketch.config.plan import describe_data, expected_hours_lines
    from tune_sketch.data.splits import write_splits
    from tune_sketch.events import Trial
    from tune_sketch.search_spaces import configuration_of, paper_configuration
    from tune_sketch.storage.facts import Facts, GpuSharing
    from tune_sketch.storage.run_directory import RunDirectory

    limits = inputs.limits(settings)
    config = configuration_of(settings.model, paper_configuration(settings.model, limits), limits)
    backend.start()
    workers = backend.allocate(settings, settings.num_samples, GpuSharing(1))
    with tempfile.TemporaryDirectory(prefix="tune_sketch-") as folder:
        run = RunDirectory(Path(folder))
        write_splits(run.splits_csv, inputs.data, inputs.splits)
        facts = Facts("timing", None, settings, describe_data(settings, inputs), inputs.weights)
        seconds = backend.time_epoch(job_of(Trial("timing", 0, config, settings.seed), run, facts, workers), workers)
    print("\n".join(expected_hours_lines(settings, seconds, workers.num_workers)), file=sys.stderr)


class CallableModule(types.ModuleType):
    """This module as `from tune_sketch import search` finds it once it is imported: the function of that name."""

    def __call__(self, *arguments: Any, **more: Any) -> Any:
        from tune_sketch.api import search

        return search(*arguments, **more)


sys.modules[__name__].__class__ = CallableModule

if __name__ == "__main__":
    sys.exit(main())

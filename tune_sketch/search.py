"""Finds the best way to train: python -m tune_sketch.search --model resnet50."""

import argparse
import sys
import time
import types
from functools import partial
from typing import Any

from tune_sketch.config.flags import (
    LISTING,
    build_parser,
    check_combination,
    given_choices,
    list_models,
    make_settings,
    read_models,
)
from tune_sketch.data.screen import hear_sigterm, prepare_screen, print_error
from tune_sketch.storage.history import JournalError

# What works on a search is imported when the flags are known to be right, which then is said at once.


def main(argv: list[str] | None = None) -> int:
    """The command. Exit code 0: done; 2: something that the user can mend; 130: interrupted, resumable."""
    begun_at = time.time()
    arguments = build_parser().parse_args(argv)
    prepare_screen()
    try:
        hear_sigterm()
        check_combination(arguments)
        return search_models(arguments, begun_at) if arguments.resume is None else resume(arguments, begun_at)
    except (ValueError, JournalError, OSError) as error:
        return print_error(error)
    except KeyboardInterrupt:  # before StopSignal listens: while data is decoded
        print("\ninterrupted; --resume goes on where a run directory is named above", file=sys.stderr)
        return 130


def search_models(arguments: argparse.Namespace, begun_at: float) -> int:
    """A search of each model, and a joint report of several."""
    if arguments.model is not None and any(name.startswith(LISTING) for name in arguments.model):
        print("\n".join(list_models(arguments.model)))
        return 0
    models, choices = read_models(arguments.model), given_choices(arguments)
    all_settings = [make_settings(model, choices) for model in models]
    from tune_sketch.backend.ray_backend import RayBackend
    from tune_sketch.config.plan import plan_lines, prepare_inputs
    from tune_sketch.estimate import estimate_lines
    from tune_sketch.new_run import DEFAULT_FOLDER, check_place, make_run, model_name
    from tune_sketch.restart import run_or_restart, runs_begun
    from tune_sketch.run import report_together, run_search

    backend, folder = RayBackend(arguments.address), arguments.runs_dir or DEFAULT_FOLDER
    runs = runs_begun()  # all but the last are finished
    names = [arguments.name and arguments.name + f"-{model_name(model)}" * (len(models) > 1) for model in models]
    check_place(folder, filter(None, names[len(runs) :]), arguments.storage)
    backend.check()
    for number in range(max(0, len(runs) - 1), len(models)):
        settings, name = all_settings[number], names[number]
        if number == len(runs):
            inputs = prepare_inputs(settings)
            print("\n".join(plan_lines(settings, inputs, time.time() - begun_at)), file=sys.stderr)
            if arguments.dry_run:
                print("\n".join(estimate_lines(settings, inputs, backend)), file=sys.stderr)
                continue
            runs.append(make_run(folder, name, settings, inputs, arguments.storage))
        search = partial(run_search, runs[-1], backend, arguments.storage, begun_at)
        if not run_or_restart(search, runs, arguments.address):
            return 130
        begun_at = time.time()  # of the next model, which has as much time
    if len(runs) > 1:
        print(f"all models    {report_together(runs, arguments.storage)}")
    return 0


def resume(arguments: argparse.Namespace, begun_at: float) -> int:
    """Go on with a run directory, extended by the changed settings."""
    from tune_sketch.backend.ray_backend import RayBackend
    from tune_sketch.restart import run_or_restart
    from tune_sketch.run import run_search
    from tune_sketch.storage.resume import prepare_resume, retry_failed
    from tune_sketch.storage.run_directory import RunDirectory

    run, backend = RunDirectory(arguments.resume), RayBackend(arguments.address)
    backend.check()
    prepare_resume(run, given_choices(arguments), arguments.storage)
    if arguments.retry_failed:
        retried = [trial.key for trial in retry_failed(run, arguments.storage)]
        print(f"tried again    {', '.join(retried) or 'nothing: no trial has failed'}", file=sys.stderr)
    search = partial(run_search, run, backend, arguments.storage, begun_at)
    return 0 if run_or_restart(search, [run], arguments.address) else 130


class CallableModule(types.ModuleType):
    """This module as `from tune_sketch import search` finds it once it is imported: the function of that name."""

    def __call__(self, *arguments: Any, **more: Any) -> Any:
        from tune_sketch.api import search

        return search(*arguments, **more)


sys.modules[__name__].__class__ = CallableModule

if __name__ == "__main__":
    sys.exit(main())

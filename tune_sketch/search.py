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
    make_settings_of_each,
    read_models,
)
from tune_sketch.data.screen import hear_sigterm, prepare_screen, print_error
from tune_sketch.storage.history import JournalError

# What works on a search is imported when the flags are known to be right, which then is said at once.


def main(argv: list[str] | None = None) -> int:
    """The command. Exit code 0: done; 2: something that the user can mend; 130: interrupted, resumable."""
    begun_at = time.monotonic()
    arguments = build_parser().parse_args(argv)
    prepare_screen()
    try:
        hear_sigterm()
        check_combination(arguments)
        return begin(arguments, begun_at) if arguments.resume is None else resume(arguments, begun_at)
    except (ValueError, JournalError, OSError) as error:
        return print_error(error)
    except KeyboardInterrupt:  # before StopSignal listens: while data is decoded
        print("\ninterrupted; --resume goes on where a run directory is named above", file=sys.stderr)
        return 130


def begin(arguments: argparse.Namespace, begun_at: float) -> int:
    """A new search of a model, or over several."""
    if arguments.model is not None and any(name.startswith(LISTING) for name in arguments.model):
        print("\n".join(list_models(arguments.model)))
        return 0
    settings, *others = make_settings_of_each(read_models(arguments.model), given_choices(arguments))
    from tune_sketch.backend.estimate import estimate_lines
    from tune_sketch.backend.ray_backend import RayBackend
    from tune_sketch.backend.restart import run_begun, run_or_restart
    from tune_sketch.config.plan import plan_lines, prepare_inputs
    from tune_sketch.new_run import DEFAULT_FOLDER, check_destination, make_run
    from tune_sketch.run import run_search

    backend, folder = RayBackend(arguments.address), arguments.runs_dir or DEFAULT_FOLDER
    run = run_begun()
    check_destination(folder, filter(None, [arguments.name if run is None else None]), arguments.storage)
    backend.check()
    if run is None:
        inputs = prepare_inputs(settings, others)
        print("\n".join(plan_lines(settings, inputs, time.monotonic() - begun_at)), file=sys.stderr)
        if arguments.dry_run:
            print("\n".join(estimate_lines(settings, inputs, backend)), file=sys.stderr)
            return 0
        run = make_run(folder, arguments.name, settings, inputs, arguments.storage)
    search = partial(run_search, run, backend, arguments.storage, begun_at)
    return 0 if run_or_restart(search, run, arguments.address) else 130


def resume(arguments: argparse.Namespace, begun_at: float) -> int:
    """Go on with a run directory, extended by the changed settings."""
    from tune_sketch.backend.ray_backend import RayBackend
    from tune_sketch.backend.restart import run_or_restart
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
    return 0 if run_or_restart(search, run, arguments.address) else 130


class CallableModule(types.ModuleType):
    """This module as `from tune_sketch import search` finds it once it is imported: the function of that name."""

    def __call__(self, *arguments: Any, **more: Any) -> Any:
        from tune_sketch.api import search

        return search(*arguments, **more)


sys.modules[__name__].__class__ = CallableModule

if __name__ == "__main__":
    sys.exit(main())

"""Retrains the first configurations and the best found on fresh seeds: python -m tune_sketch.confirm RUN."""

import sys

from tune_sketch.backend.ray_backend import RayBackend
from tune_sketch.backend.restart import run_or_restart
from tune_sketch.config.flags import Parser, add_settings, given_choices
from tune_sketch.data.paths import path_argument
from tune_sketch.data.screen import hear_sigterm, prepare_screen, print_error
from tune_sketch.run import confirm_run
from tune_sketch.storage.history import JournalError
from tune_sketch.storage.resume import prepare_resume
from tune_sketch.storage.run_directory import RunDirectory


def main(argv: list[str] | None = None) -> int:
    """The command: confirm an existing run again, with more finalists or seeds if asked. Exit codes as for search."""
    parser = Parser(
        prog="python -m tune_sketch.confirm",
        description="Retrain the best configurations of a run on fresh seeds and score them on the test split.",
    )
    parser.add_argument("run", type=path_argument, help="a run directory")
    add_settings(parser, ["finalists", "retraining_seeds", "data", "splits", "weights"])
    parser.add_argument("--storage", metavar="URL", help="the database of the record, if it needs a password")
    parser.add_argument("--address", metavar="A", help="a Ray cluster: auto, or its address")
    arguments = parser.parse_args(argv)
    run = RunDirectory(arguments.run)
    prepare_screen()
    try:
        hear_sigterm()
        backend = RayBackend(arguments.address)
        backend.check()
        prepare_resume(run, given_choices(arguments), arguments.storage)
        done = run_or_restart(lambda: confirm_run(run, backend, arguments.storage), run, arguments.address)
        return 0 if done else 130
    except (ValueError, JournalError, OSError) as error:
        return print_error(error)
    except KeyboardInterrupt:  # before StopSignal listens
        return 130


if __name__ == "__main__":
    sys.exit(main())

"""Begins a command again, in the same process, when Ray died under it: the journal says where it was."""

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tune_sketch.backend.base import BackendLostError
from tune_sketch.backend.cluster import stop_ray
from tune_sketch.commands import command_text
from tune_sketch.data.screen import print_error
from tune_sketch.storage.run_directory import RunDirectory

VARIABLE = "TUNE_SKETCH_RESTART"  # between two beginnings: {"count": 1, "run": "runs/mine"}
MOST_RESTARTS = 3  # one after the other without an epoch in between


def run_begun() -> RunDirectory | None:
    """The run that an earlier beginning of this command made, if any."""
    path = read_state()["run"]
    return None if path is None else RunDirectory(Path(path))


def run_or_restart(search: Callable[[], bool], run: RunDirectory, address: str | None) -> bool:
    """The result of a search of the run. When Ray dies under it, the command begins again.

    Where Ray is not our own, or dies again and again, the command ends as after Ctrl-C, with exit code 130.
    """
    state = read_state()
    os.environ.pop(VARIABLE, None)  # none of our children's affair
    try:
        return search()
    except BackendLostError as lost:
        error = lost
    count = 1 if error.num_epochs else int(state["count"]) + 1
    print_error(error)
    sys.stdout.flush()
    stop_ray(lost=True)
    if address is None and is_command() and not error.was_stopping and count <= MOST_RESTARTS:
        print(
            f"Ray is started again ({count} of {MOST_RESTARTS}); the search goes on from its journal", file=sys.stderr
        )
        sys.stderr.flush()
        os.environ[VARIABLE] = json.dumps({"count": count, "run": str(run.path)})
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})  # until hear_sigterm
        # Nothing else leaves a dead Ray behind: threads wait for it, and a library ends this process a minute later.
        # The process stays the same, for those who wait for it.
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    print(f"stopped. Resume with:  {command_text('search', '--resume', run.path)}", file=sys.stderr, flush=True)
    os._exit(130)  # Ray would try to say goodbye to the dead


def read_state() -> dict[str, Any]:
    """State that an earlier beginning of this command left for this one."""
    state: dict[str, Any] = json.loads(os.environ.get(VARIABLE, '{"count": 0, "run": null}'))
    return state


def is_command() -> bool:
    """Whether this process is one of our commands, and not a program that calls us: that would begin from its start."""
    spec = sys.modules["__main__"].__spec__
    return Path(sys.argv[0]).name == "tune-sketch" or (spec is not None and spec.name.split(".")[0] == "tune_sketch")

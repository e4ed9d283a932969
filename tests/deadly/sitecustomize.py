"""Loaded at the start of every Python process of a killed search: lets it die at a checkpoint when it is asked to."""

import json
import os
import signal
import time
from collections.abc import Callable

FOLDER = os.environ.get("KILLING")  # where the killer asks ("ask") and reads what happened ("deaths", "work-PID")


def die_if_asked(place: str, last_words: Callable[[], None] = lambda: None) -> None:
    """SIGKILL for this process, noted just before, if it is the first to get to the place that was asked for.

    last_words: what it still does once it is certain to die.
    """
    assert FOLDER is not None
    ask = os.path.join(FOLDER, "ask")
    try:
        with open(ask) as file:
            if file.read() != place:
                return
        os.unlink(ask)
    except FileNotFoundError:  # nothing is asked, or another process was faster
        return
    last_words()
    with open(os.path.join(FOLDER, "deaths"), "a") as file:
        file.write(json.dumps({"place": place, "process": os.getpid(), "time": time.time()}) + "\n")
    os.kill(os.getpid(), signal.SIGKILL)


if FOLDER is not None:
    replace = os.replace

    def dying_replace(source: str, target: str) -> None:
        """os.replace, with places to die around the two renames of a checkpoint and before that of a report."""
        path = os.fspath(target)
        if path.endswith("/report.html"):
            die_if_asked("while the report is written")
        if "/checkpoints/" not in path:
            replace(source, target)
            return
        die_if_asked(
            "between checkpoint write and rename" if path.endswith(".pt") else "between checkpoint and manifest"
        )
        replace(source, target)
        if path.endswith(".json"):
            with open(f"{FOLDER}/work-{os.getpid()}", "w"):
                pass  # its time says until when this process's work is safe
            die_if_asked("between checkpoint and report")

    os.replace = dying_replace  # type: ignore[assignment]

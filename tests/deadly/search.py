"""The search command with places to die around each commit to the journal."""

import sys
from collections.abc import Callable
from typing import Any

from sitecustomize import die_if_asked

import tune_sketch.search
from tune_sketch.storage import commits
from tune_sketch.storage.journal import Journal

PLACES = {  # what makes a commit -> what it commits
    (commits, "insert_trial"): "a suggestion",
    (commits, "insert_epoch"): "an epoch",
    (commits, "insert_ending"): "an ending",
    (Journal, "_write_retraining"): "a retraining",
}


def wrap(owner: Any, name: str, what: str) -> None:
    commit: Callable[..., Any] = getattr(owner, name)

    def dying(*values: Any, **more: Any) -> Any:
        die_if_asked(f"before the commit of {what}")
        result = commit(*values, **more)
        die_if_asked(f"after the commit of {what}")
        return result

    setattr(owner, name, dying)


if __name__ == "__main__":
    for (owner, name), what in PLACES.items():
        wrap(owner, name, what)
    sys.exit(tune_sketch.search.main(sys.argv[1:]))

"""The search command with places to die around each write to the journal."""

import json
import os
import sys
from collections.abc import Callable
from typing import Any

from optuna.storages import JournalStorage
from optuna.trial import TrialState
from sitecustomize import die_if_asked

import tune_sketch.run
import tune_sketch.search
from tune_sketch.storage.journal_file import WholeLinesBackend

Place = Callable[..., str | None]


def wrap(owner: Any, name: str, before: Place, after: Place) -> None:
    """Let a function die at places before and after its work, which depend on its arguments; None: at none."""
    work: Callable[..., Any] = getattr(owner, name)

    def dying(*values: Any, **more: Any) -> Any:
        die_at(before(*values, **more))
        result = work(*values, **more)
        die_at(after(*values, **more))
        return result

    setattr(owner, name, dying)


def die_at(place: str | None, last_words: Callable[[], None] = lambda: None) -> None:
    if place is not None:
        die_if_asked(place, last_words)


def in_creation(when: str) -> Place:
    """The places of a new trial or retraining, which is one line of the log."""

    def place(storage: Any, study_id: int, template: Any) -> str:
        what = "a proposal" if template.user_attrs["seed_index"] is None else "a retraining"
        return f"{when} the write of {what}"

    return place


def after_attribute(storage: Any, trial_id: int, key: str, value: Any) -> str | None:
    """An epoch counts with its attribute, its second line; an ending's is the first line of two."""
    if key.startswith("epoch_"):
        return "after the write of an epoch"
    return "between the two writes of an ending" if key == "ending" else None


def before_attribute(storage: Any, trial_id: int, key: str, value: Any) -> str | None:
    return "before the write of an ending" if key == "ending" else None


def after_state(storage: Any, trial_id: int, state: TrialState, values: Any = None) -> str | None:
    return "after the write of an ending" if state.is_finished() else None


def at_begin(work: Any) -> str:
    return "between the begin of a session and its first proposal"


def nowhere(*values: Any, **more: Any) -> None:
    return None


def tear_lines() -> None:
    """Let a write die when half of its first line is on the disk."""
    append = WholeLinesBackend.append_logs

    def torn(backend: WholeLinesBackend, logs: list[dict[str, Any]]) -> None:
        def write_half() -> None:
            line = json.dumps(logs[0], separators=(",", ":")).encode()
            with open(backend.path, "ab") as file:
                file.write(line[: len(line) // 2])
                file.flush()
                os.fsync(file.fileno())

        die_at("in the middle of a line", write_half)
        append(backend, logs)

    WholeLinesBackend.append_logs = torn  # type: ignore[method-assign, assignment]


if __name__ == "__main__":
    wrap(JournalStorage, "create_new_trial", in_creation("before"), in_creation("after"))
    wrap(
        JournalStorage,
        "set_trial_intermediate_value",
        lambda *values: "before the write of an epoch",
        lambda *values: "between the two writes of an epoch",
    )
    wrap(JournalStorage, "set_trial_user_attr", before_attribute, after_attribute)
    wrap(JournalStorage, "set_trial_state_values", nowhere, after_state)
    wrap(
        tune_sketch.run, "search_trials", lambda work: "between the begin of a session and its first proposal", nowhere
    )
    tear_lines()
    sys.argv[0] = "tune-sketch"  # a command of ours, which may begin again when Ray dies
    sys.exit(tune_sketch.search.main(sys.argv[1:]))

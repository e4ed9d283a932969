"""The search command with places to die around each commit to the journal."""

import sys
from collections.abc import Callable
from typing import Any

from optuna.storages import RDBStorage
from sitecustomize import die_if_asked

import tune_sketch.search


def kind_of(name: str, values: tuple[Any, ...]) -> str | None:
    """What a call of the storage commits, None for what is not asked for."""
    if name == "set_trial_user_attr":
        return "an ending" if values[1] == "ending" else "an epoch"
    if name == "set_study_user_attr":
        return "a retraining" if values[1].startswith("confirm-") else None
    if name == "create_new_trial":
        return "a suggestion"
    if name == "set_trial_intermediate_value":
        return "an epoch's value"
    return "an ending's state" if values[1].is_finished() else None


def wrap(name: str) -> None:
    commit: Callable[..., Any] = getattr(RDBStorage, name)

    def dying(storage: RDBStorage, *values: Any) -> Any:
        kind = kind_of(name, values)
        if kind is None:
            return commit(storage, *values)
        die_if_asked(f"before the commit of {kind}")
        result = commit(storage, *values)
        die_if_asked(f"after the commit of {kind}")
        return result

    setattr(RDBStorage, name, dying)


if __name__ == "__main__":
    for method in (
        "create_new_trial",
        "set_trial_user_attr",
        "set_trial_intermediate_value",
        "set_trial_state_values",
        "set_study_user_attr",
    ):
        wrap(method)
    sys.exit(tune_sketch.search.main(sys.argv[1:]))

"""Reads what version 0.1 wrote: its search.json, and its study in SQLite or a database. Nothing writes this form."""

from typing import Any

from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from tune_sketch.events import Epoch, Source, TestResult, Trial, Worker

KINDS = {"study": "paper", "crossed": "mutated", "model": "tpe"}
STATUSES = {"waiting": "paused"}
SETTINGS = {"confirm_top": "finalists", "confirm_seeds": "retraining_seeds"}
VALUES = {("strategy", "rung-tpe"): "incumbent", ("protocol", "study"): "paper"}


def upgrade_search(old: dict[str, Any]) -> dict[str, Any]:
    """search.json of version 0.1 in the present format."""
    settings = {SETTINGS.get(k, k): VALUES.get((k, str(value)), value) for k, value in old["settings"].items()}
    data = {
        name: value for name, value in old["data"].items() if name not in ("num_classes", "num_skipped", "stand_in")
    }
    sessions = []
    for old_session in old["sittings"]:
        session = dict(old_session)
        packing = session.pop("packing", None)
        session["gpu_sharing"] = packing and {name: value for name, value in packing.items() if name != "reason"} | {
            "reason": packing.get("reason", "")
        }
        sessions.append(session)
    return {
        "format": 2,
        "study_name": old["study_name"],
        "storage": old["storage"],
        "settings": settings,
        "data": data | {"synthetic": old["data"]["stand_in"]},
        "weights": old["weights"],
        "warm_start": old.get("warm_start", []),
        "sessions": sessions,
    }


def read_study(storage: BaseStorage, name: str) -> tuple[list[Trial], dict[str, Trial], dict[str, Any]]:
    """(trials, retrainings by key, notes) of a study that version 0.1 wrote."""
    study_id = storage.get_study_id_from_name(name)
    trials = [trial_of(frozen) for frozen in storage.get_all_trials(study_id, deepcopy=False)]
    attributes = storage.get_study_user_attrs(study_id)
    retrainings = [retraining_of(key, value) for key, value in attributes.items() if key.startswith("confirm-")]
    notes = {key: value for key, value in attributes.items() if not key.startswith("confirm-")}
    return trials, {trial.key: trial for trial in retrainings}, notes


def trial_of(frozen: FrozenTrial) -> Trial:
    """A trial of the search."""
    attributes = frozen.user_attrs
    ending = attributes.get("ending", {}) if frozen.state.is_finished() else {}
    return Trial(
        key=f"trial-{frozen.number:04d}",
        number=frozen.number,
        config=attributes["config"],
        seed=attributes["seed"],
        source=source_of(attributes["origin"]),
        params=dict(frozen.params),
        distributions=dict(frozen.distributions),
        status=ending.get("status", "paused" if frozen.state == TrialState.WAITING else "running"),
        epochs=tuple(epoch_of(attributes[key]) for key in sorted(attributes) if key.startswith("epoch_")),
        started_at=attributes["started_at"],
        ended_at=ending.get("ended_at"),
        error=ending.get("error", ""),
    )


def retraining_of(key: str, value: dict[str, Any]) -> Trial:
    """A retraining, which was an attribute of the study."""
    _, number, seed_index = key.split("-")
    test = value["test"]
    return Trial(
        key=f"retraining-{number}-{seed_index}",
        number=int(number),
        config=value["config"],
        seed=value["seed"],
        seed_index=int(seed_index),
        status=STATUSES.get(value["status"], value["status"]),
        epochs=tuple(epoch_of(epoch) for epoch in value["epochs"]),
        started_at=value["started_at"],
        ended_at=value["ended_at"],
        error=value["error"],
        test=test and TestResult({k: v for k, v in test.items() if k != "num_images"}, test["num_images"]),
    )


def source_of(origin: dict[str, Any]) -> Source:
    """Why a configuration was proposed."""
    names = {"pass": "number_of_pass", "by": "compared_by", "beside": "compared_with"}
    fields = {names.get(name, name): value for name, value in origin.items() if value is not None}
    fields["kind"] = KINDS.get(fields["kind"], fields["kind"])
    if "compared_with" in fields:
        fields["compared_with"] = tuple(fields["compared_with"])
    known = {name: value for name, value in fields.items() if name in Source.__dataclass_fields__}
    return Source(**known)


def epoch_of(metrics: dict[str, Any]) -> Epoch:
    """One epoch's metrics, which held its number, time and worker as well."""
    others = ("epoch", "recorded_at", "node", "process", "gpus")
    worker = Worker(metrics["node"], metrics["process"], metrics["gpus"]) if "node" in metrics else None
    numbers = {name: value for name, value in metrics.items() if name not in others}
    return Epoch(metrics["epoch"], numbers, worker, metrics["recorded_at"])


def key_of_0_1(key: str) -> str:
    """The name that version 0.1 gave a retraining's files."""
    return key.replace("retraining-", "confirm-")


__all__ = ["key_of_0_1", "read_study", "upgrade_search"]

"""Writes what happens to a trial into the tables of Optuna's database: one happening, one commit.

Optuna's own calls commit every attribute and value by itself, and for a new trial ask the database two questions for
each parameter: benchmarks/commits.py has what that costs. The rows are the same (a test compares them). Written again
after a commit whose answer got lost, an epoch and an ending replace themselves.
"""

import datetime
import json
from typing import Any

from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.storages import RDBStorage
from optuna.storages._rdb.models import (
    TrialIntermediateValueModel,
    TrialModel,
    TrialParamModel,
    TrialUserAttributeModel,
    TrialValueModel,
)
from optuna.trial import TrialState
from sqlalchemy import delete
from sqlalchemy.orm import Session


def insert_trial(
    storage: RDBStorage,
    study_id: int,
    number: int,
    params: dict[str, Any],
    distributions: dict[str, BaseDistribution],
    attributes: dict[str, Any],
) -> int:
    """A new running trial with its parameters and user attributes; returns its id in the database."""
    with Session(storage.engine) as session, session.begin():
        trial = TrialModel(
            study_id=study_id, number=number, state=TrialState.RUNNING, datetime_start=datetime.datetime.now()
        )
        session.add(trial)
        session.flush()  # so that the database gives it an id
        trial_id: Any = trial.trial_id
        for name, value in params.items():
            stored, kind = distributions[name].to_internal_repr(value), distribution_to_json(distributions[name])
            session.add(TrialParamModel(trial_id=trial_id, param_name=name, param_value=stored, distribution_json=kind))
        session.add_all(attribute_row(trial_id, name, value) for name, value in attributes.items())
        return trial_id


def insert_epoch(storage: RDBStorage, trial_id: int, metrics: dict[str, Any]) -> None:
    """All metrics of an epoch as a user attribute, and its validation top-1 as the value that dashboards draw."""
    epoch, name = metrics["epoch"], f"epoch_{metrics['epoch']:04d}"
    value, kind = TrialIntermediateValueModel.intermediate_value_to_stored_repr(metrics["val_top1"])
    with Session(storage.engine) as session, session.begin():
        session.execute(delete(TrialUserAttributeModel).filter_by(trial_id=trial_id, key=name))
        session.execute(delete(TrialIntermediateValueModel).filter_by(trial_id=trial_id, step=epoch))
        session.add(attribute_row(trial_id, name, metrics))
        session.add(
            TrialIntermediateValueModel(
                trial_id=trial_id, step=epoch, intermediate_value=value, intermediate_value_type=kind
            )
        )


def insert_ending(
    storage: RDBStorage, trial_id: int, ending: dict[str, Any], state: TrialState, value: float | None
) -> None:
    """How a trial ended, as the user attribute "ending", with the state and value that Optuna shows."""
    with Session(storage.engine) as session, session.begin():
        session.execute(delete(TrialUserAttributeModel).filter_by(trial_id=trial_id, key="ending"))
        session.execute(delete(TrialValueModel).filter_by(trial_id=trial_id))
        session.add(attribute_row(trial_id, "ending", ending))
        if value is not None:
            stored, kind = TrialValueModel.value_to_stored_repr(value)
            session.add(TrialValueModel(trial_id=trial_id, objective=0, value=stored, value_type=kind))
        trial = session.get_one(TrialModel, trial_id)
        trial.state, trial.datetime_complete = state, datetime.datetime.now()


def attribute_row(trial_id: int, name: str, value: Any) -> TrialUserAttributeModel:
    """A user attribute as Optuna stores it."""
    return TrialUserAttributeModel(trial_id=trial_id, key=name, value_json=json.dumps(value))

"""Syne Tune's ASHA with a model on the last values: ASHACQR (conformal quantile regression) or ASHABORE."""

import datetime
import logging
import sys
from typing import Any

from protocol import Params, Searcher, Task, serve
from syne_tune import config_space
from syne_tune.backend.trial_status import Trial
from syne_tune.optimizer.baselines import ASHABORE, ASHACQR
from syne_tune.optimizer.scheduler import SchedulerDecision

SCHEDULERS = {"cqr": ASHACQR, "bore": ASHABORE}


def make_domain(parameter: dict[str, Any]) -> Any:
    """One parameter in Syne Tune's words."""
    if parameter["kind"] == "choice":
        return config_space.choice(list(range(parameter["num_choices"])))
    low, high = parameter["low"], parameter["high"]
    if parameter["kind"] == "int":
        return config_space.lograndint(low, high) if parameter["log"] else config_space.randint(low, high)
    return config_space.loguniform(low, high) if parameter["log"] else config_space.uniform(low, high)


class ASHA(Searcher):
    every_epoch = True

    def __init__(self, task: Task, model: str) -> None:
        logging.disable(logging.WARNING)
        self.task, self.num_trials = task, 0
        self.scheduler = SCHEDULERS[model](
            {name: make_domain(parameter) for name, parameter in task.space.items()},
            metric="value",
            time_attr="epoch",
            max_t=task.max_epochs,
            grace_period=task.first_epochs,
            do_minimize=False,
            random_seed=task.seed,
            points_to_evaluate=task.first,
        )

    def ask(self) -> tuple[Trial, Params, int]:
        suggestion = self.scheduler.suggest()
        assert suggestion is not None
        assert suggestion.config is not None
        trial = Trial(self.num_trials, suggestion.config, datetime.datetime.now())
        self.num_trials += 1
        self.scheduler.on_trial_add(trial)
        return trial, suggestion.config, self.task.max_epochs

    def report(self, job: Trial, epoch: int, value: float) -> bool:
        decision = self.scheduler.on_trial_result(job, {"value": value, "epoch": epoch})
        if decision != SchedulerDecision.CONTINUE:
            self.scheduler.on_trial_remove(job)
            return False
        return True


if __name__ == "__main__":
    serve(ASHA, sys.argv[1])

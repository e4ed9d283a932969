"""NePS' PriorBand over asynchronous Hyperband; its prior is the last of the first configurations, tried first."""

import logging
from typing import Any

from neps.optimizers.algorithms import priorband
from neps.optimizers.ask_and_tell import AskAndTell
from neps.space import HPOCategorical, HPOFloat, HPOInteger, SearchSpace
from protocol import Params, Searcher, Task, serve

FIDELITY = "epochs"


class PriorBand(Searcher):
    def __init__(self, task: Task) -> None:
        logging.disable(logging.WARNING)
        prior = task.first[-1] if task.first else {}
        space: dict[str, Any] = {}
        for name, parameter in task.space.items():
            if parameter["kind"] == "choice":
                space[name] = HPOCategorical(list(range(parameter["num_choices"])), prior=prior.get(name))
            else:
                kind = HPOInteger if parameter["kind"] == "int" else HPOFloat
                space[name] = kind(parameter["low"], parameter["high"], log=parameter["log"], prior=prior.get(name))
        space[FIDELITY] = HPOInteger(task.first_epochs, task.max_epochs, is_fidelity=True)
        optimizer = priorband(SearchSpace(space), base="async_hb", sample_prior_first=bool(prior))
        self.asked = AskAndTell(optimizer)

    def ask(self) -> tuple[Any, Params, float]:
        trial = self.asked.ask()
        params = dict(trial.config)
        epochs = params.pop(FIDELITY)
        return trial, params, epochs

    def report(self, job: Any, epoch: int, value: float) -> bool:
        self.asked.tell(job, -value)
        return False


if __name__ == "__main__":
    serve(PriorBand)

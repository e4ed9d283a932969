"""SMAC3's MultiFidelityFacade with its defaults: Hyperband, random forests, expected improvement.

But its initial design is five random configurations, to its advantage: by default there are 25, and what is known
before comes after them.
"""

import tempfile
from pathlib import Path
from typing import Any

from config_space import make_space
from ConfigSpace import Configuration
from protocol import Params, Searcher, Task, serve
from smac import MultiFidelityFacade, Scenario
from smac.runhistory.dataclasses import TrialInfo, TrialValue

NUM_RANDOM = 5


class SMAC(Searcher):
    def __init__(self, task: Task) -> None:
        space = make_space(task)
        self.folder = tempfile.TemporaryDirectory()
        scenario = Scenario(
            space,
            deterministic=True,
            min_budget=task.first_epochs,
            max_budget=task.max_epochs,
            seed=task.seed,
            output_directory=Path(self.folder.name),
        )
        first = [Configuration(space, values=params) for params in task.first]
        design = MultiFidelityFacade.get_initial_design(scenario, n_configs=NUM_RANDOM, additional_configs=first)
        self.smac = MultiFidelityFacade(
            scenario,
            lambda config, seed, budget: 0.0,  # it is asked and told, and never calls this
            initial_design=design,
            logging_level=False,
        )

    def ask(self) -> tuple[TrialInfo, Params, float]:
        info = self.smac.ask()
        assert info.budget is not None
        return info, dict(info.config), info.budget

    def report(self, job: Any, epoch: int, value: float) -> bool:
        self.smac.tell(job, TrialValue(cost=-value), save=False)
        return False


if __name__ == "__main__":
    serve(SMAC)

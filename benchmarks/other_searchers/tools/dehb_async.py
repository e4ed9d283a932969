"""DEHB with its defaults. It takes no configuration that was known before."""

import tempfile
from typing import Any

from config_space import make_space
from dehb import DEHB
from loguru import logger
from protocol import Params, Searcher, Task, serve


class AskedDEHB(Searcher):
    def __init__(self, task: Task) -> None:
        logger.remove()
        self.folder = tempfile.TemporaryDirectory()
        self.dehb = DEHB(
            cs=make_space(task),
            min_fidelity=task.first_epochs,
            max_fidelity=task.max_epochs,
            n_workers=1,  # of those that it would start itself
            seed=task.seed,
            output_path=self.folder.name,
            save_freq="end",
        )

    def ask(self) -> tuple[Any, Params, float]:
        job = self.dehb.ask()
        return job, dict(job["config"]), job["fidelity"]

    def report(self, job: Any, epoch: int, value: float) -> bool:
        self.dehb.tell(job, {"fitness": -value, "cost": epoch})
        return False


if __name__ == "__main__":
    serve(AskedDEHB)

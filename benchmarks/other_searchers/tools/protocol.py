"""Speaks with the simulation in lines of JSON: one searcher after the other, each asked and told.

Runs in the environment of a package, so it imports nothing but the standard library.

in:  {"what": "begin", "space": {name: parameter}, "first": [params], and the rest of Task}
     {"what": "ask"}                                  -> {"params": {...}, "epochs": to be trained to, from the start}
     {"what": "report", "job": of ask's answer, "epoch", "value"} -> {"go_on": whether it may train on}
A parameter is {"kind": "choice", "num_choices"} or {"kind": "float" | "int", "low", "high", "log"}; a choice goes by
its number. Each answer has "seconds": of processor time that it took. Values: higher is better.
"""

import json
import os
import random
import sys
import time
from abc import ABC, abstractmethod
from typing import Any, NamedTuple

Params = dict[str, Any]


class Task(NamedTuple):
    """All that a searcher is told. first_epochs: the fewest that it may train; first: configurations known before."""

    space: dict[str, dict[str, Any]]
    first: list[Params]
    first_epochs: int
    max_epochs: int
    seed: int


class Searcher(ABC):
    """One package's way. A configuration that is asked for again goes on where it ended."""

    every_epoch = False  # whether it hears of every epoch, or of a job's last only

    @abstractmethod
    def __init__(self, task: Task) -> None: ...

    @abstractmethod
    def ask(self) -> tuple[Any, Params, float]:
        """(what `report` is to be given, parameters, epochs that they are to be trained to)."""

    @abstractmethod
    def report(self, job: Any, epoch: int, value: float) -> bool:
        """Take a value; whether the training may go on, where it is not at its end."""


def serve(searcher_class: type[Searcher], *arguments: Any) -> None:
    """Answer until the input ends. What the package prints goes to the error stream."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    searcher: Searcher | None = None
    jobs: dict[int, Any] = {}
    for line in sys.stdin:
        request = json.loads(line)
        what = request.pop("what")
        started = time.process_time()
        if what == "begin":
            seed_all(request["seed"])
            searcher, jobs = searcher_class(Task(**request), *arguments), {}
            answer: dict[str, Any] = {"every_epoch": searcher.every_epoch}
        elif what == "ask":
            assert searcher is not None
            job, params, epochs = searcher.ask()
            number = len(jobs)
            jobs[number] = job
            answer = {"job": number, "params": {name: plain(value) for name, value in params.items()}}
            answer["epochs"] = round(epochs)
        else:
            assert searcher is not None
            assert what == "report"
            go_on = searcher.report(jobs[request["job"]], request["epoch"], request["value"])
            answer = {"go_on": bool(go_on)}
        answer["seconds"] = time.process_time() - started
        answers.write(json.dumps(answer) + "\n")


def plain(value: Any) -> Any:
    """A number of numpy's as Python's."""
    return value.item() if hasattr(value, "item") else value


def seed_all(seed: int) -> None:
    """Packages that are not told a seed draw from these."""
    random.seed(seed)
    try:
        import numpy as np

        np.random.seed(seed)
    except ImportError:
        pass
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed)

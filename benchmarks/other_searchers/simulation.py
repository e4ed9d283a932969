"""Simulates a search by another package's searcher on known learning curves, as simulated_search.py does ours."""

import heapq
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from benchmarks.curves.tasks import Curve, Task, describe_space
from benchmarks.other_searchers.process import Asked, SearcherProcess
from benchmarks.simulated_search import MOST_TRIALS, Outcome
from tune_sketch.config.seeds import derive_seed
from tune_sketch.events import Config, Source
from tune_sketch.samplers.base import SearchTask, nearest_value, propose_fixed
from tune_sketch.samplers.one_factor import middle_of

Distribution = CategoricalDistribution | FloatDistribution | IntDistribution


class Space:
    """A task's space without its conditions, in the words of tools/protocol.py, and back.

    What a condition leaves out is suggested too, and has no effect. The number of epochs is the searcher's to choose.
    """

    def __init__(self, task: Task, seed: int) -> None:
        self.task = task
        self.distributions: dict[str, Distribution] = describe_space(task)
        self.search_task = SearchTask(task.space, task.limits, [task.max_epochs], MOST_TRIALS, seed)

    def describe(self) -> dict[str, dict[str, Any]]:
        return {name: describe(distribution) for name, distribution in self.distributions.items()}

    def encode(self, config: Config) -> dict[str, Any]:
        """A known configuration as parameters of the whole space: what it leaves out is at the middle."""
        known = propose_fixed(self.search_task, config, Source("paper")).params
        params: dict[str, Any] = {}
        for name, distribution in self.distributions.items():
            value = known.get(name, middle_of(distribution))
            is_choice = isinstance(distribution, CategoricalDistribution)
            params[name] = distribution.choices.index(value) if is_choice else value
        return params

    def decode(self, params: dict[str, Any]) -> Config:
        """The configuration of parameters, at its full length."""
        values: dict[str, Any] = {"epochs": self.task.max_epochs}
        for name, distribution in self.distributions.items():
            if isinstance(distribution, CategoricalDistribution):
                values[name] = distribution.choices[params[name]]
            else:
                values[name] = nearest_value(distribution, params[name])
        return propose_fixed(self.search_task, values, Source("random")).config


def describe(distribution: Distribution) -> dict[str, Any]:
    """One parameter, as protocol.py has it."""
    if isinstance(distribution, CategoricalDistribution):
        return {"kind": "choice", "num_choices": len(distribution.choices)}
    kind = "int" if isinstance(distribution, IntDistribution) else "float"
    return {"kind": kind, "low": distribution.low, "high": distribution.high, "log": distribution.log}


@dataclass
class Training:
    """One configuration's curve, and how many of its epochs were trained."""

    curve: Curve
    num_trained: int = 0


class Best:
    """The configuration that would be taken at each time: by the highest value seen, and that at the deepest rung."""

    def __init__(self, times: Sequence[float], rungs: Sequence[int], outcome: Outcome) -> None:
        self.remaining, self.outcome = list(times), outcome
        self.seen: tuple[float, float] | None = None  # (value, true final value)
        self.at_rungs: dict[int, tuple[float, float] | None] = dict.fromkeys(sorted(rungs, reverse=True))

    def see(self, curve: Curve, epoch: int) -> None:
        found = (float(curve.values[epoch - 1]), curve.true_final)
        if self.seen is None or found[0] > self.seen[0]:
            self.seen = found
        if epoch in self.at_rungs:
            known = self.at_rungs[epoch]
            self.at_rungs[epoch] = found if known is None or found[0] > known[0] else known

    def on_time(self, now: float) -> None:
        """Note it for each of the times that are over."""
        while self.remaining and now > self.remaining[0]:
            deepest = next((found for found in self.at_rungs.values() if found is not None), None)
            self.outcome.by_rung.append(deepest[1] if deepest else None)
            self.outcome.by_best.append(self.seen[1] if self.seen else None)
            self.remaining.pop(0)


def simulate(
    task: Task,
    searcher: SearcherProcess,
    *,
    num_workers: int,
    times: Sequence[float],
    rungs: Sequence[int],
    seed: int,
    first: Sequence[Config],
    driver_speed: float = 1.0,
) -> Outcome:
    """One search. times: seconds; rungs: of the final choice; first: told to those that take known configurations.

    The searcher's processor time, to ask and to tell, passes in simulated time as well: one driver has all workers. A
    configuration that is asked for again goes on where it ended, whether its package knows of checkpoints or not.
    """
    outcome = Outcome()
    best = Best(times, rungs, outcome)
    space = Space(task, seed)
    searcher.begin(
        space=space.describe(),
        first=[space.encode(config) for config in first],
        first_epochs=task.grace_epochs,
        max_epochs=task.max_epochs,
        seed=seed,
    )
    trainings: dict[str, Training] = {}
    running: list[tuple[float, int, Asked, Training, int]] = []  # (end of epoch, order, job, training, epoch)
    now, driver_free_at, num_idle, num_events = 0.0, 0.0, num_workers, 0

    def pass_time(seconds_before: float) -> None:
        nonlocal driver_free_at
        driver_free_at = max(driver_free_at, now) + driver_speed * (searcher.seconds - seconds_before)

    def tell(asked: Asked, training: Training, epoch: int) -> bool:
        """Whether the job goes on after an epoch."""
        is_last = epoch >= asked.epochs
        go_on = True
        if is_last or searcher.every_epoch:
            before = searcher.seconds
            go_on = searcher.report(asked.job, epoch, float(training.curve.values[epoch - 1]))
            pass_time(before)
        return go_on and not is_last

    def start_epoch(starts_at: float, asked: Asked, training: Training, epoch: int) -> None:
        nonlocal num_events
        num_events += 1
        heapq.heappush(running, (starts_at + training.curve.seconds[epoch - 1], num_events, asked, training, epoch))

    while True:
        while num_idle and outcome.num_suggestions < MOST_TRIALS and driver_free_at <= times[-1]:
            before = searcher.seconds
            asked = searcher.ask()
            pass_time(before)
            outcome.num_suggestions += 1
            key = json.dumps(asked.params, sort_keys=True)
            if key not in trainings:
                noise = derive_seed(task.name, derive_seed(seed, "trial", len(trainings)))
                trainings[key] = Training(task.curve(space.decode(asked.params), noise))
            training = trainings[key]
            epoch = min(training.num_trained, asked.epochs)
            if epoch and not tell(asked, training, epoch):
                continue  # trained as far before: it costs nothing
            num_idle -= 1
            start_epoch(max(driver_free_at, now), asked, training, epoch + 1)
        if not running:
            break
        then, _, asked, training, epoch = heapq.heappop(running)
        best.on_time(then)
        if then > times[-1]:
            break
        now = then
        training.num_trained = max(training.num_trained, epoch)
        best.see(training.curve, epoch)
        if tell(asked, training, epoch):
            start_epoch(now, asked, training, epoch + 1)
        else:
            num_idle += 1
    best.on_time(float("inf"))
    outcome.num_trials, outcome.sampler_seconds = len(trainings), searcher.seconds
    return outcome

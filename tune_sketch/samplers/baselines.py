"""Strategies to compare with: random search, and Optuna's TPE as it is usually wired to ASHA."""

import optuna
from optuna.samplers import TPESampler
from optuna.trial import create_trial

from tune_sketch.config.seeds import derive_seed
from tune_sketch.events import Proposal, Source
from tune_sketch.samplers.base import Sampler, SearchTask, ask, propose_at_random
from tune_sketch.storage.history import History

NUM_STARTUP = 10  # of Optuna's TPE, which draws at random until it was told that many values


class UniformSampler(Sampler):
    """Every configuration drawn uniformly from the space."""

    name = "random"
    summary = "uniform in the space"

    def propose(self, number: int, history: History) -> Proposal:
        return propose_at_random(self.task, number)


class LastValueSampler(Sampler):
    """Optuna's TPE as it is usually wired to ASHA: told each trial's last value, whatever its epoch.

    Ray's OptunaSearch does so: a trial that was stopped after one epoch counts as complete with that epoch's value,
    beside others with their full training's. It is here to be compared with.
    """

    name = "tpe"
    summary = "TPE told each trial's last value, as Optuna is usually wired to ASHA"

    def __init__(self, task: SearchTask) -> None:
        super().__init__(task)
        self.study = optuna.create_study(direction="maximize")
        self.told: set[int] = set()

    def propose(self, number: int, history: History) -> Proposal:
        self.learn(history)
        self.study.sampler = TPESampler(seed=derive_seed(self.task.seed, "sampler", number))  # Optuna's own defaults
        source = Source("tpe" if len(self.told) >= NUM_STARTUP else "random", num_values=len(self.told))
        return ask(self.task, self.study, source)

    def learn(self, history: History) -> None:
        """Tell the study what ended since, in the order of the last epochs."""
        ended = [
            (trial.epochs[-1].recorded_at, trial.number, trial)
            for trial in history.trials
            if not trial.is_unfinished and trial.epochs and trial.number not in self.told
        ]
        for _, number, trial in sorted(ended, key=lambda entry: entry[:2]):
            value = trial.epochs[-1].val_top1
            self.study.add_trial(
                create_trial(params=trial.params, distributions=dict(trial.distributions), value=value)
            )
            self.told.add(number)

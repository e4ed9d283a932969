"""The ways to search, by the names of --strategy: the default, the study's own, and two to compare them with."""

import optuna
from optuna.samplers import TPESampler
from optuna.trial import create_trial

from tune_sketch.config.settings import derive_seed
from tune_sketch.samplers.base import SpaceSearcher, Suggestion
from tune_sketch.samplers.incumbent import RungSearcher
from tune_sketch.samplers.one_factor import OneFactorSearcher
from tune_sketch.storage.journal import Journal


class RandomSearcher(SpaceSearcher):
    """Every configuration drawn uniformly from the space."""

    def sample(self, number: int) -> Suggestion:
        return self.sample_first(number) if number < len(self.first) else self.sample_at_random(number)


class LastValueSearcher(SpaceSearcher):
    """Optuna's TPE as it is usually wired to ASHA: told each trial's last value, whatever its epoch.

    Ray's OptunaSearch does so: a trial that was stopped after one epoch counts as complete with that epoch's value,
    beside others with their full training's. It is here to be compared with.
    """

    def __init__(self, journal: Journal, *arguments, **more) -> None:
        super().__init__(journal, *arguments, **more)
        self.study = optuna.create_study(direction="maximize")
        self.told: set[int] = set()

    def sample(self, number: int) -> Suggestion:
        if number < len(self.first):
            return self.sample_first(number)
        self.learn()
        self.study.sampler = TPESampler(seed=derive_seed(self.seed, "sampler", number))  # Optuna's own defaults
        num_startup = 10  # of Optuna's TPE, which draws at random until it was told so many values
        kind = "model" if len(self.told) >= num_startup else "random"
        return self.ask(self.study, {"kind": kind, "rung": None, "num_values": len(self.told)})

    def learn(self) -> None:
        """Tell the study what ended since, in the order of the last epochs."""
        trials = self.journal.trials
        ended = [r for r in trials if not r.is_unfinished and r.epochs and r.number not in self.told]
        for record in sorted(ended, key=lambda r: (r.epochs[-1]["recorded_at"], r.number)):
            self.study.add_trial(
                create_trial(params=record.params, distributions=record.distributions, value=record.last_value)
            )
            self.told.add(record.number)


STRATEGIES: dict[str, type[SpaceSearcher]] = {
    "rung-tpe": RungSearcher,
    "one-factor": OneFactorSearcher,
    "random": RandomSearcher,
    "tpe": LastValueSearcher,
}

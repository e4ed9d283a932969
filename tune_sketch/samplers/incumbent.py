"""The default strategy: mutates the incumbent, the best configuration at the deepest rung with enough values."""

import math
import random
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import RandomSampler, TPESampler
from optuna.trial import FrozenTrial, create_trial

from tune_sketch.config.seeds import derive_seed
from tune_sketch.events import Config, Proposal, Source, Trial
from tune_sketch.samplers.base import Sampler, SearchTask, ask, nearest_value, propose_at_random, propose_from
from tune_sketch.storage.history import History

# By which the recipe's numbers move, in widths of their ranges: benchmarks/results/recipe_mutations-cpu.md.
RECIPE_STEP = 0.2
RECIPE_KEPT_FRACTION = 0.85  # two or three parameters change: benchmarks/results/kept_recipe-cpu.md
MOST_DRAWS = 20  # of a mutation, until one differs from its parent
RANDOM_FRACTION = 0.2  # of the proposals: insurance against a model that is wrong
MUTATED_FRACTION = 0.6  # of the proposals; the rest comes from TPE
BLOCK_SIZE = 100  # values after which TPE forgets older ones
NUM_BEST = 25  # but for the best: TPE models no more as good


class IncumbentSampler(Sampler):
    """Mutations of the incumbent, TPE and random search, all aware of rungs: values of different epochs are never
    compared.

    For each rung there are the values of the trials that got there (a trial that ended by itself earlier counts with
    its final value). Proposals rest on the deepest rung with at least four: three in five mutate the best configuration
    there, each parameter redrawn with probability 0.3; one in five comes from Optuna's TPE; one in five is random, and
    eight random ones in a row cover every range evenly. Until a rung has as many, four in five mutate the recipe that
    the search began with, if there is one: few of its parameters, and numbers by steps, because it is already far
    better than what is drawn at random.
    Relatives are the (1 + lambda) evolution strategies and the incumbent mutation of PriorBand (Mallik et al. 2023,
    arXiv 2306.12370). Other variants: benchmarks/results/search_variants-cpu.md.
    """

    name = "incumbent"
    summary = "mutations of the best configuration at the deepest rung, some from TPE, some random"
    # Chosen for searches of few trainings: benchmarks/results/few_trainings-cpu.md.
    min_values = 4  # a rung with fewer is not used
    kept_fraction = 0.7  # of the parameters of what is mutated, in the mean
    num_strata = 8  # parts of every range that as many random proposals in a row are in, one each; 0: independent

    def __init__(self, task: SearchTask) -> None:
        super().__init__(task)
        self.study = optuna.create_study(direction="maximize")  # through which the space is asked; holds no values
        self.values = {rung: RungValues() for rung in task.rungs}
        self.known: dict[int, set[int]] = {rung: set() for rung in task.rungs}
        self.best: dict[int, tuple[float, int]] = {}  # by rung: the highest value and the first trial that had it
        self.num_seen = 0  # trials that were new to learn() once
        self.unfinished: list[int] = []  # those of them that may still reach a rung

    def propose(self, number: int, history: History) -> Proposal:
        self.learn(history)
        rung = self.deepest_rung()
        chance = random.Random(derive_seed(self.task.seed, "random", number)).random()
        recipe = next((trial for trial in history.trials[: len(self.task.first)] if trial.is_recipe), None)
        if chance < RANDOM_FRACTION or (rung is None and recipe is None):
            return self.propose_evenly(number)
        seed = derive_seed(self.task.seed, "sampler", number)
        if rung is None:
            assert recipe is not None
            return self.mutate(recipe, seed, RECIPE_KEPT_FRACTION, RECIPE_STEP)
        if chance < RANDOM_FRACTION + MUTATED_FRACTION:
            parent = history.trials[self.best[rung][1]]
            return self.mutate(parent, seed, self.kept_fraction, rung=rung)
        study = self.values[rung].study
        study.sampler = TPESampler(n_startup_trials=self.min_values, seed=seed)
        return ask(self.task, study, Source("tpe", rung=rung))

    def deepest_rung(self) -> int | None:
        """The deepest rung with enough values to go by."""
        return next((rung for rung in reversed(self.task.rungs) if len(self.known[rung]) >= self.min_values), None)

    def propose_evenly(self, number: int) -> Proposal:
        """A random configuration, in a part of every range that those before it were not in."""
        if not self.num_strata:
            return propose_at_random(self.task, number)
        block, index = divmod(number - len(self.task.first), self.num_strata)
        seed, of_block = derive_seed(self.task.seed, "sampler", number), derive_seed(self.task.seed, "strata", block)
        return propose_from(self.task, StratifiedSampler(seed, of_block, index, self.num_strata), Source("random"))

    def mutate(
        self, parent: Trial, seed: int, kept_fraction: float, step: float | None = None, *, rung: int | None = None
    ) -> Proposal:
        """A configuration near the parent's, and another one, as far as chance allows in MOST_DRAWS."""
        for draw in range(MOST_DRAWS):
            of_draw = derive_seed(seed, draw) if draw else seed
            self.study.sampler = MutationSampler(parent.params, of_draw, kept_fraction, step)
            proposal = ask(self.task, self.study, Source("mutated", rung=rung, parent=parent.number))
            if proposal.params != parent.params:
                break
        return proposal

    def learn(self, history: History) -> None:
        """Bring the rungs' values up to date with the history, in the order in which they were recorded."""
        trials = [history.trials[number] for number in self.unfinished] + history.trials[self.num_seen :]
        for rung, known in self.known.items():
            new: list[tuple[float, int, float]] = []
            for trial in trials:
                epoch = trial.epoch_at(rung) if trial.number not in known else None
                if epoch is not None:
                    new.append((epoch.recorded_at, trial.number, epoch.val_top1))
            for _, number, value in sorted(new):
                self.add(rung, history.trials[number], value)
        self.num_seen = len(history.trials)
        self.unfinished = [trial.number for trial in trials if trial.is_unfinished]

    def add(self, rung: int, trial: Trial, value: float) -> None:
        """One more value at a rung."""
        self.values[rung].add(trial, value)
        self.known[rung].add(trial.number)
        if rung not in self.best or value > self.best[rung][0]:
            self.best[rung] = (value, trial.number)


class RungValues:
    """A study of the values at one rung, for TPE: of many the best and the latest, so that none takes long to ask."""

    def __init__(self) -> None:
        self.study = optuna.create_study(direction="maximize")
        self.all: list[FrozenTrial] = []  # in the order in which they were recorded

    def add(self, trial: Trial, value: float) -> None:
        """One more value. After every BLOCK_SIZE of them the study is made anew."""
        frozen = create_trial(params=trial.params, distributions=dict(trial.distributions), value=value)
        self.all.append(frozen)
        if len(self.all) % BLOCK_SIZE or len(self.all) == BLOCK_SIZE:
            self.study.add_trial(frozen)
            return
        best = sorted(self.all[:-BLOCK_SIZE], key=lambda past: past.value or 0.0, reverse=True)[:NUM_BEST]
        self.study = optuna.create_study(direction="maximize")
        self.study.add_trials([*best, *self.all[-BLOCK_SIZE:]])


class StratifiedSampler(RandomSampler):
    """Draws proposal `index` of a block, each of which is in another part of every range: a Latin hypercube (McKay,
    Beckman and Conover 1979)."""

    def __init__(self, seed: int, seed_of_block: int, index: int, num_strata: int) -> None:
        super().__init__(seed)
        self.random, self.seed_of_block = random.Random(seed), seed_of_block
        self.index, self.num_strata = index, num_strata

    def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: BaseDistribution) -> Any:
        order = list(range(self.num_strata))
        random.Random(derive_seed(self.seed_of_block, param_name)).shuffle(order)
        return value_at(param_distribution, (order[self.index] + self.random.random()) / self.num_strata)


def value_at(distribution: BaseDistribution, position: float) -> Any:
    """The value at a position in [0, 1) of a range, on its own scale; of choices and whole numbers each has a share."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[int(position * len(distribution.choices))]
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    to_scale, from_scale = (math.log, math.exp) if distribution.log else (float, float)
    half = (distribution.step or 0) / 2  # of a grid the ends have as large a share as the others
    low, high = to_scale(distribution.low - half), to_scale(distribution.high + half)
    return nearest_value(distribution, from_scale(low + position * (high - low)))


class MutationSampler(RandomSampler):
    """Keeps each parameter of a configuration by chance, and draws the others anew.

    Uniformly in their ranges; with a `step`, numbers by a step from where they are instead, whose standard deviation
    it is, in widths of the range.
    """

    def __init__(self, params: Config, seed: int, kept_fraction: float, step: float | None = None) -> None:
        super().__init__(seed)
        self.params, self.random, self.step, self.kept_fraction = params, random.Random(seed), step, kept_fraction

    def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: BaseDistribution) -> Any:
        keeps = self.random.random() < self.kept_fraction
        known = param_name in self.params and holds(param_distribution, self.params[param_name])
        if known and keeps:
            return self.params[param_name]
        if known and self.step is not None and not isinstance(param_distribution, CategoricalDistribution):
            return take_step(param_distribution, self.params[param_name], self.random.gauss(0.0, self.step))
        return super().sample_independent(study, trial, param_name, param_distribution)


def take_step(distribution: BaseDistribution, value: Any, step: float) -> Any:
    """The number that is `step` widths of the range away on its own scale; the ends of the range throw back."""
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    to_scale, from_scale = (math.log, math.exp) if distribution.log else (float, float)
    low, width = to_scale(distribution.low), to_scale(distribution.high) - to_scale(distribution.low)
    if width == 0:
        return value
    position = ((to_scale(value) - low) / width + step) % 2
    return nearest_value(distribution, from_scale(low + min(position, 2 - position) * width))


def holds(distribution: BaseDistribution, value: Any) -> bool:
    """Whether a value is in the range, which may have changed since it was tried: a resumed search can have longer
    trainings."""
    if isinstance(distribution, CategoricalDistribution):
        return value in distribution.choices
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    return bool(distribution.low <= value <= distribution.high)

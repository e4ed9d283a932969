"""The paper's own way to search: one factor at a time, by short loss curves first, each kept at its best value."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from tune_sketch.events import Config, Proposal, Source, Trial, Value
from tune_sketch.samplers.base import Sampler, SearchTask, nearest_value, propose_from
from tune_sketch.schedulers.rungs import curve_epochs
from tune_sketch.storage.history import History

FACTORS = ("optimizer", "learning_rate", "decay_kind", "decay")  # in the paper's order; the number of epochs is last
LONG_FACTORS = ("decay_kind", "decay")  # a few epochs cannot show what they do: judged by full trainings
NUM_VALUES = 5  # of a number, evenly spaced on its scale; the paper does not say which it tried
Values = Config  # of sampled parameters
Key = tuple[tuple[str, Value], ...]


@dataclass(frozen=True)
class Step:
    """Configurations that differ in one factor and are compared at one number of epochs; the current one is first."""

    name: str
    number_of_pass: int
    candidates: list[Values]
    num_epochs: int
    by_loss: bool
    is_exact: bool = False  # whether a longer training may not stand in for one of this length


class OneFactorSampler(Sampler):
    """Optimizer by 6-epoch loss curves at fixed learning rate and decay (the paper's Fig. 4), then the learning rate by
    the same curves (Fig. 5), then decay and the number of epochs by full trainings; `passes` times.

    A step is decided when all of its trainings have got that far: the lowest validation loss at the curves' end, the
    highest validation top-1 of full trainings. The trainings of a step run at once; none is stopped at a rung. What
    was trained already is not trained again: no setting depends on the horizon, so a longer training's first epochs
    are a shorter one's. The number of epochs is read off the best curve and trained once. Curves are shorter where
    even full trainings are (a third of them). Later passes look at half the range around the best value.

    Where the space has no such factor it is left out; `factors` names others. Reads val_loss and val_top1 of epochs.
    """

    name = "one-factor"
    summary = "the paper's own procedure"
    stops_trials = False
    most_trials = 20

    def __init__(self, task: SearchTask, factors: Sequence[str] = FACTORS) -> None:
        super().__init__(task)
        self.factors = factors
        self.max_epochs = task.rungs[-1]
        self.curve_epochs = curve_epochs(self.max_epochs)
        self.described: dict[Key, Proposal] = {}
        self.trained: dict[Key, list[int]] = {}  # trial numbers by configuration without its epochs
        self.trials: Sequence[Trial] = ()
        self.num_seen = 0

    @classmethod
    def expected_epochs(cls, rungs: Sequence[int], reduction_factor: int) -> float:
        """Mean epochs of a trial, roughly: half of them are curves."""
        return (curve_epochs(rungs[-1]) + rungs[-1]) / 2

    def propose(self, number: int, history: History) -> Proposal | None:
        """The next training that a step needs and the history lacks; None while a step runs, or at the end."""
        self.trials = history.trials
        for trial in history.trials[self.num_seen :]:
            self.trained.setdefault(identify(trial.config), []).append(trial.number)
        self.num_seen = len(history.trials)
        for step in self.steps():
            found = [self.find(values, step) for values in step.candidates]
            if None in found:
                others = tuple(trial.number for trial in found if trial is not None)
                return self.propose_training(step.candidates[found.index(None)], step, others)
            if decide(found, step) is None:
                return None
        return None

    def steps(self) -> Iterator[Step]:
        """Each step, made from what the steps before it decided. Asked on only when the last one is decided."""
        values = dict(self.task.first[0][0]) if self.task.first else {}
        values.pop("epochs", None)
        for number_of_pass in range(1, self.task.passes + 1):
            for factor in self.factors:
                distribution = self.describe(values).distributions.get(factor)
                if distribution is None:
                    continue
                current = self.describe(values).params[factor]
                others = [v for v in spread(distribution, current, number_of_pass) if v != current]
                candidates = [values | {factor: value} for value in (current, *others)]
                is_long = factor in LONG_FACTORS
                num_epochs = self.max_epochs if is_long else self.curve_epochs
                step = Step(factor, number_of_pass, candidates, num_epochs, by_loss=not is_long)
                yield step
                values = candidates[self.winner_of(step)]
            full = Step("epochs", number_of_pass, [values], self.max_epochs, by_loss=False)
            yield full
            num_epochs = self.best_length(values, full)
            if num_epochs < self.max_epochs:
                yield Step("epochs", number_of_pass, [values], num_epochs, by_loss=False, is_exact=True)

    def describe(self, values: Values) -> Proposal:
        """The configuration that the space makes of the values; what they leave out is at the middle of its range."""
        key = tuple(sorted(values.items()))
        if key not in self.described:
            self.described[key] = propose_from(self.task, FixedSampler(values), Source("one-factor"))
        return self.described[key]

    def propose_training(self, values: Values, step: Step, others: tuple[int, ...]) -> Proposal:
        """A training of the step's number of epochs, which may be fewer than the space has."""
        described = self.describe(values)
        params, distributions = described.params, described.distributions
        if "epochs" in params:
            params = params | {"epochs": step.num_epochs}
            distributions = {**distributions, "epochs": IntDistribution(1, self.max_epochs)}
        source = Source(
            "one-factor",
            step=step.name,
            number_of_pass=step.number_of_pass,
            num_epochs=step.num_epochs,
            compared_by="val_loss" if step.by_loss else "val_top1",
            compared_with=others,
        )
        return Proposal(described.config | {"epochs": step.num_epochs}, params, distributions, source)

    def find(self, values: Values, step: Step) -> Trial | None:
        """The first training of this configuration that is, or will be, long enough for the step."""
        for number in self.trained.get(identify(self.describe(values).config), ()):
            trial = self.trials[number]
            length = int(trial.config["epochs"])
            if length == step.num_epochs or (length > step.num_epochs and not step.is_exact):
                return trial
        return None

    def winner_of(self, step: Step) -> int:
        """The index of the best candidate of a step that is decided."""
        winner = decide([self.find(values, step) for values in step.candidates], step)
        assert winner is not None, f"{step.name} is not decided yet"
        return winner

    def best_length(self, values: Values, step: Step) -> int:
        """The number of epochs with the highest validation top-1 of a full training, within the space's range."""
        trial, distribution = self.find(values, step), self.describe(values).distributions.get("epochs")
        assert trial is not None
        fewest = distribution.low if isinstance(distribution, IntDistribution) else 1
        epochs = trial.epochs[fewest - 1 :]
        if distribution is None or not epochs:
            return self.max_epochs
        return max(epochs, key=lambda epoch: epoch.val_top1).number


class FixedSampler(BaseSampler):
    """Gives the named values, and the middle of its range to what has none."""

    def __init__(self, values: Values) -> None:
        self.values = values

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return {}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        if param_name in self.values:
            return self.values[param_name]
        return middle_of(param_distribution)


def middle_of(distribution: BaseDistribution) -> Any:
    """The middle of a range, or the first choice."""
    choices = spread(distribution, None, 1)
    return choices[0 if isinstance(distribution, CategoricalDistribution) else len(choices) // 2]


def spread(distribution: BaseDistribution, current: Any, number_of_pass: int) -> list[Any]:
    """All choices, or NUM_VALUES numbers evenly over the range, in later passes over a part around the current one."""
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    to_scale, from_scale = (math.log, math.exp) if distribution.log else (float, float)
    low, high = to_scale(distribution.low), to_scale(distribution.high)
    if number_of_pass > 1:
        width = (high - low) / 2 ** (number_of_pass - 1)
        low = min(max(to_scale(current) - width / 2, low), high - width)
        high = low + width
    values = []
    for index in range(NUM_VALUES):
        value = float(f"{from_scale(low + (high - low) * index / (NUM_VALUES - 1)):.3g}")  # 0.001, not 0.00099999
        values.append(nearest_value(distribution, value))
    return list(dict.fromkeys(values))


def identify(config: Values) -> Key:
    """A configuration without its number of epochs, to be looked up."""
    return tuple(sorted((name, value) for name, value in config.items() if name != "epochs"))


def decide(trials: Sequence[Trial | None], step: Step) -> int | None:
    """The index of the best training, the earlier one where two are equal; None while one is on its way.

    One that ended before the step's epochs is behind all others.
    """
    scores = []
    for trial in trials:
        assert trial is not None
        if len(trial.epochs) >= step.num_epochs:
            epoch = trial.epochs[step.num_epochs - 1]
            scores.append(epoch.val_loss if step.by_loss else -epoch.val_top1)
        elif trial.is_unfinished:
            return None
        else:
            scores.append(math.inf)
    return scores.index(min(scores))

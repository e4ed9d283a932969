"""The tree-structured Parzen estimator (TPE) as Optuna has it, computed on arrays: for many simulated searches."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial
from scipy.special import ndtr, ndtri

NUM_CANDIDATES = 24
GOOD_FRACTION = 0.1  # of the values, and at most MOST_GOOD
NUM_RECENT = 25  # values whose kernels have full weight; older ones fade
MOST_GOOD = 25
MOST_VALUES = 250  # of one history that are modelled: the good ones and the latest others
Distributions = Mapping[str, BaseDistribution]


class History:
    """The values seen at one rung, in order of arrival, and the parameters that they belong to."""

    def __init__(self, most_values: int = MOST_VALUES) -> None:
        self.most_values = most_values
        self.values: list[float] = []
        self.points: list[dict[str, float]] = []  # by parameter, as Optuna represents it inside
        self.common: dict[str, BaseDistribution] = {}  # parameters that all of them have, with one and the same range

    def __len__(self) -> int:
        return len(self.values)

    def add(self, params: Mapping[str, Any], distributions: Distributions, value: float) -> None:
        """One more value."""
        self.points.append(represent(params, distributions))
        if not self.values:
            self.common = {name: distributions[name] for name in sorted(distributions)}
        elif any(distributions.get(name) != distribution for name, distribution in self.common.items()):
            self.common = {name: d for name, d in self.common.items() if distributions.get(name) == d}
        self.values.append(value)

    def propose(
        self, space: Distributions, random: np.random.Generator, running: Sequence[Mapping[str, Any]] = ()
    ) -> dict[str, Any]:
        """The candidate that the good values' density favours most over that of the others.

        space: parameters to propose together. Only values that have them all count.
        running: parameters of trials whose value is not known yet; they count among the others, so that not all
        workers try the same.
        The split (one in ten is good, at most 25), the kernels and their weights are those of Optuna 5.0 with its
        defaults (samplers/_tpe; Bergstra et al. 2011, Falkner et al. 2018 for the joint density). Differing from it,
        of more than `most_values` the oldest that are not good are forgotten: they weigh little, and no suggestion
        takes longer than another.
        """
        rows = [index for index, point in enumerate(self.points) if space.keys() <= point.keys()]
        num_good = min(math.ceil(GOOD_FRACTION * len(rows)), MOST_GOOD)
        ranked = sorted(rows, key=lambda index: -self.values[index])
        good = sorted(ranked[:num_good])
        others = sorted(ranked[num_good:])[-(self.most_values - num_good) :]
        points = [self.points[index] for index in others]
        points += [represent(params, space) for params in running if space.keys() <= params.keys()]
        density_of_good = Density(as_array([self.points[index] for index in good], space), space)
        density_of_others = Density(as_array(points, space), space)
        candidates = density_of_good.sample(NUM_CANDIDATES, random)  # [candidates, parameters]
        gain = density_of_good.log_density(candidates) - density_of_others.log_density(candidates)
        chosen = candidates[int(np.argmax(gain))]
        return {name: space[name].to_external_repr(x) for name, x in zip(space, chosen.tolist(), strict=True)}


def represent(params: Mapping[str, Any], distributions: Distributions) -> dict[str, float]:
    """Parameters as Optuna represents them inside: a choice is its index."""
    return {name: distributions[name].to_internal_repr(params[name]) for name in distributions if name in params}


def as_array(points: list[dict[str, float]], space: Distributions) -> np.ndarray:
    """[points, parameters of the space]"""
    return np.array([[point[name] for name in space] for point in points]).reshape(len(points), len(space))


class Density:
    """A mixture of one kernel per point and a wide one, each a product over the parameters.

    Numbers have normal kernels cut off at the range, as wide as the distance to the farther neighbour, on the
    logarithm where the parameter is logarithmic; whole numbers have the mass of their unit interval; choices have
    one count each and a share of one more.
    """

    def __init__(self, points: np.ndarray, space: Distributions) -> None:
        """points: [N, D], represented as in Optuna, the latest last; a number outside the range counts at its end."""
        distributions = list(space.values())
        self.choices = [d for d, kind in enumerate(distributions) if isinstance(kind, CategoricalDistribution)]
        self.numbers = [d for d in range(len(distributions)) if d not in self.choices]
        ranges = [kind for kind in distributions if isinstance(kind, FloatDistribution | IntDistribution)]
        self.logarithmic = np.array([kind.log for kind in ranges], bool)
        self.steps = np.array([kind.step or 0.0 for kind in ranges])
        self.least = np.array([kind.low for kind in ranges], float)
        self.most = np.array([kind.high for kind in ranges], float)
        self.low, self.high = self.scaled(self.least - self.steps / 2), self.scaled(self.most + self.steps / 2)
        num_points = len(points)
        weights = np.ones(num_points + 1)  # the last is that of the wide kernel
        if num_points > NUM_RECENT:
            weights[: num_points - NUM_RECENT] = np.linspace(1 / num_points, 1.0, num_points - NUM_RECENT)
        self.weights = weights / weights.sum()
        middle, width = (self.low + self.high) / 2, self.high - self.low
        centres = self.scaled(np.clip(points[:, self.numbers], self.least, self.most))
        self.centres = np.vstack([centres, middle])  # [N + 1, numbers]
        self.widths = np.vstack([kernel_widths(centres, self.low, self.high), width])
        self.mass_below = ndtr((self.low - self.centres) / self.widths)
        self.mass = ndtr((self.high - self.centres) / self.widths) - self.mass_below
        self.counts = []  # for each parameter that is a choice: [N + 1, choices]
        for d in self.choices:
            num_choices = len(distributions[d].choices)  # type: ignore[attr-defined]
            counts = np.full((num_points + 1, num_choices), 1 / (num_points + 1) if num_points else 1.0)
            counts[np.arange(num_points), points[:, d].astype(int)] += 1
            self.counts.append(counts / counts.sum(axis=1, keepdims=True))

    def scaled(self, numbers: np.ndarray) -> np.ndarray:
        """Numbers [..., D], their logarithms where the parameter is logarithmic."""
        return np.where(self.logarithmic, np.log(np.where(self.logarithmic, numbers, 1.0)), numbers)

    def sample(self, num_samples: int, random: np.random.Generator) -> np.ndarray:
        """[samples, parameters]"""
        kernels = random.choice(len(self.weights), size=num_samples, p=self.weights)
        samples = np.empty((num_samples, len(self.choices) + len(self.numbers)))
        for d, counts in zip(self.choices, self.counts, strict=True):
            below = counts[kernels].cumsum(axis=1)[:, :-1]
            samples[:, d] = (below < random.random((num_samples, 1))).sum(axis=1)
        quantiles = self.mass_below[kernels] + random.random((num_samples, len(self.numbers))) * self.mass[kernels]
        drawn = self.centres[kernels] + self.widths[kernels] * ndtri(quantiles)
        drawn = np.where(self.logarithmic, np.exp(np.where(self.logarithmic, drawn, 0.0)), drawn)
        steps = np.where(self.steps > 0, self.steps, 1.0)
        stepped = self.least + np.round((drawn - self.least) / steps) * steps
        samples[:, self.numbers] = np.clip(np.where(self.steps > 0, stepped, drawn), self.least, self.most)
        return samples

    def log_density(self, points: np.ndarray) -> np.ndarray:
        """[points]; the mass, not the density, in whole numbers and choices."""
        total = np.zeros((len(points), len(self.weights))) + np.log(self.weights)  # [points, kernels]
        for d, counts in zip(self.choices, self.counts, strict=True):
            total += np.log(counts[:, points[:, d].astype(int)].T)
        numbers = points[:, None, self.numbers]  # [points, 1, numbers]
        whole = self.steps > 0
        if not whole.all():
            there = ~whole
            distances = ((self.scaled(numbers) - self.centres) / self.widths)[..., there]  # [points, kernels, numbers]
            norm = np.log(self.widths[:, there] * self.mass[:, there] * math.sqrt(2 * math.pi))  # [kernels, numbers]
            total -= 0.5 * np.einsum("pkd,pkd->pk", distances, distances) + norm.sum(axis=1)
        if whole.any():
            below, above = (
                ndtr(((self.scaled(numbers + side * self.steps / 2) - self.centres) / self.widths)[..., whole])
                for side in (-1, 1)
            )
            with np.errstate(divide="ignore"):  # a far kernel has no mass there: minus infinity
                total += np.log((above - below) / self.mass[:, whole]).sum(axis=2)
        most = total.max(axis=1)
        return np.log(np.exp(total - most[:, None]).sum(axis=1)) + most


def kernel_widths(centres: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """[N, D]: the distance to the farther of the two neighbours, within (range / min(100, N + 2), range).

    The ends of the range are neighbours too, but only of a single point: else the outermost kernels would be wide.
    """
    if not len(centres):
        return centres
    order = centres.argsort(axis=0, kind="stable")
    bounded = np.vstack([low, np.take_along_axis(centres, order, axis=0), high])
    gaps = np.diff(bounded, axis=0)  # [N + 1, D]
    widths = np.maximum(gaps[:-1], gaps[1:])
    if len(centres) > 1:
        widths[0], widths[-1] = gaps[1], gaps[-2]
    unsorted = np.empty_like(widths)
    np.put_along_axis(unsorted, order, widths, axis=0)
    return np.clip(unsorted, (high - low) / min(100, len(centres) + 2), high - low)


class HistorySampler(BaseSampler):
    """Lets Optuna ask a History: what all values have in common is proposed together, conditional parameters alone."""

    def __init__(self, history: History, seed: int, running: Sequence[Mapping[str, Any]] = ()) -> None:
        self.history, self.running = history, running
        self.random = np.random.default_rng(seed)
        self.uniform = optuna.samplers.RandomSampler(seed=seed)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return {name: kind for name, kind in self.history.common.items() if not kind.single()}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self.history.propose(search_space, self.random, self.running) if search_space else {}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        if any(param_name in point for point in self.history.points):
            return self.history.propose({param_name: param_distribution}, self.random, self.running)[param_name]
        return self.uniform.sample_independent(study, trial, param_name, param_distribution)

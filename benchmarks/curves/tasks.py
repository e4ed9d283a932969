"""The tasks on which searchers are compared: search spaces whose learning curves are known without training."""

import json
import math
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.trial import BaseTrial
from sklearn.ensemble import ExtraTreesRegressor

from benchmarks.curves.record import MAX_EPOCHS
from benchmarks.curves.space import paper_parameters, space
from benchmarks.curves.table import TABLES, load_table
from tune_sketch.config.seeds import derive_seed
from tune_sketch.samplers.one_factor import FixedSampler
from tune_sketch.schedulers.rungs import default_grace_epochs
from tune_sketch.search_spaces import paper_configuration, squeezenet1_1
from tune_sketch.search_spaces.common import PAPER_RECIPE, SpaceLimits, fewest_epochs

SHARED = Path(os.environ.get("SEARCH_CURVES", Path(__file__).parents[3] / "shared" / "data" / "search-curves"))
FULL_TRAINING_SECONDS = 600.0  # of the median configuration, where only epochs are known
NUM_NEIGHBOURS = 3
GROUPS = ("lcbench", "taskset", "sketch", "pretrained")
Config = dict[str, Any]


@dataclass(frozen=True)
class Curve:
    """One training, epoch by epoch, with the values that it would have if nothing were left to chance.

    values: higher is better [E]; losses [E]; seconds: of each epoch [E]; true_final: the value at its full length
    without the noise of a seed, which a sampler never sees.
    """

    values: np.ndarray
    losses: np.ndarray
    seconds: np.ndarray
    true_final: float


class Task:
    """One search problem: `space` as a module of search_spaces has it, and the curve of any configuration in it."""

    group: str
    name: str
    max_epochs: int
    factors: tuple[str, ...]  # in which the paper's way would take them
    first: tuple[Config, ...] = ()  # what is tried first by every method
    recipe: Config | None = None  # tried next, where there is one

    def middle(self) -> Config:
        """The middle of every range: what one would try first, as the paper's configuration is on drawings."""
        study = optuna.create_study(sampler=FixedSampler({}))
        trial = study.ask()
        self.space(trial, self.limits)
        return trial.params

    @property
    def grace_epochs(self) -> int:
        return default_grace_epochs(self.max_epochs)

    def space(self, trial: BaseTrial, limits: SpaceLimits) -> Config:
        raise NotImplementedError

    def curve(self, config: Config, seed: int) -> Curve:
        raise NotImplementedError

    @property
    def limits(self) -> SpaceLimits:
        return SpaceLimits(max_epochs=self.max_epochs, pretrained=False)

    def draw(self, num_configs: int) -> Iterator[Config]:
        """Random configurations, the same ones each time."""
        for number in range(num_configs):
            study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=derive_seed("draw", number)))
            yield self.space(study.ask(), self.limits)

    @lru_cache  # noqa: B019 (tasks live as long as the program)
    def scale(self) -> tuple[float, float, float]:
        """(best value, median value, median seconds of a full training) of random configurations."""
        curves = [self.curve(config, 0) for config in self.draw(1000)]
        finals = [curve.true_final for curve in curves]
        seconds = [curve.seconds.sum() for curve in curves]
        return float(np.max(finals)), float(np.median(finals)), float(np.median(seconds))


def lcbench_space(
    trial: BaseTrial, limits: SpaceLimits, num_layers: int | None = None, units: tuple[int, int] = (64, 1024)
) -> Config:
    """LCBench's space; num_layers: fixed, where given; units: least and most of a layer."""
    return {
        "batch_size": trial.suggest_int("batch_size", 16, 512, log=True),
        "learning_rate": trial.suggest_float("learning_rate", 1e-4, 0.1, log=True),
        "momentum": trial.suggest_float("momentum", 0.1, 0.99),
        "weight_decay": trial.suggest_float("weight_decay", 1e-5, 0.1),
        "num_layers": trial.suggest_int("num_layers", 1, 5) if num_layers is None else num_layers,
        "max_units": trial.suggest_int("max_units", *units, log=True),
        "max_dropout": trial.suggest_float("max_dropout", 0.0, 1.0),
        "epochs": limits.max_epochs,
    }


class LCBench(Task):
    """Multilayer perceptrons on one of 34 tabular data sets: YAHPO Gym's surrogate of LCBench, without noise."""

    group, max_epochs = "lcbench", 52
    factors = ("learning_rate", "momentum", "weight_decay", "batch_size", "num_layers", "max_units", "max_dropout")

    def __init__(self, code: int, name: str) -> None:
        self.code, self.name = code, f"lcbench-{name}"
        self.first = (self.middle(),)

    def space(self, trial: BaseTrial, limits: SpaceLimits) -> Config:
        return lcbench_space(trial, limits)

    def curve(self, config: Config, seed: int) -> Curve:
        names = ("batch_size", "learning_rate", "momentum", "weight_decay", "num_layers", "max_units", "max_dropout")
        length = config["epochs"]
        inputs = np.empty((self.max_epochs, 8), np.float32)
        inputs[:, 0] = np.arange(1, self.max_epochs + 1)
        inputs[:, 1:] = [config[name] for name in names]
        codes = np.full((self.max_epochs, 1), self.code, np.int32)
        out = open_surrogate().run(None, {"x_cat": codes, "x_cont": inputs})[0].astype(float)
        # Cumulative seconds, which the surrogate does not keep from falling.
        seconds = np.diff(np.maximum.accumulate(out[:, 0]), prepend=0.0)
        values = out[:, 1] / 100
        seconds = np.maximum(seconds, out[-1, 0] / 500)
        return Curve(values[:length], out[:length, 2], seconds[:length], float(values[-1]))


@lru_cache
def open_surrogate() -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(SHARED / "lcbench" / "model.onnx"), options)


class Neighbours:
    """Curves anywhere in a space: the mean of the nearest recorded ones, the nearer the heavier.

    Distances are in the unit cube, each direction weighted by its importance for the final value (that of extremely
    randomised trees): unweighted, the nearest of a thousand in eight dimensions has little in common.
    """

    def __init__(self, points: np.ndarray, finals: np.ndarray, groups: list[int]) -> None:
        """points: [N, D] in [0, 1]; finals: [N]; groups: which dimensions share one importance."""
        trees = ExtraTreesRegressor(100, min_samples_leaf=2, random_state=0, n_jobs=1).fit(points, finals)
        shared = np.bincount(groups, trees.feature_importances_)[groups]
        self.weights = shared / shared.max()
        self.points = points * self.weights

    def find(self, point: np.ndarray, leave_out: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """(rows, their weights) of the nearest ones."""
        distances = np.sqrt(((self.points - point * self.weights) ** 2).sum(axis=1))
        if leave_out is not None:
            distances[leave_out] = np.inf
        rows = np.argpartition(distances, NUM_NEIGHBOURS)[:NUM_NEIGHBOURS]
        closeness = 1 / (distances[rows] + 1e-6)
        return rows, closeness / closeness.sum()


class TaskSet(Task):
    """A recurrent network on text, trained by Adam with eight settings: 1,000 recorded configurations."""

    group, max_epochs = "taskset", 50
    factors = (
        "learning_rate",
        "beta1_distance",
        "beta2_distance",
        "epsilon",
        "l1",
        "l2",
        "linear_decay",
        "exponential_decay",
    )
    ranges = (
        (1e-8, 1e1),
        (1e-4, 1.0),
        (1e-6, 1.0),
        (1e-10, 1e3),
        (1e-8, 1e1),
        (1e-8, 1e1),
        (1e-7, 1e-4),
        (1e-6, 1e-3),
    )

    def __init__(self, path: Path) -> None:
        self.name = f"taskset-{path.stem.removeprefix('FixedTextRNNClassification_')}"
        rows = json.loads(path.read_text())
        settings = np.array([list(row["hp"].values()) for row in rows])  # [1000, 8], in the order of factors
        settings[:, 1:3] = 1 - settings[:, 1:3]
        losses = np.array([row["valid"]["loss"][1:] for row in rows], float)  # [1000, 50]; the first is before training
        chance = float(np.nanmedian([row["valid"]["loss"][0] for row in rows]))
        # A loss that exploded or is not a number counts as twice that of an untrained network: it is no use either way.
        self.losses = np.minimum(np.nan_to_num(losses, nan=2 * chance, posinf=2 * chance), 2 * chance)
        self.neighbours = Neighbours(self.coordinates(settings), self.losses[:, -1], list(range(8)))
        self.first = (self.middle(),)

    def coordinates(self, settings: np.ndarray) -> np.ndarray:
        """Settings [..., 8] in the unit cube of their logarithms."""
        low, high = np.log(np.array(self.ranges)).T
        return (np.log(settings) - low) / (high - low)

    def space(self, trial: BaseTrial, limits: SpaceLimits) -> Config:
        values = {
            name: trial.suggest_float(name, low, high, log=True)
            for name, (low, high) in zip(self.factors, self.ranges, strict=True)
        }
        return values | {"epochs": limits.max_epochs}

    def curve(self, config: Config, seed: int) -> Curve:
        rows, weights = self.neighbours.find(self.coordinates(np.array([config[name] for name in self.factors])))
        losses = weights @ self.losses[rows]
        length = config["epochs"]
        seconds = np.full(length, FULL_TRAINING_SECONDS / self.max_epochs)
        return Curve(-losses[:length], losses[:length], seconds, -float(losses[-1]))


class RecordedTable(Task):
    """A network of ours on a small set of drawings with its real space, which has choices and conditions: record.py.

    The noise of a seed is the difference of two recorded trainings of one configuration.
    """

    max_epochs = MAX_EPOCHS
    factors = ("optimizer", "learning_rate", "decay_kind", "decay")
    table: str  # of RECORDINGS
    constants: tuple[str, ...]  # of a configuration, which the space does not sample
    noise_of: str | None = None  # the task whose pairs of seeds tell the noise; None: its own

    def __init__(self, name: str) -> None:
        self.name = f"{self.group}-{name}"
        tables = load_table(TABLES[self.table])
        table = tables[name]
        first = table.repeat == 0
        chance = np.nanmin(table.metrics["val_top1"])
        values = np.nan_to_num(table.metrics["val_top1"], nan=chance)
        self.values = values[first]
        self.losses = np.nan_to_num(table.metrics["val_loss"], nan=np.nanmax(table.metrics["val_loss"]))[first]
        self.params = [params for params, is_first in zip(table.params, first, strict=True) if is_first]
        seconds = self.epoch_seconds(table.metrics["epoch_seconds"][first])
        self.seconds = seconds * FULL_TRAINING_SECONDS / self.max_epochs / np.median(seconds)
        self.noise = read_noise(tables[self.noise_of or name])
        self.distributions = describe_space(self)
        points = np.array([self.coordinates(params) for params in self.params])
        self.neighbours = Neighbours(points, self.values[:, -1], self.groups)

    def epoch_seconds(self, measured: np.ndarray) -> np.ndarray:
        """Of each configuration: [N] of the measured [N, E], of which the median counts; the machine was busy."""
        return np.median(np.nan_to_num(measured, nan=np.nanmedian(measured)), axis=1)

    def coordinates(self, params: Config) -> np.ndarray:
        """Sampled parameters in a unit cube: choices one-hot, what a condition leaves out at the middle."""
        coordinates, groups = [], []
        for number, (name, distribution) in enumerate(self.distributions.items()):
            if isinstance(distribution, optuna.distributions.CategoricalDistribution):
                found = [float(params.get(name) == choice) for choice in distribution.choices]
                coordinates += found
                groups += [number] * len(found)
                continue
            to_scale = math.log if distribution.log else float
            low, high = to_scale(distribution.low), to_scale(distribution.high)
            coordinates.append((to_scale(params[name]) - low) / (high - low) if name in params else 0.5)
            groups.append(number)
        self.groups = groups
        return np.array(coordinates)

    def curve(self, config: Config, seed: int) -> Curve:
        rows, weights = self.neighbours.find(self.coordinates(self.read_params(config)))
        length = config["epochs"]
        means = weights @ self.values[rows]
        values = means[:length]
        random = np.random.default_rng(derive_seed("noise", seed))
        noise = self.noise[random.integers(len(self.noise))][:length] * random.choice((-1.0, 1.0))
        losses = (weights @ self.losses[rows])[:length]
        seconds = np.full(length, weights @ self.seconds[rows])
        # A curve that is shorter than the space allows (of the paper's way) is of a configuration to be trained fully.
        final = means[length - 1] if length >= fewest_epochs(self.limits) else means[-1]
        return Curve(np.clip(values + noise, 0.0, 1.0), losses, seconds, float(final))

    def read_params(self, config: Config) -> Config:
        """The sampled parameters of a configuration, without its number of epochs."""
        params = {name: value for name, value in config.items() if name not in ("epochs", "decay", *self.constants)}
        if config["decay"] > 0:
            params["decay"] = config["decay"]
        return params | {"decay_kind": "inverse_time" if config["decay"] > 0 else "none"}


class SketchTable(RecordedTable):
    """`baseline` from scratch."""

    group = table = "sketch"
    constants = ("freeze", *PAPER_RECIPE)
    noise_of = "sketchy"

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.first = (paper_parameters(self.limits),)

    def space(self, trial: BaseTrial, limits: SpaceLimits) -> Config:
        return space(trial, limits)


class PretrainedTable(RecordedTable):
    """SqueezeNet 1.1 with ImageNet weights; the recipe is tried after the paper's configuration, as in a search."""

    group = table = "pretrained"
    constants = ()
    network = "squeezenet1_1"

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.first = (paper_configuration(self.network, self.limits),)
        self.recipe = self.params[1]  # as it was when the curves were recorded

    @property
    def limits(self) -> SpaceLimits:
        return SpaceLimits(max_epochs=self.max_epochs, pretrained=True)

    def space(self, trial: BaseTrial, limits: SpaceLimits) -> Config:
        return squeezenet1_1.space(trial, limits)

    def epoch_seconds(self, measured: np.ndarray) -> np.ndarray:
        """Of each configuration, by its freeze point alone: of each training the fastest epoch, of a point the median.

        The machine was so busy with other things that single trainings say nothing.
        """
        fastest = measured.min(axis=1)
        points = np.array([params["freeze"] for params in self.params])
        return np.array([np.median(fastest[points == point]) for point in points])

    @lru_cache  # noqa: B019 (tasks live as long as the program)
    def scale(self) -> tuple[float, float, float]:
        """The best of what was recorded too: at random nothing as good as the recipe is drawn."""
        best, median, seconds = super().scale()
        return max(best, float(self.values[:, -1].max())), median, seconds


def read_noise(table: Any) -> np.ndarray:
    """[pairs, epochs]: differences of two seeds of one configuration over the root of two."""
    values = table.metrics["val_top1"]
    first = {int(c): row for row, (c, r) in enumerate(zip(table.configuration, table.repeat, strict=True)) if r == 0}
    second = [(first[int(c)], row) for row, c in enumerate(table.configuration) if table.repeat[row] == 1]
    differences = np.array([values[a] - values[b] for a, b in second]) / math.sqrt(2)
    return differences[np.isfinite(differences).all(axis=1)]


def describe_space(task: Task) -> dict[str, Any]:
    """Every parameter of a task's space and its distribution."""
    found: dict[str, Any] = {}
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(50):
        trial = study.ask()
        task.space(trial, task.limits)
        found |= trial.distributions
    found.pop("epochs", None)  # the length of the curve, no property of it
    return dict(sorted(found.items()))


def load_tasks(which: str, groups: Collection[str] = GROUPS) -> dict[str, Task]:
    """Name -> task. which: "choose" (settings were chosen on them), or "report" (judged on them, once)."""
    parity = 0 if which == "choose" else 1
    tasks: list[Task] = []
    if "lcbench" in groups:
        codes = json.loads((SHARED / "lcbench" / "encoding.json").read_text())["OpenML_task_id"]
        known = set(json.loads((SHARED / "lcbench" / "config_space.json").read_text())["hyperparameters"][0]["choices"])
        tasks += [LCBench(c, name) for name, c in codes.items() if name in known and c % 2 == parity]
    if "taskset" in groups:
        paths = sorted((SHARED / "taskset").glob("*.json"))
        tasks += [TaskSet(path) for path in (paths[:4] if which == "choose" else paths[4:])]
    if "sketch" in groups and which == "report":
        tasks += [SketchTable(name) for name in ("doodles", "sketchy")]
    if "pretrained" in groups:
        tasks += [PretrainedTable("quickdraw" if which == "choose" else "sketchy")]
    return {task.name: task for task in tasks}


__all__ = ["Curve", "Task", "load_tasks"]

"""Our TPE is Optuna's: the same densities, faster; and what is our own about it."""

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers._tpe.parzen_estimator import _ParzenEstimator, _ParzenEstimatorParameters
from optuna.samplers._tpe.sampler import default_weights

from benchmarks.history_tpe import Density, History, HistorySampler

SPACE = {
    "rate": FloatDistribution(1e-5, 1e-1, log=True),
    "momentum": FloatDistribution(-1.0, 2.0),
    "optimizer": CategoricalDistribution(("sgd", "adam", "adamw")),
    "epochs": IntDistribution(3, 1000),
    "units": IntDistribution(16, 5120, log=True),
    "flip": CategoricalDistribution((False, True)),
    "step": FloatDistribution(0.0, 100.0, step=0.25),
}


def draw(num_points, seed=0):
    """Random points [N, D] as Optuna represents them, no two with the same number: its order among equals is open."""
    random = np.random.default_rng(seed)
    return np.column_stack(
        [
            np.exp(random.uniform(np.log(1e-5), np.log(1e-1), num_points)),
            random.uniform(-1, 2, num_points),
            random.integers(0, 3, num_points),
            random.permutation(np.arange(3, 1001))[:num_points],
            random.permutation(np.arange(16, 5121))[:num_points],
            random.integers(0, 2, num_points),
            random.permutation(401)[:num_points] * 0.25,
        ]
    ).reshape(num_points, len(SPACE))


def optunas(points):
    parameters = _ParzenEstimatorParameters(1.0, True, False, default_weights, True)
    return _ParzenEstimator({name: points[:, d] for d, name in enumerate(SPACE)}, SPACE, parameters)


@pytest.mark.parametrize("num_points", [0, 1, 2, 3, 9, 24, 25, 26, 60, 250])
def test_its_density_is_optunas(num_points):
    points = draw(num_points)
    ours, theirs = Density(points, SPACE), optunas(points)
    somewhere = ours.sample(200, np.random.default_rng(1))
    expected = theirs.log_pdf({name: somewhere[:, d] for d, name in enumerate(SPACE)})
    assert ours.log_density(somewhere) == pytest.approx(expected, abs=1e-8)


def test_it_samples_as_optuna_does():
    points = draw(40)
    ours = Density(points, SPACE).sample(4000, np.random.default_rng(1))
    theirs = optunas(points).sample(np.random.RandomState(1), 4000)
    for d, name in enumerate(SPACE):
        spread = theirs[name].std() / np.sqrt(2000)
        assert ours[:, d].mean() == pytest.approx(theirs[name].mean(), abs=4 * spread), name
        assert ours[:, d].std() == pytest.approx(theirs[name].std(), rel=0.1), name


def history_of(points, values, **more):
    history = History(**more)
    for point, value in zip(points, values, strict=True):
        params = {name: SPACE[name].to_external_repr(x) for name, x in zip(SPACE, point.tolist(), strict=True)}
        history.add(params, SPACE, value)
    return history


def test_proposals_are_in_the_space_and_near_the_good_values():
    points = draw(100)
    history = history_of(points, -np.abs(np.log10(points[:, 0]) + 3))
    found = [history.propose(SPACE, np.random.default_rng(seed)) for seed in range(40)]
    for params in found:
        for name, value in params.items():
            assert SPACE[name]._contains(SPACE[name].to_internal_repr(value)), (name, value)
    distance = np.median([abs(np.log10(params["rate"]) + 3) for params in found])
    assert distance < 0.5  # of the random ones it is 1.0


def test_old_values_that_are_not_good_are_forgotten(monkeypatch):
    points, values = draw(300), np.linspace(0.0, 1.0, 300)
    values[:25] += 2.0  # the oldest are the best
    seen = []

    class Spy(Density):
        def __init__(self, points, space):
            seen.append(points)
            super().__init__(points, space)

    monkeypatch.setattr("benchmarks.history_tpe.Density", Spy)
    history_of(points, values, most_values=60).propose(SPACE, np.random.default_rng(0))
    good, others = seen
    assert (good == points[:25]).all()
    assert (others == points[-35:]).all()


def test_running_trials_are_avoided():
    rate = {"rate": SPACE["rate"]}
    history = History()
    for number in range(30):
        history.add({"rate": 10.0 ** (-5 + 4 * number / 29)}, rate, -abs(number - 15))
    near = {"rate": 10.0 ** (-5 + 4 * 15 / 29)}

    def distance(running):
        found = [history.propose(rate, np.random.default_rng(seed), running) for seed in range(30)]
        return np.mean([abs(np.log10(params["rate"] / near["rate"])) for params in found])

    assert distance([near] * 100) > 2 * distance([])


def test_conditional_parameters_and_ranges_that_grew():
    history = History()
    for number in range(20):
        params = {"rate": 10.0 ** -(1 + number % 4), "epochs": 3 + number % 6}
        distributions = {"rate": SPACE["rate"], "epochs": IntDistribution(3, 9)}
        if number % 2:
            params, distributions = params | {"momentum": 0.5}, distributions | {"momentum": SPACE["momentum"]}
        history.add(params, distributions, float(number))
    study = optuna.create_study(sampler=HistorySampler(history, seed=0))
    trial = study.ask()
    assert set(trial.relative_params) == {"rate", "epochs"}
    assert 27 <= trial.suggest_int("epochs", 27, 81) <= 81
    assert 1e-5 <= trial.suggest_float("rate", 1e-5, 1e-1, log=True) <= 1e-1
    assert -1 <= trial.suggest_float("momentum", -1.0, 2.0) <= 2
    assert trial.suggest_categorical("never seen", ("a", "b")) in ("a", "b")
    history.add({"rate": 1e-3, "epochs": 80}, {"rate": SPACE["rate"], "epochs": IntDistribution(27, 81)}, 30.0)
    assert set(history.common) == {"rate"}

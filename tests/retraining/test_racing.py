"""The race of finalists: more seeds where it is close, bounded, and the same after any interruption."""

import numpy as np
import pytest
from scipy import stats

from tests.storage.test_journal import make_metrics
from tune_sketch.retraining.racing import RaceSearcher, key_of, plan_race, values_on_seeds
from tune_sketch.statistics.comparisons import chances_of_best, holm, mcnemar, measure_optimism
from tune_sketch.storage.journal import Record


class MemoryJournal:
    """Retrainings without a database."""

    def __init__(self):
        self.retrainings = {}

    def add_retraining(self, number, index, config, seed):
        record = Record(key=key_of(number, index), number=number, config=config, seed=seed)
        self.retrainings[record.key] = record
        return record

    def unpark(self, record):
        record.status = "running"


def run_race(confirm_seeds, value_of, finalists=(0, 3, 5)):
    """The keys in the order in which the race asked for them; `value_of(number, index)` is what training gives."""
    journal = MemoryJournal()
    records = [Record(key=f"trial-{n:04d}", number=n, config={"epochs": 1, "name": n}, seed=0) for n in finalists]

    def race():
        return RaceSearcher(journal, records, lambda r: {"key": r.key}, confirm_seeds=confirm_seeds, seed=1)

    searcher, order = race(), []
    while (record := searcher.suggest_new()) is not None:
        order.append((record.number, int(record.key[-2:])))
        value = value_of(record.number, order[-1][1])
        record.status = "failed" if value is None else "completed"
        if value is not None:
            record.epochs = [make_metrics(1, value)]
        searcher = race()  # as a resumed run would build it
    return order, journal


def noise(number, index):
    return 0.004 * float(np.random.default_rng([number, index]).standard_normal())


def test_a_clear_winner_needs_no_more_seeds():
    order, _ = run_race(5, lambda n, i: {0: 0.3, 3: 0.8, 5: 0.5}[n] + noise(n, i))
    assert sorted(order) == [(n, i) for n in (0, 3, 5) for i in (1, 2)]


def test_close_leaders_get_the_seeds_that_the_others_do_without():
    order, _ = run_race(4, lambda n, i: {0: 0.3, 3: 0.801, 5: 0.8}[n] + noise(n, i))
    count = {n: sum(number == n for number, _ in order) for n in (0, 3, 5)}
    assert count == {0: 2, 3: 5, 5: 5}, "twelve in all, four each on average"


@pytest.mark.parametrize("confirm_seeds", [1, 2, 3, 7])
def test_the_total_is_bounded_and_each_finalist_has_its_first_seeds(confirm_seeds):
    order, journal = run_race(confirm_seeds, lambda n, i: 0.5 + noise(n, i))
    assert len(order) == len(set(order)) <= 3 * confirm_seeds
    assert {(n, 1) for n in (0, 3, 5)} <= set(order)
    first = min(2, confirm_seeds)
    assert set(order[: 3 * first]) == {(n, i) for n in (0, 3, 5) for i in range(1, first + 1)}
    seeds = {record.key: record.seed for record in journal.retrainings.values()}
    assert seeds[key_of(0, 1)] == seeds[key_of(5, 1)] != seeds.get(key_of(0, 2)), "the same seeds for all"


def test_equal_finalists_share_alike():
    order, _ = run_race(3, lambda n, i: 0.5)
    assert sorted(order) == [(n, i) for n in (0, 3, 5) for i in (1, 2, 3)]


def test_a_round_waits_for_all_and_is_the_same_in_any_order():
    finalists, records = [0, 1], {}

    def add(number, index, value=None):
        record = Record(key=key_of(number, index), number=number, config={}, seed=0)
        if value is not None:
            record.status, record.epochs = "completed", [make_metrics(1, value)]
        records[record.key] = record

    for number, value in ((0, 0.5), (1, 0.5)):
        add(number, 1, value)
        add(number, 2, value + 0.01)
    plan = plan_race(finalists, records, 4)
    assert len(plan) == 6
    add(1, 3)
    assert plan_race(finalists, records, 4) == plan, "one that runs changes nothing"
    add(0, 3, 0.9)
    assert plan_race(finalists, records, 4) == plan
    add(1, 3, 0.1)
    assert plan_race(finalists, records, 4)[:6] == plan
    assert values_on_seeds(finalists, records, 2) == {0: [0.5, 0.51], 1: [0.5, 0.51]}


def test_a_finalist_that_fails_is_out_and_the_race_goes_on():
    order, _ = run_race(3, lambda n, i: None if n == 0 else 0.5 + noise(n, i))
    assert sum(number == 0 for number, _ in order) == 2
    assert len(order) <= 9
    order, _ = run_race(3, lambda n, i: None)
    assert len(order) == 9, "without a value nobody is behind"


def test_runs_of_before_are_read_as_they_are():
    """All finalists had the same number of seeds then: nothing is asked for again."""
    values = {0: (0.3, 0.31, 0.3), 3: (0.8, 0.81, 0.8), 5: (0.79, 0.8, 0.81)}
    records = {}
    for number, own in values.items():
        for index, value in enumerate(own, start=1):
            record = Record(key=key_of(number, index), number=number, config={}, seed=0, status="completed")
            record.epochs = [make_metrics(1, value)]
            records[record.key] = record
    left = [pair for pair in plan_race([0, 3, 5], records, 3) if key_of(*pair) not in records]
    assert left == [(3, 4)] or left == [(5, 4)] or left == [], left


def test_chances_of_two_agree_with_quadrature():
    """Two finalists with equally many values: for given variances the chance is a normal probability."""
    a, b = np.array([0.50, 0.53, 0.52]), np.array([0.52, 0.55, 0.54])
    difference, num_seeds, degrees = b.mean() - a.mean(), 3, 4
    squares = ((a - a.mean()) ** 2).sum() + ((b - b.mean()) ** 2).sum()
    # Evenly spaced probabilities of the chi-squared and of the half-Cauchy distribution.
    places = (np.arange(1000) + 0.5) / 1000
    between_seeds = squares / stats.chi2.ppf(places, degrees)[:, None]
    between_finalists = between_seeds * stats.halfcauchy.ppf(places) ** 2
    kept = between_finalists / (between_finalists + between_seeds / num_seeds)
    likelihood = stats.norm.pdf(difference, scale=np.sqrt(2 * (between_finalists + between_seeds / num_seeds)))
    chance = stats.norm.cdf(np.sqrt(kept) * difference / np.sqrt(2 * between_seeds / num_seeds))
    expected = (likelihood * chance).sum() / likelihood.sum()
    chances = chances_of_best({1: list(a), 2: list(b)})
    assert chances[2] == pytest.approx(expected, abs=0.01)
    assert sum(chances.values()) == pytest.approx(1.0)


def test_leaders_of_a_wide_field_agree_with_students_t():
    """Where finalists lie far apart, a lead counts fully: a t probability of the difference (pooled variance)."""
    a, b = [0.50, 0.53, 0.52], [0.51, 0.55, 0.54, 0.53]
    others = {number: [0.05 * number, 0.05 * number + 0.02] for number in range(6)}
    chances = chances_of_best({**others, 11: a, 12: b})
    squares = sum(np.var(own) * len(own) for own in (a, b, *others.values()))
    degrees = 2 + 3 + len(others)
    lead = (np.mean(b) - np.mean(a)) / np.sqrt(squares / degrees * (1 / 3 + 1 / 4))
    assert chances[12] == pytest.approx(stats.t.cdf(lead, degrees), abs=0.02)


def test_chances_are_calibrated():
    """Of many races in which the finalists lie as far apart as is assumed, the stated chance comes true."""
    rng = np.random.default_rng(3)
    stated, came_true = [], []
    for _ in range(400):
        truth = rng.normal(0.5, 0.03 * abs(rng.standard_cauchy()), 3)
        values = {n: list(rng.normal(truth[n], 0.03, 3)) for n in range(3)}
        chances = chances_of_best(values)
        chosen = max(chances, key=chances.get)
        stated.append(chances[chosen])
        came_true.append(chosen == int(np.argmax(truth)))
    # 400 races give the share to +-.04 (two errors).
    assert np.mean(came_true) == pytest.approx(np.mean(stated), abs=0.04)


def test_chances_do_not_depend_on_the_order_of_the_finalists():
    """The terminal lists them by trial, the report the chosen one first: both must say the same."""
    values = {0: [0.333, 0.361], 3: [0.424, 0.413], 5: [0.38, 0.40]}
    assert chances_of_best(values) == chances_of_best(dict(reversed(values.items())))


def test_chances_without_noise_or_without_values():
    assert chances_of_best({0: [0.5], 1: [0.6]}) is None, "one seed each tells nothing of the noise"
    assert chances_of_best({0: [], 1: []}) is None
    assert chances_of_best({0: [0.5, 0.5], 1: [0.6, 0.6], 2: []}) == {0: 0.0, 1: 1.0, 2: 0.0}
    assert chances_of_best({0: [0.5, 0.5], 1: [0.5, 0.5]}) == {0: 0.5, 1: 0.5}


def test_optimism_by_hand():
    found = measure_optimism(0.90, [0.84, 0.86])
    # mean 0.85, standard error 0.01, t(0.975, 1) = 12.706
    assert found["optimism"] == pytest.approx(0.05)
    assert found["optimism_low"] == pytest.approx(0.05 - 0.12706, abs=1e-4)
    assert found["optimism_high"] == pytest.approx(0.05 + 0.12706, abs=1e-4)
    assert measure_optimism(0.9, [0.85])["optimism_low"] is None


def test_mcnemar_by_hand():
    a = np.array([True] * 10 + [True] * 9 + [False] * 1 + [False] * 5)
    b = np.array([True] * 10 + [False] * 9 + [True] * 1 + [False] * 5)
    found = mcnemar(a, b)
    assert (found["both"], found["only_first"], found["only_second"]) == (10, 9, 1)
    # 2 * (C(10, 0) + C(10, 1)) / 2^10
    assert found["p"] == pytest.approx(2 * 11 / 1024)
    assert mcnemar(a, a)["p"] == 1.0
    with pytest.raises(ValueError, match="same drawings"):
        mcnemar(a, b[:-1])


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.7]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []

"""The race of finalists: more seeds where it is close, bounded, and the same after any interruption."""

import numpy as np
import pytest

from tests.support.trials import make_trial, train
from tune_sketch.retraining.racing import Race, plan_race, values_on_seeds
from tune_sketch.storage.journal import Journal, retraining_key


def run_race(mean_seeds, value_of, finalists=(0, 3, 5)):
    """The retrainings in the order in which the race asked for them; `value_of(number, index)` is what each gives."""
    journal, trials = Journal(), [make_trial(number) for number in finalists]

    def race():
        return Race(journal, trials, mean_seeds=mean_seeds, seed=1)

    order, racing = [], race()
    while (trial := racing.propose()) is not None:
        order.append((trial.number, trial.seed_index))
        assert racing.unfinished() == [trial]
        value = value_of(*order[-1])
        train(journal, trial, [] if value is None else [value], "failed" if value is None else "completed")
        racing = race()  # as a resumed run would build it
    return order, journal


def make_retraining(number, index, value=None):
    """A retraining that runs, or has come to its end with this value."""
    values, status = ([], "running") if value is None else ([value], "completed")
    return make_trial(number, values, seed_index=index, status=status)


def noise(number, index):
    return 0.004 * float(np.random.default_rng([number, index]).standard_normal())


def test_a_clear_winner_needs_no_more_seeds():
    order, _ = run_race(5, lambda n, i: {0: 0.3, 3: 0.8, 5: 0.5}[n] + noise(n, i))
    assert sorted(order) == [(n, i) for n in (0, 3, 5) for i in (1, 2)]


def test_close_leaders_get_the_seeds_that_the_others_do_without():
    order, _ = run_race(4, lambda n, i: {0: 0.3, 3: 0.801, 5: 0.8}[n] + noise(n, i))
    count = {n: sum(number == n for number, _ in order) for n in (0, 3, 5)}
    assert count == {0: 2, 3: 5, 5: 5}, "twelve in all, four each on average"


@pytest.mark.parametrize("mean_seeds", [1, 2, 3, 7])
def test_the_total_is_bounded_and_each_finalist_has_its_first_seeds(mean_seeds):
    order, journal = run_race(mean_seeds, lambda n, i: 0.5 + noise(n, i))
    assert len(order) == len(set(order)) <= 3 * mean_seeds
    assert {(n, 1) for n in (0, 3, 5)} <= set(order)
    first = min(2, mean_seeds)
    assert set(order[: 3 * first]) == {(n, i) for n in (0, 3, 5) for i in range(1, first + 1)}
    seeds = {trial.key: trial.seed for trial in journal.retrainings.values()}
    assert seeds[retraining_key(0, 1)] == seeds[retraining_key(5, 1)] != seeds.get(retraining_key(0, 2)), (
        "the same seeds for all"
    )


def test_equal_finalists_share_alike():
    order, _ = run_race(3, lambda n, i: 0.5)
    assert sorted(order) == [(n, i) for n in (0, 3, 5) for i in (1, 2, 3)]


def test_a_round_waits_for_all_and_is_the_same_in_any_order():
    finalists, records = [0, 1], {}

    def add(number, index, value=None):
        records[retraining_key(number, index)] = make_retraining(number, index, value)

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
            records[retraining_key(number, index)] = make_retraining(number, index, value)
    left = [pair for pair in plan_race([0, 3, 5], records, 3) if retraining_key(*pair) not in records]
    assert left == [(3, 4)] or left == [(5, 4)] or left == [], left


def test_a_running_retraining_is_not_asked_for_twice_and_a_paused_one_goes_on():
    journal, trials = Journal(), [make_trial(number) for number in (0, 3)]
    race = Race(journal, trials, mean_seeds=2, seed=1)
    asked = [race.propose() for _ in range(4)]
    assert race.propose() is None, "the round waits for all"
    journal.pause(asked[2].key)
    train(journal, asked[0], [0.5], "completed")
    journal.add_retraining(9, 1, {"epochs": 1}, seed=1)  # of an earlier choice of finalists
    again = Race(journal, trials, mean_seeds=2, seed=1)
    assert [trial.key for trial in again.unfinished()] == [trial.key for trial in asked[1:]]
    assert again.missing() == []

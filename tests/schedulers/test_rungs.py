"""Rungs: whole numbers of epochs, the values that trials have there, and the order of trials."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.trials import add_trial, make_trial, train
from tune_sketch.retraining.finalists import choose_finalists
from tune_sketch.schedulers.rungs import curve_epochs, expected_epochs_per_trial, rank_trials, rung_epochs, values_at
from tune_sketch.storage.journal import Journal


@pytest.mark.parametrize(
    ("grace", "most", "factor", "expected"),
    [
        (1, 9, 3, [1, 3, 9]),
        (1, 243, 3, [1, 3, 9, 27, 81, 243]),
        (2, 12, 3, [2, 6, 12]),
        (5, 5, 3, [5]),
        (1, 1, 2, [1]),
    ],
)
def test_rungs_are_whole_numbers(grace, most, factor, expected):
    assert rung_epochs(grace, most, factor) == expected


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_rungs_rise_by_the_factor_from_grace_to_the_full_budget(data):
    most = data.draw(st.integers(1, 10_000))
    grace, factor = data.draw(st.integers(1, most)), data.draw(st.integers(2, 10))
    rungs = rung_epochs(grace, most, factor)
    assert rungs[0] == grace or rungs == [most]
    assert rungs[-1] == most
    assert all(low < high for low, high in itertools.pairwise(rungs))
    assert all(low * factor == high for low, high in itertools.pairwise(rungs[:-1]))
    assert rungs[-2:-1] == [] or rungs[-2] * factor >= most, "no rung is missing before the last"
    assert rungs[0] <= expected_epochs_per_trial(rungs, factor) <= most


def test_expected_epochs():
    assert expected_epochs_per_trial([1, 3, 9], 3) == pytest.approx(1 + 2 / 3 + 6 / 9)


def test_curves_are_shorter_where_full_trainings_are():
    assert {most: curve_epochs(most) for most in (1, 2, 9, 15, 80)} == {1: 1, 2: 1, 9: 3, 15: 5, 80: 6}


def test_a_rung_holds_the_values_of_those_that_trained_so_far():
    trials = [make_trial(0, [0.1, 0.2, 0.3]), make_trial(1, [0.4]), make_trial(2)]
    assert values_at(trials, 1) == {0: 0.1, 1: 0.4}
    assert values_at(trials, 3) == {0: 0.3}
    assert values_at(trials, 4) == {}


def test_a_trial_that_ended_by_itself_counts_at_later_rungs():
    short = make_trial(0, [0.3, 0.4], status="completed")
    assert short.epoch_at(1).val_top1 == 0.3
    assert short.epoch_at(9).val_top1 == 0.4
    for status in ("running", "paused", "stopped", "diverged", "failed", "out_of_memory"):
        other = make_trial(0, [0.3, 0.4], status=status)
        assert other.epoch_at(9) is None
        assert other.epoch_at(2).val_top1 == 0.4


def test_ranking_goes_by_what_each_trial_reached():
    journal = Journal()
    train(journal, add_trial(journal, 9), [0.1] * 9, "completed")
    train(journal, add_trial(journal, 9), [0.3], "stopped")  # more than the others ever had, that it can do at least
    train(journal, add_trial(journal, 9), [0.2] * 9, "completed")
    train(journal, add_trial(journal, 9), [0.1, 0.25, 0.1], "stopped")
    train(journal, add_trial(journal, 2), [0.2] * 2, "completed")  # as good as trial 2, which was begun before
    train(journal, add_trial(journal, 9), [], "failed")
    assert [trial.number for trial in rank_trials(journal.trials)] == [1, 3, 2, 4, 0]
    assert [trial.number for trial in choose_finalists(journal.trials, 2)] == [0, 1, 3]

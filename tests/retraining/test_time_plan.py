"""Retrainings that fit into the time left: the best network first, nothing cut to nonsense, nothing over time."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.trials import add_trial, make_trial, train
from tune_sketch.events import Source
from tune_sketch.retraining.time_plan import Candidate, find_candidates, plan_retrainings, plan_text
from tune_sketch.storage.journal import Journal

BEST = Candidate(5, 20, 15, 1.0)
RECIPE = Candidate(1, 20, 15, 1.0, "recipe")
OTHER = Candidate(3, 18, 15, 1.0)
PAPER = Candidate(0, 20, 15, 1.0, "paper")
ALL = (BEST, RECIPE, OTHER, PAPER)


def plan(seconds, candidates=ALL, retrainings=(), **how):
    how = {"num_workers": 1, "mean_seeds": 2} | how
    return plan_retrainings(candidates, {trial.key: trial for trial in retrainings}, seconds=seconds, **how)


def lengths(planned):
    return [(one.number, one.seed_index, one.num_epochs) for one in planned]


def make_retraining(number, index, values, epochs=20, status="completed"):
    trial = make_trial(number, values, seed_index=index, status=status)
    return type(trial)(**{**trial.__dict__, "config": {"epochs": epochs}})


def test_the_best_is_retrained_as_long_as_time_allows_and_no_shorter_than_it_was_validated():
    assert lengths(plan(14.9)) == [], "15 epochs do not fit: the search's own network is better than nonsense"
    assert lengths(plan(17.5)) == [(5, 1, 17)]
    assert lengths(plan(34.0)) == [(5, 1, 20)], "rather long than with a companion: 14 epochs are too few for it"
    assert lengths(plan(36.0)) == [(5, 1, 20), (1, 1, 16)]


def test_what_helps_the_network_least_is_left_out_first():
    assert [p[:2] for p in lengths(plan(60.0))] == [(5, 1), (1, 1), (3, 1)]
    assert [p[:2] for p in lengths(plan(120.0))] == [(5, 1), (1, 1), (3, 1), (5, 2), (1, 2), (3, 2)]
    assert [p[:2] for p in lengths(plan(140.0))][-1] == (0, 1), "the paper's configuration is there to compare with"
    assert len(plan(math.inf)) == 8, "two seeds of each, and no more were asked for"
    assert [p[:2] for p in lengths(plan(math.inf, mean_seeds=1))] == [(5, 1), (1, 1), (3, 1), (0, 1)]
    assert len(plan(math.inf, mean_seeds=3)) == 12
    text = plan_text(ALL, plan(60.0))
    assert text == (
        "trial 5 1 seed of 20 epochs, trial 1 (recipe) 1 seed of 20 epochs, trial 3 1 seed of 18 epochs; "
        "left out for want of time: trial 0 (paper)"
    )


def test_trainings_beside_each_other_share_the_time():
    assert lengths(plan(20.0, num_workers=2)) == [(5, 1, 20), (1, 1, 20)]
    assert [p.ends_after for p in plan(60.0, num_workers=2, start_seconds=2.0)[:3]] == [22.0, 22.0, 40.0]
    assert lengths(plan(20.0, num_workers=2, start_seconds=2.0, num_cold=1)) == [(5, 1, 20), (1, 1, 18)]


def test_what_is_too_slow_is_passed_over_for_what_fits():
    slow = Candidate(1, 20, 15, 10.0, "recipe")
    assert [p[:2] for p in lengths(plan(60.0, (BEST, slow, OTHER)))] == [(5, 1), (3, 1), (5, 2)]
    assert lengths(plan(60.0, (slow, BEST))) == [], "the best does not fit: another one would be no comparison"


def test_seeds_of_one_configuration_are_equally_long():
    done = make_retraining(5, 1, [0.5] * 16, epochs=16)
    assert lengths(plan(100.0, (BEST,), [done])) == [(5, 2, 16)]
    assert lengths(plan(15.0, (BEST,), [done])) == []


def test_retrainings_that_run_keep_their_worker():
    running = make_retraining(5, 1, [0.5] * 4, status="running")
    assert lengths(plan(30.0, (BEST, OTHER), [running])) == []
    (other,) = plan(32.0, (BEST, OTHER), [running])
    assert (other.number, other.num_epochs, other.ends_after) == (3, 16, 32.0)


def test_without_a_chance_to_be_the_best_there_are_no_more_seeds():
    values = {5: (0.80, 0.81), 1: (0.80, 0.80), 3: (0.30, 0.31)}
    done = [make_retraining(n, i, [v] * 20) for n, own in values.items() for i, v in enumerate(own, start=1)]
    planned = plan(math.inf, (BEST, RECIPE, OTHER), done, mean_seeds=3)
    assert [p[:2] for p in lengths(planned)] == [(5, 3), (1, 3), (5, 4)], "nine in all"


def test_a_retraining_that_failed_is_not_tried_again_on_its_seed():
    failed = make_retraining(5, 1, [], status="failed")
    assert lengths(plan(40.0, (BEST,), [failed])) == [(5, 2, 20)]


def test_time_is_kept_for_the_last_step():
    """The last step: the winner once more, on a quarter more drawings."""
    assert lengths(plan(40.0, (BEST,), last_step=1.25)) == [(5, 1, 17)]
    assert lengths(plan(45.0, (BEST,), last_step=1.25)) == [(5, 1, 20)]
    assert lengths(plan(30.0, (BEST,), last_step=1.25)) == [], "no time for both: the search's own network has its own"
    assert lengths(plan(16.0, (BEST,), last_step=1.25)) == [(5, 1, 16)], "a retraining fits and a last step does not"
    assert lengths(plan(66.0, (BEST, RECIPE), last_step=1.25)) == [(5, 1, 20), (1, 1, 20)]


@given(
    seconds=st.floats(0, 1e4),
    num_workers=st.integers(1, 4),
    mean_seeds=st.integers(1, 4),
    last_step=st.sampled_from([0.0, 1.25]),
    sizes=st.lists(st.tuples(st.integers(1, 50), st.floats(0.01, 1.0), st.floats(0.01, 30.0)), max_size=5),
)
def test_nothing_planned_ends_late_or_is_shorter_than_it_may_be(seconds, num_workers, mean_seeds, last_step, sizes):
    candidates = [Candidate(n, e, max(1, round(share * e)), s) for n, (e, share, s) in enumerate(sizes)]
    planned = plan(seconds, candidates, num_workers=num_workers, mean_seeds=mean_seeds, last_step=last_step)
    assert len({(one.number, one.seed_index) for one in planned}) == len(planned) <= mean_seeds * max(1, len(sizes))
    for one in planned:
        candidate = candidates[one.number]
        assert candidate.least_epochs <= one.num_epochs <= candidate.epochs
        assert one.ends_after <= seconds * (1 + 1e-9)
    worked = sum(one.num_epochs * candidates[one.number].epoch_seconds for one in planned)
    assert worked <= num_workers * seconds * (1 + 1e-9)
    least = candidates[0].least_epochs * candidates[0].epoch_seconds * (1 + 1e-9) if candidates else math.inf
    if seconds >= least and not last_step * least <= seconds * (1 + 1e-8) < (1 + last_step) * least * (1 + 1e-8):
        assert planned[0].number == 0, "where the best fits it is retrained, unless only its last step fits"


def test_candidates_are_ordered_by_use_and_not_shorter_than_the_best():
    journal = Journal()
    train(journal, add_trial(journal, 9, source=Source("paper")), [0.1], "stopped")
    train(journal, add_trial(journal, 9, source=Source("recipe")), [0.2, 0.3], "stopped")
    train(journal, add_trial(journal, 9), [0.4, 0.6, 0.5], "stopped", epoch_seconds=3.0)
    train(journal, add_trial(journal, 9), [0.4, 0.5, 0.5, 0.55], "stopped")
    train(journal, add_trial(journal, 9), [], "diverged")
    found = find_candidates(journal.trials, 2)
    assert [(c.number, c.kind, c.least_epochs) for c in found] == [
        (2, "found", 2),
        (1, "recipe", 2),
        (3, "found", 4),
        (0, "paper", 2),
    ]
    assert [c.epoch_seconds for c in found] == [3.0, 2.0, 2.0, 2.0]
    assert {c.epochs for c in found} == {9}
    assert [c.number for c in find_candidates(journal.trials[:2], 2)] == [1, 0]
    assert find_candidates([], 2) == []


def test_a_short_configuration_may_be_as_short_as_it_is():
    journal = Journal()
    train(journal, add_trial(journal, 9, source=Source("paper")), [0.1] * 8 + [0.9], "completed")
    train(journal, add_trial(journal, 3), [0.1, 0.2, 0.3], "completed")
    assert [(c.number, c.least_epochs) for c in find_candidates(journal.trials, 2)] == [(0, 9), (1, 3)]


def test_what_was_seen_early_is_no_reason_for_a_training_in_which_nothing_is_learned():
    journal = Journal()
    train(journal, add_trial(journal, 50, source=Source("paper")), [0.1])
    train(journal, add_trial(journal, 12), [0.2])
    found = find_candidates(journal.trials, 2, fewest_epochs=17)
    assert [(c.number, c.least_epochs) for c in found] == [(1, 12), (0, 17)]


@pytest.mark.parametrize("seconds", [10.0, 50.0])
def test_what_trainings_really_take_is_learned_from_retrainings_too(seconds):
    journal = Journal()
    train(journal, add_trial(journal, 9, source=Source("paper")), [0.1], epoch_seconds=1.0)
    train(journal, journal.add_retraining(0, 1, {"epochs": 9}, 1), [0.1] * 3, epoch_seconds=seconds)
    (candidate,) = find_candidates(journal.trials, 1, journal.retrainings.values())
    assert candidate.epoch_seconds == seconds

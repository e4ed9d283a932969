"""ASHA decides as Ray's ASHA does, on what is recorded alone, and never compares different epochs."""

import random
from types import SimpleNamespace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from ray.tune.schedulers import ASHAScheduler, TrialScheduler

from tests.support.trials import add_trial, make_epoch, make_trial
from tests.support.untrained import make_job
from tune_sketch.events import Decision, EpochReport, Worker
from tune_sketch.schedulers.asha import ASHA, NEVER_STOP
from tune_sketch.schedulers.queue import TrialQueue
from tune_sketch.schedulers.recorder import Recorder
from tune_sketch.storage.journal import Journal

RUNGS = [1, 3, 9]


def test_decisions_equal_those_of_rays_asha():
    """600 reports of 60 interleaved trials: the same decision each time as ray.tune's class."""
    journal = Journal()
    ours = Recorder(journal, TrialQueue(journal, [], lambda: None, make_job), ASHA(RUNGS, 3))
    rays = ASHAScheduler(time_attr="epoch", metric="val_top1", mode="max", max_t=9, grace_period=1, reduction_factor=3)
    rng = random.Random(0)
    running, num_stopped = [], 0
    for _ in range(600):
        if len(running) < 4:
            key = add_trial(journal, 9).key
            running.append(key)
            rays.on_trial_add(None, SimpleNamespace(trial_id=key))
        key = rng.choice(running)
        epoch, value = len(journal.find(key).epochs) + 1, rng.choice([0.1, 0.2, 0.3, 0.4, 0.5])
        verdict = ours(key, EpochReport(epoch, make_epoch(epoch, value).metrics, Worker("here", 1), epoch))
        theirs = rays.on_trial_result(None, SimpleNamespace(trial_id=key), {"epoch": epoch, "val_top1": value})
        assert (verdict == "stop") == (theirs == TrialScheduler.STOP)
        if verdict == "stop":
            running.remove(key)
            num_stopped += journal.find(key).status == "stopped"
    assert num_stopped > 20
    assert any(trial.status == "completed" for trial in journal.trials)


def test_the_first_at_a_rung_goes_on_and_others_are_compared_with_those_before():
    asha = ASHA(RUNGS, 3)
    assert asha.decide(make_trial(0, [0.1]), []) == Decision("continue", None, 0, 0)
    before = [make_trial(number, [0.5 + number / 10]) for number in range(3)]
    cutoff = float(np.percentile([0.5, 0.6, 0.7], 200 / 3))
    assert asha.decide(make_trial(3, [0.65]), before) == Decision("continue", cutoff, 1, 3)
    assert asha.decide(make_trial(3, [cutoff]), before).verdict == "continue", "not under the cutoff"
    assert asha.decide(make_trial(3, [0.55]), before) == Decision("stop", cutoff, 2, 3)


def test_there_is_no_decision_between_rungs_at_the_last_one_and_about_retrainings():
    asha, others = ASHA(RUNGS, 3), [make_trial(number, [0.9] * 9) for number in range(5)]
    assert asha.decide(make_trial(5, [0.1] * 2), others) is None
    assert asha.decide(make_trial(5, [0.1] * 9), others) is None
    assert asha.decide(make_trial(5, [0.1] * 3), others).verdict == "stop"
    assert asha.decide(make_trial(5, [0.1] * 3, seed_index=1), others) is None
    assert NEVER_STOP.decide(make_trial(5, [0.1]), others) is None


def test_a_trial_is_not_compared_with_itself():
    """As it stands in the journal when its epoch is decided: with the epochs before, or all of them."""
    trial = make_trial(1, [0.5, 0.5, 0.5])
    assert ASHA(RUNGS, 3).decide(trial, [make_trial(0, [0.4] * 3), trial]) == Decision("continue", 0.4, 0, 1)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.4]), min_size=1, max_size=30), st.integers(2, 5))
def test_it_is_the_quantile_of_those_before_whatever_the_values(values, factor):
    asha, trials = ASHA(RUNGS, factor), []
    for number, value in enumerate(values):
        trial = make_trial(number, [value])
        decision = asha.decide(trial, trials)
        assert (decision.num_compared, decision.num_better) == (number, sum(other > value for other in values[:number]))
        if number:
            assert decision.cutoff == np.percentile(values[:number], 100 * (1 - 1 / factor))
            assert (decision.verdict == "stop") == (value < decision.cutoff)
        trials.append(trial)

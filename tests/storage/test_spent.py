"""The time that a run was worked on, by part, from what is recorded."""

import pytest

from tests.support.facts import make_session
from tests.support.trials import make_trial
from tune_sketch.storage.history import History
from tune_sketch.storage.spent import Spent, measure_spent


def make_history():
    """A search with epochs at 11 and 12 s, and at 111 s; a retraining with epochs at 121 and 122 s."""
    trials = [make_trial(0, [0.5, 0.6], recorded_at=10.0, started_at=5.0)]
    trials.append(make_trial(1, [0.5], recorded_at=110.0, started_at=105.0, ended_at=112.0))
    retraining = make_trial(1, [0.5, 0.6], recorded_at=120.0, started_at=113.0, seed_index=1)
    return History(trials, {retraining.key: retraining})


def test_each_session_counts_from_its_command_to_its_end():
    sessions = [make_session(4.0, prepared_seconds=3.0), make_session(103.0, prepared_seconds=2.0, ended_at=130.0)]
    spent = measure_spent(sessions, make_history())
    assert spent == Spent(preparation=5.0, search=8.0 + 9.0, retraining=10.0, ending=8.0)
    assert spent.total == 40.0


def test_the_session_at_work_counts_until_now_and_a_killed_one_to_what_it_recorded():
    sessions = [make_session(4.0), make_session(103.0)]
    assert measure_spent(sessions, make_history()).total == pytest.approx(8.0 + 19.0)
    assert measure_spent(sessions, make_history(), now=150.0).total == pytest.approx(8.0 + 47.0)
    assert measure_spent([make_session(500.0)], make_history(), now=501.0).total == 1.0
    assert measure_spent([], make_history()).total == 0.0

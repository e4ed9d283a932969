"""Real kills of real searches at random moments: nothing that was recorded is lost, none is done twice."""

import random

import pytest

from tests.killing import ANY_PLACES, PROPOSAL_PLACES, REPORT_PLACE, RETRAINING_PLACES, SESSION_PLACE, Killer
from tests.support.kill_rows import Kill, table
from tests.support.recorded import check_complete, untimed

NUM_KILLS = 14  # here, and the rest of twenty in the test below; `python -m tests.killing --long` makes 100


@pytest.mark.real
@pytest.mark.timeout(900)
def test_nothing_is_lost_under_random_kills(tmp_path):
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    kills: list[Kill] = []
    resume_seconds: list[float] = []
    round_ = 0
    while len(kills) < NUM_KILLS:
        killer = Killer(tmp_path / str(round_), seed + round_)
        killer.kill_until(NUM_KILLS - len(kills))
        check_complete(killer.run)
        kills += killer.kills
        resume_seconds += killer.resume_seconds
        round_ += 1
    print(table(kills, resume_seconds, round_))


@pytest.mark.real
@pytest.mark.timeout(900)
def test_nothing_is_lost_by_a_death_at_any_write_of_the_journal(tmp_path):
    killer = Killer(tmp_path / "search", seed=0)
    killer.kill_at([SESSION_PLACE, *PROPOSAL_PLACES, *ANY_PLACES, *RETRAINING_PLACES, REPORT_PLACE])
    check_complete(killer.run)


@pytest.mark.real
@pytest.mark.timeout(900)
def test_a_search_that_was_killed_records_what_an_uninterrupted_one_does(tmp_path, straight):
    """One trial at a time, so that the order of results is fixed: same trials, same numbers, bit for bit."""
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    killer = Killer(tmp_path / "killed", seed, flags=straight.flags)
    killer.kill_until(6)
    assert untimed(killer.run) == untimed(straight.run)

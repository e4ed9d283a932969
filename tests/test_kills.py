"""Real kills of a real search at random moments: nothing that was recorded is lost, none is done twice."""

import random

import pytest

from tests.killing import Killer, check_complete, snapshot, values_of

NUM_KILLS = 20  # in all; `python -m tests.killing --kills 100` makes more


@pytest.mark.real
@pytest.mark.timeout(2400)
def test_nothing_is_lost_under_random_kills(tmp_path):
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    num_kills, round_ = 0, 0
    while num_kills < NUM_KILLS:
        killer = Killer(tmp_path / str(round_), seed + round_)
        killer.kill_until(min(7, NUM_KILLS - num_kills))
        check_complete(killer.run)
        num_kills += len(killer.kills)
        round_ += 1
    assert num_kills >= NUM_KILLS


@pytest.mark.real
@pytest.mark.timeout(900)
def test_a_search_that_was_killed_records_what_an_uninterrupted_one_does(tmp_path):
    """One trial at a time, so that the order of results is fixed: same trials, same numbers, bit for bit."""
    undisturbed = Killer(tmp_path / "undisturbed", seed=0, extra="--max-concurrent 1")
    assert undisturbed.start(None).wait(timeout=400) == 0
    killed = Killer(tmp_path / "killed", seed=1, extra="--max-concurrent 1")
    killed.kill_until(3)
    assert values_of(killed.run) == values_of(undisturbed.run)
    ours, theirs = snapshot(killed.run), snapshot(undisturbed.run)
    assert {k: (r.config, r.status) for k, r in ours.items()} == {k: (r.config, r.status) for k, r in theirs.items()}

"""Trainings are handed out once, unfinished ones first, and again when their process died."""

import pytest

from tests.support.trials import add_trial, train
from tests.support.untrained import make_job
from tune_sketch.schedulers.queue import TrialQueue
from tune_sketch.storage.journal import Journal


@pytest.fixture
def journal():
    return Journal()


def make_queue(journal, unfinished=(), *, num_new=0, **more):
    left = iter(range(num_new))
    return TrialQueue(
        journal, unfinished, lambda: add_trial(journal) if next(left, None) is not None else None, make_job, **more
    )


def test_unfinished_trials_are_handed_out_first_those_begun_before_others(journal):
    fresh, begun, done = (add_trial(journal) for _ in range(3))
    train(journal, begun, [0.5])
    train(journal, done, [0.5], "stopped")
    journal.pause(begun.key)
    queue = make_queue(journal, [trial for trial in journal.trials if trial.is_unfinished], num_new=1)
    assert next(queue).key == begun.key
    assert journal.trials[begun.number].status == "running"
    assert [next(queue).key for _ in range(2)] == [fresh.key, "trial-0003"]
    assert next(queue) is None, "something is still handed out, and may come back"


def test_it_ends_when_nothing_is_left(journal):
    trials = [add_trial(journal) for _ in range(2)]
    queue = make_queue(journal, trials)
    assert [next(queue).key for _ in range(2)] == ["trial-0000", "trial-0001"]
    assert next(queue) is None
    for trial in trials:
        queue.give_back(trial.key, again=False)
    with pytest.raises(StopIteration):
        next(queue)
    assert list(iter(make_queue(journal))) == []


def test_a_training_whose_process_died_is_handed_out_again_after_the_others(journal):
    first, second = add_trial(journal), add_trial(journal)
    queue = make_queue(journal, [first, second])
    assert next(queue).key == first.key
    queue.give_back(first.key, again=True)
    assert [next(queue).key for _ in range(2)] == [second.key, first.key]
    assert next(queue) is None
    for trial in (first, second):
        queue.give_back(trial.key, again=False)
    with pytest.raises(StopIteration):
        next(queue)


def test_nothing_new_while_winding_up(journal):
    stopping = []
    queue = make_queue(journal, num_new=9, may_start=lambda: not stopping)
    assert next(queue).key == "trial-0000"
    stopping.append(True)
    assert next(queue) is None
    queue.give_back("trial-0000", again=False)
    with pytest.raises(StopIteration):
        next(queue)
    assert len(journal.trials) == 1


def test_a_proposal_that_was_made_to_see_whether_there_is_one_is_kept(journal):
    queue = make_queue(journal, num_new=1)
    assert queue.has_next()
    assert queue.has_next()
    assert len(journal.trials) == 1
    assert next(queue).key == "trial-0000"
    assert not queue.has_next()
    assert not make_queue(journal, num_new=1, may_start=lambda: False).has_next()
    assert len(journal.trials) == 1

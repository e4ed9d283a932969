"""Cores, threads and GPUs of a trial, and how many run at once; no machine here has a GPU."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tune_sketch.backend.allocation
from tune_sketch.backend.allocation import (
    allocate_workers,
    count_on_gpus,
    count_slots,
    describe_workers,
    has_room,
)
from tune_sketch.backend.base import Workers
from tune_sketch.config.flags import make_settings


def settings_of(**choices):
    return make_settings("baseline", {"weights": "none"} | choices)


@pytest.mark.parametrize(
    ("have", "num_trainings", "choices", "expected"),
    [
        ([(2, 0)], 8, {}, (2, 1, 0)),  # trials beside each other rather than threads
        ([(2, 0)], 1, {}, (1, 1, 0)),  # one core is left to other programs
        ([(3, 0)], 1, {}, (1, 2, 0)),
        ([(8, 0)], 1, {}, (1, 7, 0)),
        ([(8, 0)], 2, {}, (2, 3, 0)),
        ([(2, 0)], 8, {"max_concurrent": 1}, (1, 1, 0)),
        ([(2, 0)], 8, {"max_concurrent": 1, "cpus_per_trial": 2.0}, (1, 2, 0)),
        ([(2, 0)], 8, {"max_concurrent": 1, "cpus_per_trial": 1.0}, (1, 1, 0)),
        ([(16, 0)], 6, {}, (6, 2, 0)),
        ([(64, 0)], 1, {}, (1, 8, 0)),
        ([(0, 0), (4, 0), (4, 0)], 3, {}, (3, 1, 0)),  # two with two threads each would fill a machine
        ([(0, 0), (4, 0), (4, 0)], 2, {}, (2, 3, 0)),
        ([(16, 1)], 50, {}, (3, 5, 0.3333)),
        ([(16, 2)], 50, {}, (6, 2, 0.3333)),
        ([(16, 2)], 2, {}, (2, 8, 1)),  # each has a GPU of its own
        ([(16, 2)], 3, {}, (3, 4, 0.5)),
        ([(16, 2)], 50, {"gpus_per_trial": 0.4}, (4, 3, 0.4)),
        ([(16, 4)], 50, {"gpus_per_trial": 2.0}, (2, 8, 2)),
        ([(16, 4)], 50, {"gpus_per_trial": 0.0}, (16, 1, 0)),
    ],
)
def test_workers(machines, have, num_trainings, choices, expected):
    machines(*have)
    workers = allocate_workers(settings_of(**choices), num_trainings, trials_per_gpu=3)
    at_once = min(workers.num_workers, num_trainings)
    assert (at_once, workers.num_threads, workers.gpus) == expected
    assert at_once * workers.num_threads <= sum(cpus for cpus, _ in have), "no core has two threads"


def test_two_gpus_must_be_on_one_machine(machines):
    machines((8, 1), (8, 1))
    with pytest.raises(ValueError, match=r"2 GPUs, the largest machine has 8 CPUs and 1 GPUs"):
        allocate_workers(settings_of(gpus_per_trial=2.0), 8)


@pytest.mark.parametrize("number", range(1, 12))
def test_a_fraction_fits_as_often_as_it_was_meant(number):
    assert count_on_gpus(2.0, 10_000 // number / 10_000) == 2 * number


def test_a_cluster_that_may_grow_waits_for_machines_that_were_asked_for(machines):
    machines((2, 0))
    asked = settings_of(gpus_per_trial=1.0)
    assert allocate_workers(asked, 8, may_grow=True) == Workers(1, None, 1.0, 1.0, 1)
    with pytest.raises(ValueError, match="one trial asks for 1 CPUs and 1 GPUs"):
        allocate_workers(asked, 8)
    with pytest.raises(ValueError, match="or give --gpus-per-trial to wait for machines that have as many"):
        allocate_workers(settings_of(cpus_per_trial=4.0), 8, may_grow=True)
    machines()
    assert allocate_workers(asked, 8, may_grow=True).num_workers == 1


def test_one_more_is_asked_for_than_fits_so_that_a_cluster_grows(machines):
    machines((2, 0), (2, 0))
    workers = allocate_workers(settings_of(cpus_per_trial=1.0), 50, may_grow=True)
    assert (workers.num_workers, workers.most) == (4, None)
    assert [has_room(workers, number) for number in (0, 4, 5)] == [True, True, False]
    machines((2, 0), (2, 0), (2, 0))
    assert has_room(workers, 6), "a machine has joined"
    fixed = allocate_workers(settings_of(cpus_per_trial=1.0), 50)
    assert [has_room(fixed, number) for number in (5, 6)] == [True, False]
    bounded = allocate_workers(settings_of(max_concurrent=3), 50, may_grow=True)
    assert [has_room(bounded, number) for number in (2, 3)] == [True, False]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 64), st.integers(0, 8)), min_size=1, max_size=5),
    st.integers(1, 100),
    st.integers(1, 8),
    st.none() | st.integers(1, 20),
)
def test_workers_never_ask_for_more_than_there_is(have, num_trainings, trials_per_gpu, max_concurrent):
    rows = [{"CPU": float(cpus), "GPU": float(gpus)} for cpus, gpus in have]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tune_sketch.backend.allocation, "list_machines", lambda: rows)
        try:
            workers = allocate_workers(
                settings_of(max_concurrent=max_concurrent), num_trainings, trials_per_gpu=trials_per_gpu
            )
        except ValueError:  # a machine has GPUs and fewer cores
            assert any(gpus for _, gpus in have)
            return
    assert 1 <= workers.num_workers == workers.most <= (max_concurrent or math.inf)
    assert workers.num_workers <= count_slots(rows, workers.cpus, workers.gpus)
    assert workers.num_workers * workers.cpus <= sum(cpus for cpus, _ in have)
    assert workers.num_threads == int(workers.cpus) >= 1
    assert workers.gpus <= 1


def test_workers_in_words():
    assert describe_workers(Workers(1, 1, 1.0, 0.0, 1)) == "1 trial at once, each with 1 thread"
    assert describe_workers(Workers(3, 3, 2.0, 1 / 3, 2)) == "3 trials at once, each with 0.333 GPU and 2 threads"
    assert Workers(3, 3, 2.0, 0.5, 2).resources() == {"cpu": 2.0, "gpu": 0.5}


@pytest.mark.parametrize(
    ("have", "choices", "helps", "helps_not"),
    [
        ((2, 0), {"cpus_per_trial": 3.0}, "lower --cpus-per-trial", "--gpus-per-trial"),
        ((8, 1), {"gpus_per_trial": 2.0}, "lower --gpus-per-trial", "--cpus-per-trial"),
        (
            (2, 1),
            {"gpus_per_trial": 2.0, "cpus_per_trial": 3.0},
            "lower --cpus-per-trial or lower --gpus-per-trial",
            "-",
        ),
        ((0, 0), {}, "add a machine with cores to the cluster", "lower"),
    ],
)
def test_only_what_helps_is_advised(machines, have, choices, helps, helps_not):
    machines(have)
    with pytest.raises(ValueError, match="the largest machine has") as caught:
        allocate_workers(settings_of(**choices), 8)
    advice = str(caught.value).rpartition("GPUs: ")[2]
    assert helps in advice
    assert helps_not == "-" or helps_not not in advice

"""The timeline: trainings on the workers that they ran on, over kills and pauses, on GPUs, and unknown ones."""

import itertools
from dataclasses import replace

import pytest

from tests.support.fake_runs import make_finished_run
from tune_sketch.analysis.figures.timeline import (
    count_at_once,
    find_pauses,
    measure_use,
    plot_timeline,
    tabulate_timeline,
)
from tune_sketch.analysis.run_data import read_run
from tune_sketch.events import Epoch, Trial, Worker
from tune_sketch.storage.files import read_csv
from tune_sketch.storage.history import History


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return read_run(make_finished_run(tmp_path_factory.mktemp("timeline") / "run").path)


def training(number, *stretches):
    """A trial of epochs of ten seconds; a stretch is (start of its first epoch, epochs, node, process, gpus)."""
    trial = Trial(key=f"trial-{number:04d}", number=number, config={}, seed=0, status="completed")
    for start, num_epochs, node, process, gpus in stretches:
        for index in range(num_epochs):
            recorded_at = 1000.0 + start + 10 * (index + 1)
            worker = Worker(node, process, gpus)
            trial = trial.with_epoch(Epoch(len(trial.epochs) + 1, {"epoch_seconds": 10.0}, worker, recorded_at))
    return trial


def timeline_of(run, *trials):
    return tabulate_timeline(replace(run, history=History(list(trials))))


def check_no_worker_is_double(rows):
    for worker in {row["worker"] for row in rows}:
        own = sorted((row["start_seconds"], row["end_seconds"]) for row in rows if row["worker"] == worker)
        for (_, end), (start, _) in itertools.pairwise(own):
            assert start >= end - 0.5


def test_every_epoch_of_a_run_is_on_the_process_that_trained_it(run):
    rows = tabulate_timeline(run)
    check_no_worker_is_double(rows)
    assert {row["worker_name"] for row in rows} == {"worker 1", "worker 2"}
    epochs = read_csv(run.run.epochs_csv) + read_csv(run.run.retraining_epochs_csv)
    assert sum(row["last_epoch"] - row["first_epoch"] + 1 for row in rows) == len(epochs)
    process_of = {row["worker"]: row["process"] for row in rows}
    assert {process: sum(r["process"] == str(process) for r in epochs) for process in process_of.values()} == {
        process_of[worker]: sum(row["last_epoch"] - row["first_epoch"] + 1 for row in rows if row["worker"] == worker)
        for worker in process_of
    }


def test_a_training_that_moved_is_in_two_places_and_a_new_process_takes_the_old_ones(run):
    rows = timeline_of(
        run,
        training(0, (0, 3, "10.0.0.1", 11, "0"), (60, 2, "10.0.0.2", 22, "0")),
        training(1, (0, 2, "10.0.0.1", 12, "1")),
        training(2, (40, 2, "10.0.0.1", 13, "0")),  # the next process on the first one's GPU
    )
    places = [(row["training"], row["worker_name"], row["first_epoch"], row["last_epoch"]) for row in rows]
    assert places == [
        ("trial-0000", "10.0.0.1 GPU 0", 1, 3),
        ("trial-0001", "10.0.0.1 GPU 1", 1, 2),
        ("trial-0002", "10.0.0.1 GPU 0", 1, 2),
        ("trial-0000", "10.0.0.2 GPU 0", 4, 5),
    ]
    times, counts, has_gpus = count_at_once(rows, find_pauses(rows))
    assert has_gpus
    assert max(counts) == 2
    assert dict(zip(times, counts, strict=True))[60.0] == 1
    assert measure_use(rows) == pytest.approx(90 / (60 + 20 + 20 + 10 - 10))


def test_two_trainings_that_share_a_gpu_use_one(run):
    rows = timeline_of(run, *(training(number, (0, 2, "10.0.0.1", number + 1, "0")) for number in (0, 1)))
    assert {row["worker_name"] for row in rows} == {"GPU 0 worker 1", "GPU 0 worker 2"}
    assert max(count_at_once(rows, [])[1]) == 1


def test_the_clock_stands_still_between_two_sessions(run):
    rows = timeline_of(run, training(0, (0, 2, "a", 1, ""), (86400, 2, "a", 2, "")))
    assert {row["worker"] for row in rows} == {1}
    assert find_pauses(rows) == [(20.0, 86400.0)]
    assert measure_use(rows) == 1
    assert plot_timeline(rows, run).axes[0].get_xlim()[1] < 60, "seconds, without the pause"


def test_trainings_of_unknown_processes_are_drawn_on_workers_that_were_free(run):
    unknown = [replace(t, epochs=tuple(replace(epoch, worker=None) for epoch in t.epochs)) for t in run.trials]
    rows = timeline_of(run, *unknown)
    check_no_worker_is_double(rows)
    assert {row["worker"] for row in rows} == {1, 2}
    assert {row["node"] for row in rows} == {""}

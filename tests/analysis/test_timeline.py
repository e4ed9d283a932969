"""The timeline: trainings on the workers that they ran on, over kills and pauses, on GPUs, and of older versions."""

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
from tune_sketch.analysis.run_data import epoch_of, read_run
from tune_sketch.storage.journal import Record
from tune_sketch.storage.run_directory import METRICS, read_csv


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return read_run(make_finished_run(tmp_path_factory.mktemp("timeline") / "run").path)


def training(number, *stretches):
    """A trial of epochs of ten seconds; a stretch is (start of its first epoch, epochs, node, process, gpus)."""
    record = Record(key=f"trial-{number:04d}", number=number, config={}, seed=0, status="completed")
    for start, num_epochs, node, process, gpus in stretches:
        for place in range(num_epochs):
            row = {"epoch": str(len(record.epochs) + 1), "epoch_seconds": "10"}
            row |= {"recorded_at": str(1000 + start + 10 * (place + 1))}
            record.epochs.append(epoch_of(row | {"node": node, "process": process, "gpus": gpus}))
    return record


def timeline_of(run, *records):
    return tabulate_timeline(replace(run, trials=list(records), retrainings=[]))


def check_no_worker_is_double(rows):
    for worker in {row["worker"] for row in rows}:
        own = sorted((row["start_seconds"], row["end_seconds"]) for row in rows if row["worker"] == worker)
        for (_, end), (start, _) in itertools.pairwise(own):
            assert start >= end - 0.5


def test_every_epoch_of_a_run_is_on_the_process_that_trained_it(run):
    rows = tabulate_timeline(run)
    check_no_worker_is_double(rows)
    assert {row["worker_name"] for row in rows} == {"worker 1", "worker 2"}
    epochs = read_csv(run.run.epochs_csv) + read_csv(run.run.confirm_epochs_csv)
    assert sum(row["last_epoch"] - row["first_epoch"] + 1 for row in rows) == len(epochs)
    process_of = {row["worker"]: row["process"] for row in rows}
    assert {process: sum(r["process"] == process for r in epochs) for process in process_of.values()} == {
        process_of[worker]: sum(row["last_epoch"] - row["first_epoch"] + 1 for row in rows if row["worker"] == worker)
        for worker in process_of
    }


def test_a_training_that_moved_is_in_two_places_and_a_new_process_takes_the_old_ones(run):
    rows = timeline_of(
        run,
        training(0, (0, 3, "10.0.0.1", "11", "0"), (60, 2, "10.0.0.2", "22", "0")),
        training(1, (0, 2, "10.0.0.1", "12", "1")),
        training(2, (40, 2, "10.0.0.1", "13", "0")),  # the next process on the first one's GPU
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
    rows = timeline_of(run, *(training(number, (0, 2, "10.0.0.1", str(number + 1), "0")) for number in (0, 1)))
    assert {row["worker_name"] for row in rows} == {"GPU 0 worker 1", "GPU 0 worker 2"}
    assert max(count_at_once(rows, [])[1]) == 1


def test_the_clock_stands_still_between_two_sittings(run):
    rows = timeline_of(run, training(0, (0, 2, "a", "1", ""), (86400, 2, "a", "2", "")))
    assert {row["worker"] for row in rows} == {1}
    assert find_pauses(rows) == [(20.0, 86400.0)]
    assert measure_use(rows) == 1
    assert plot_timeline(rows, run).axes[0].get_xlim()[1] < 60, "seconds, without the pause"


def test_a_run_of_an_older_version_is_drawn_on_workers_that_were_free(run):
    epochs = [{name: row[name] for name in ("epoch", *METRICS, "recorded_at")} for row in read_csv(run.run.epochs_csv)]
    assert "process" not in epochs[0]
    old = [replace(record, epochs=[]) for record in run.trials]
    for row, numbers in zip(epochs, read_csv(run.run.epochs_csv), strict=True):
        old[int(numbers["trial"])].epochs.append(epoch_of(row))
    rows = timeline_of(run, *old)
    check_no_worker_is_double(rows)
    assert {row["worker"] for row in rows} == {1, 2}
    assert {row["node"] for row in rows} == {""}

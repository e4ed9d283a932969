"""Choosing finalists and a winner, and the numbers of confirm.csv."""

import math

import pytest

from tests.storage.test_journal import make_metrics
from tune_sketch.confirm import choose_finalists, choose_winner, rank_trials
from tune_sketch.retraining.results import confirm_rows
from tune_sketch.statistics.intervals import paired_interval, standard_deviation, t_interval, wilson_interval
from tune_sketch.storage.journal import Journal


@pytest.fixture
def journal(tmp_path):
    return Journal(f"sqlite:///{tmp_path / 'study.db'}", "s", create=True)


def add(journal, values, status, epochs=9):
    record = journal.add_trial({"epochs": epochs}, {}, {}, seed=0, origin={"kind": "random", "rung": None})
    for epoch, value in enumerate(values, start=1):
        journal.record_epoch(record, make_metrics(epoch, value))
    if status:
        journal.end(record, status)
    return record


def test_ranking_goes_by_what_each_trial_reached(journal):
    add(journal, [0.1] * 9, "completed")
    add(journal, [0.3], "stopped")  # more than the others ever had, and that it can do at least
    add(journal, [0.2] * 9, "completed")
    add(journal, [0.1, 0.25, 0.1], "stopped")
    add(journal, [0.2] * 2, "completed", epochs=2)  # as good as trial 2, which was begun before
    add(journal, [], "failed")
    assert [record.number for record in rank_trials(journal.trials)] == [1, 3, 2, 4, 0]
    assert [r.number for r in choose_finalists(journal.trials, 2)] == [0, 1, 3]


def test_winner_is_chosen_on_validation_means(journal):
    for number, values in ((0, (0.5, 0.9)), (1, (0.72, 0.72)), (2, (0.3, 0.3))):
        for index, value in enumerate(values, start=1):
            record = journal.add_retraining(number, index, {"epochs": 1}, seed=index)
            journal.record_epoch(record, make_metrics(1, value))
            journal.end(record, "completed")
            test = {"top1": 0.99 if number == 2 else 0.5, "top5": 0.9, "loss": 1.0}
            journal.record_test(record, test | {"precision": 0.5, "recall": 0.5, "f1": 0.5, "num_images": 100})
    completed = list(journal.retrainings.values())
    assert choose_winner(completed) == 1, "test results must not matter"
    rows = confirm_rows(journal, 1)
    assert [row["row"] for row in rows[:6]] == [
        "seed", "seed", "mean", "standard_deviation", "interval_low", "interval_high"
    ]  # fmt: skip
    mean = rows[2]
    assert mean["val_top1"] == pytest.approx(0.7)
    assert rows[3]["val_top1"] == pytest.approx(0.4 / math.sqrt(2))
    # two values, t(0.975, 1) = 12.706: mean +- 12.706 * sd / sqrt(2)
    assert rows[5]["val_top1"] == pytest.approx(0.7 + 12.7062 * 0.2, rel=1e-4)
    assert [row["is_chosen"] for row in rows if row["row"] == "mean"] == [False, True, False]


def test_a_failed_retraining_has_a_row_without_numbers(journal):
    record = journal.add_retraining(0, 1, {"epochs": 1}, seed=1)
    journal.end(record, "diverged")
    rows = confirm_rows(journal, 0)
    assert rows[0]["status"] == "diverged"
    assert "val_top1" not in rows[0]
    assert "val_top1" not in rows[1]


def test_intervals_against_published_values():
    # The study's ResNet50: 82.2 % of 1,000, by Wilson's formula on paper 79.71 to 84.45.
    low, high = wilson_interval(0.822, 1000)
    assert (round(low, 4), round(high, 4)) == (0.7971, 0.8445)
    assert wilson_interval(0.0, 10)[0] == pytest.approx(0.0, abs=1e-12)
    assert wilson_interval(1.0, 10)[1] == pytest.approx(1.0)
    interval = t_interval([0.7, 0.8, 0.9])
    # t(0.975, 2) = 4.3027, standard error 0.1 / sqrt(3)
    assert interval == pytest.approx((0.8 - 4.3027 * 0.1 / math.sqrt(3), 0.8 + 4.3027 * 0.1 / math.sqrt(3)), rel=1e-4)
    assert t_interval([0.7]) is None
    assert standard_deviation([1.0, 3.0]) == pytest.approx(math.sqrt(2))
    with pytest.raises(ValueError, match="at least two values, got 1"):
        standard_deviation([1.0])
    with pytest.raises(ValueError, match="got 1\\.5"):
        wilson_interval(1.5, 10)


def test_the_interval_of_a_paired_difference():
    low, high = paired_interval(0, 0, 10)
    assert (low, high) == pytest.approx((-1.96 / 12, 1.96 / 12), abs=1e-4), "not empty where both always agree"
    low, high = paired_interval(30, 10, 100)
    assert low < 0.2 < high
    assert low > 0, "three times as many gained as lost is no chance"
    assert paired_interval(10, 30, 100) == pytest.approx((-high, -low))
    with pytest.raises(ValueError, match="counts within 10 images"):
        paired_interval(6, 5, 10)

"""Choosing finalists and a winner, and the numbers of retraining.csv and finalists.csv."""

import math
from dataclasses import replace

import pytest

from tests.support.trials import add_trial, make_trial, train
from tune_sketch.events import Source, TestResult
from tune_sketch.retraining.finalists import choose_finalists, choose_winner, chosen_finalist, find_finalists
from tune_sketch.retraining.results import (
    FINALIST_COLUMNS,
    RETRAINING_COLUMNS,
    STATISTICS,
    finalist_line,
    finalist_row,
    retraining_rows,
)
from tune_sketch.statistics import wilson_interval
from tune_sketch.storage.files import write_csv
from tune_sketch.storage.journal import Journal


@pytest.fixture
def journal():
    return Journal()


@pytest.fixture
def tested(journal):
    """Three finalists on two seeds each, of which the second is best on validation and the third on the test split."""
    for number, values in ((0, (0.5, 0.9)), (1, (0.72, 0.72)), (2, (0.3, 0.3))):
        add_trial(journal)
        for index, value in enumerate(values, start=1):
            trial = journal.add_retraining(number, index, {"epochs": 1}, seed=index)
            train(journal, trial, [value], "completed")
            top1 = 0.99 if number == 2 else 0.5
            metrics = {"top1": top1, "top5": 0.9, "loss": 1.0, "precision": 0.5, "recall": 0.5, "f1": 0.5}
            journal.record_test(trial.key, TestResult(metrics, 100))
    journal.note("test_readings", [{"chosen": 1, "networks": []}])
    return journal


def test_finalists_are_the_papers_configuration_and_the_best_others(journal):
    for value in (0.9, 0.3, 0.5, 0.4):
        train(journal, add_trial(journal), [value])
    train(journal, add_trial(journal), [], "failed")
    assert [trial.number for trial in choose_finalists(journal.trials, 2)] == [0, 2, 3]
    assert [trial.number for trial in choose_finalists(journal.trials, 9)] == [0, 2, 3, 1]
    assert [trial.number for trial in choose_finalists(journal.trials, 0)] == [0]


def test_todays_recipe_is_retrained_however_it_stands_in_the_search(journal):
    train(journal, add_trial(journal, source=Source("paper")), [0.1])
    train(journal, add_trial(journal, source=Source("recipe")), [0.2], "stopped")
    for value in (0.3, 0.5, 0.4):
        train(journal, add_trial(journal), [value])
    assert [trial.number for trial in choose_finalists(journal.trials, 2)] == [0, 1, 3, 4]
    assert [trial.number for trial in choose_finalists(journal.trials, 0)] == [0, 1]
    for number in (0, 1, 3):
        train(journal, journal.add_retraining(number, 1, {"epochs": 1}, seed=1), [0.5], "completed")
    assert [finalist.mark for finalist in find_finalists(journal)] == [" (paper)", " (recipe)", ""]


def test_a_recipe_that_never_trained_is_no_finalist(journal):
    train(journal, add_trial(journal, source=Source("paper")), [0.1])
    train(journal, add_trial(journal, source=Source("recipe")), [], "diverged")
    assert [trial.number for trial in choose_finalists(journal.trials, 2)] == [0]


def test_the_winner_is_chosen_on_validation_means(tested):
    completed = list(tested.retrainings.values())
    assert choose_winner(completed) == 1, "test results must not matter"
    assert choose_winner(completed[:2]) == 0
    assert choose_winner(list(reversed(completed))) == 1


def test_of_equal_finalists_the_earlier_trial_wins(journal):
    for number in (3, 1, 2):
        train(journal, journal.add_retraining(number, 1, {"epochs": 1}, seed=1), [0.5], "completed")
    assert choose_winner(list(journal.retrainings.values())) == 1


def test_finalists_have_their_values_over_seeds(tested):
    baseline, winner, last = find_finalists(tested)
    assert [f.number for f in (baseline, winner, last)] == [0, 1, 2]
    assert [f.is_chosen for f in (baseline, winner, last)] == [False, True, False]
    assert [f.is_baseline for f in (baseline, winner, last)] == [True, False, False]
    assert baseline.values("val_top1") == [0.5, 0.9]
    assert baseline.values("test_top1") == [0.5, 0.5]
    assert baseline.mean("val_top1") == pytest.approx(0.7)
    assert baseline.standard_deviation("val_top1") == pytest.approx(0.4 / math.sqrt(2))
    # two values, t(0.975, 1) = 12.706: mean +- 12.706 * sd / sqrt(2)
    assert baseline.interval("val_top1")[1] == pytest.approx(0.7 + 12.7062 * 0.2, rel=1e-4)
    assert sum(f.chance_of_best for f in (baseline, winner, last)) == pytest.approx(1.0)


def test_nobody_is_chosen_before_the_test_split_is_read(journal):
    train(journal, journal.add_retraining(0, 1, {"epochs": 1}, seed=1), [0.5], "completed")
    (finalist,) = find_finalists(journal)
    assert not finalist.is_chosen
    assert chosen_finalist(journal) is None
    assert finalist.chance_of_best is None, "one seed tells nothing of the noise"
    assert (finalist.mean("test_top1"), finalist.interval("val_top1"), finalist.values("test_top1")) == (None, None, [])
    assert "[one seed]" in finalist_line(finalist)


def test_the_tables_have_their_columns_and_numbers(tested, tmp_path):
    finalists = find_finalists(tested)
    rows = retraining_rows(tested, finalists)
    write_csv(tmp_path / "retraining.csv", RETRAINING_COLUMNS, rows)
    assert [(row["trial"], row["seed_index"], row["seed"]) for row in rows] == [
        (number, index, index) for number in (0, 1, 2) for index in (1, 2)
    ]
    assert [row["val_top1"] for row in rows] == [0.5, 0.9, 0.72, 0.72, 0.3, 0.3]
    assert [row["is_chosen"] for row in rows] == [False, False, True, True, False, False]
    assert (rows[0]["num_test"], rows[0]["test_top1"]) == (100, 0.5)
    assert (rows[0]["test_top1_wilson_low"], rows[0]["test_top1_wilson_high"]) == wilson_interval(0.5, 100)

    rows = [finalist_row(finalist) for finalist in finalists]
    write_csv(tmp_path / "finalists.csv", FINALIST_COLUMNS, rows)
    mean, deviation, low, high = (rows[0][f"val_top1_{name}"] for name in STATISTICS)
    assert (mean, deviation) == (pytest.approx(0.7), pytest.approx(0.4 / math.sqrt(2)))
    assert (low, high) == (pytest.approx(0.7 - 12.7062 * 0.2, rel=1e-4), pytest.approx(0.7 + 12.7062 * 0.2, rel=1e-4))
    assert [row["is_chosen"] for row in rows] == [False, True, False]
    assert [row["num_seeds"] for row in rows] == [2, 2, 2]


def test_a_failed_retraining_has_a_row_without_numbers(journal):
    journal.end(journal.add_retraining(0, 1, {"epochs": 1}, seed=1).key, "diverged")
    (finalist,) = find_finalists(journal)
    (row,) = retraining_rows(journal, [finalist])
    assert row["status"] == "diverged"
    assert "val_top1" not in row
    row = finalist_row(finalist)
    assert (row["num_seeds"], row["val_top1_mean"], row["val_top1_interval_low"]) == (0, None, None)
    assert "no seed trained to its end" in finalist_line(finalist)


def test_a_line_on_the_screen_stays_within_zero_and_one(tested):
    line = finalist_line(find_finalists(tested)[1])
    assert line.startswith("1 *")
    assert "72.0 %" in line
    assert "50.0 % [50.0, 50.0]" in line
    assert finalist_line(find_finalists(tested)[0]).startswith("0 (paper)")


def test_of_several_networks_the_best_of_each_is_a_finalist_beside_the_best_of_all():
    kinds = {0: "paper", 1: "paper", 2: "recipe", 3: "recipe"}
    values = {0: 0.2, 1: 0.7, 2: 0.5, 3: 0.6, 4: 0.9, 5: 0.8, 6: 0.3, 7: 0.55}
    trials = [
        replace(
            make_trial(number, [value], source=Source(kinds.get(number, "random"))),
            config={"epochs": 9, "network": "resnet50" if number % 2 == 0 else "baseline"},
        )
        for number, value in values.items()
    ]
    assert [trial.number for trial in choose_finalists(trials, 1)] == [0, 2, 4, 5]
    assert [trial.number for trial in choose_finalists(trials, 2)] == [0, 2, 4, 5]
    assert [trial.number for trial in choose_finalists(trials, 0)] == [0, 2, 5]
    assert [trial.is_baseline for trial in trials] == [True, True, *[False] * 6]

"""How sure the choice is: tables over a finished run, over two runs, and the paper's figures of a one-factor search."""

from dataclasses import replace

import numpy as np
import pytest

from tests.support.fake_runs import (
    add_retrainings,
    add_trials,
    begin_run,
    make_finished_run,
    search_by_strategy,
)
from tune_sketch.analysis.figures.averaging import tabulate_averaging
from tune_sketch.analysis.figures.losses import tabulate_learning_rates, tabulate_optimizers
from tune_sketch.analysis.report import compare_runs
from tune_sketch.analysis.run_data import read_run
from tune_sketch.analysis.tables.base import write_tables
from tune_sketch.analysis.tables.finalists import tabulate_finalists
from tune_sketch.analysis.tables.mcnemar import tabulate_mcnemar, tabulate_mcnemar_of_runs
from tune_sketch.analysis.tables.recipe import tabulate_recipe
from tune_sketch.analysis.tables.registry import TABLES
from tune_sketch.analysis.tables.selection_bias import tabulate_selection_bias
from tune_sketch.analysis.verdict import state_result
from tune_sketch.retraining.results import results_lines
from tune_sketch.storage.files import read_csv
from tune_sketch.trainables.networks.build import build_model


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return make_finished_run(tmp_path_factory.mktemp("finalists") / "run")


def test_selection_bias_compares_equal_epochs(finished):
    run = read_run(finished.path)
    rows = tabulate_selection_bias(run)
    assert sorted(row["trial"] for row in rows) == [0, 1]
    for row in rows:
        trial = run.trials[row["trial"]]
        assert row["epoch"] == len(trial.epochs)
        retrained = [r.epochs[row["epoch"] - 1].val_top1 for r in run.retrainings if r.number == row["trial"]]
        assert row["bias"] == pytest.approx(trial.epochs[-1].val_top1 - np.mean(retrained))
        assert row["bias_low"] < row["bias"] < row["bias_high"]
    places = [row["place_in_search"] for row in rows]
    assert places == sorted(places)


def test_the_chance_of_the_winner_is_in_table_verdict_and_on_the_screen(finished):
    run = read_run(finished.path)
    chances = {finalist.number: finalist.chance_of_best for finalist in run.finalists}
    assert set(chances) == {0, 1}
    assert sum(chances.values()) == pytest.approx(1.0)
    assert chances[1] > 0.9, "0.05 apart at seeds that are 0.01 apart"
    assert {row["trial"]: row["chance_of_best"] for row in tabulate_finalists(run)} == chances
    percent = f"{100 * chances[1]:.0f} %"
    assert any("truly the best of the 2 finalists" in text and percent in text for text in state_result(run))
    (line,) = [line for line in results_lines(finished, run.history) if line.startswith("1 *")]
    assert percent in line


def test_the_parts_of_the_recipe_are_told_by_their_values_with_their_costs(tmp_path):
    run, journal = begin_run(tmp_path / "run", num_samples=4)
    add_trials(run, journal, 4)
    recipe = {"head": "normalised", "averaging": True, "warmup_steps": 100, "layer_rate_factor": 1.0}
    journal.trials[1] = replace(journal.trials[1], config=journal.trials[1].config | recipe)
    add_retrainings(run, journal)
    rows = {row["part"]: row for row in tabulate_recipe(read_run(run.path))}
    used = {part for part, row in rows.items() if row["is_used"]}
    assert used == {"head", "averaging", "warmup_steps"}
    plain, normalised = (
        sum(p.numel() for p in build_model("baseline", 6, head=head).parameters()) for head in ("plain", "normalised")
    )
    assert rows["head"]["num_parameters"] == normalised - plain
    num_train = read_run(run.path).facts.data.num_train
    assert rows["averaging"]["seconds_per_epoch"] == pytest.approx((1.5 - num_train / 500) / 2)
    assert rows["last step"]["winner"] is False


def test_curves_of_averaged_weights_are_of_the_finalists_that_average(finished):
    run = read_run(finished.path)
    rows = tabulate_averaging(run)
    assert {row["trial"] for row in rows} == {0, 1}
    row = next(row for row in rows if (row["trial"], row["epoch"]) == (1, 9))
    values = [trial.epochs[8].metrics for trial in run.chosen.retrainings]
    assert row["averaged_val_top1"] == pytest.approx(np.mean([value["averaged_val_top1"] for value in values]))
    assert row["raw_val_top1"] == pytest.approx(np.mean([value["raw_val_top1"] for value in values]))
    assert row["raw_val_top1_low"] == min(value["raw_val_top1"] for value in values)


def test_mcnemar_between_the_networks_of_the_finalists(finished, tmp_path):
    run = read_run(finished.path)
    (row,) = tabulate_mcnemar(run)
    assert (row["first"], row["second"]) == ("trial 1", "trial 0")
    right = []
    for key in ("retraining-0001-02", "retraining-0000-02"):  # the second seed is the better one on validation
        with np.load(run.run.test_probabilities(key)) as file:
            right.append(file["probabilities"].argmax(axis=1) == run.test_labels)
    assert row["only_first"] == int(sum(right[0] & ~right[1]))
    assert row["only_second"] == int(sum(right[1] & ~right[0]))
    assert row["first_top1"] == pytest.approx(right[0].mean())
    assert row["p"] <= row["p_holm"] <= 1
    shown = {table.name: table for table in write_tables(TABLES, run, tmp_path / "figures", tmp_path)}
    assert shown["selection_bias"].cells
    (written,) = read_csv(tmp_path / "figures" / "mcnemar.csv")
    assert float(written["p"]) == pytest.approx(row["p"])


def test_mcnemar_between_runs_only_on_the_same_drawings(finished, tmp_path):
    same = make_finished_run(tmp_path / "same")
    other = make_finished_run(tmp_path / "other", seed=5)
    runs = [read_run(run.path) for run in (finished, same, other)]
    (row,) = tabulate_mcnemar_of_runs(runs)
    assert "same" in row["second"], "another seed splits otherwise: other drawings are tested"
    (section,) = compare_runs(runs[:2], tmp_path / "figures", tmp_path).sections
    assert [item.name for item in section.items] == [
        "paper_results",
        "models",
        "model_curves",
        "mcnemar",
        "model_costs",
    ]


@pytest.fixture(scope="module")
def one_factor(tmp_path_factory):
    path = tmp_path_factory.mktemp("one_factor") / "run"
    run, journal = begin_run(path, num_samples=20, max_epochs=9, strategy="one-factor")
    search_by_strategy(run, journal)
    return read_run(path), journal


def test_figure_4_compares_optimizers_with_all_else_fixed(one_factor):
    run, journal = one_factor
    rows = tabulate_optimizers(run)
    assert {row["group"] for row in rows} == {"adam", "adamw", "rmsprop", "sgd"}
    assert {row["epoch"] for row in rows} == {1, 2, 3}, "the curves' length, also of the paper's longer training"
    assert all(row["num_trials"] == 1 for row in rows)
    adam = [row["val_loss_median"] for row in rows if row["group"] == "adam"]
    assert adam == [epoch.val_loss for epoch in journal.trials[0].epochs[:3]]


def test_figure_5_compares_learning_rates_of_the_best_optimizer(one_factor):
    run, _ = one_factor
    rows = tabulate_learning_rates(run)
    assert list(dict.fromkeys(row["group"] for row in rows)) == [f"1e-{place}" for place in (5, 4, 3, 2, 1)]
    assert all(row["num_trials"] == 1 for row in rows)

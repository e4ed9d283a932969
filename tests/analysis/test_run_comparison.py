"""Several runs side by side: which is best, by how much on the same drawings, and when that cannot be said."""

from dataclasses import replace

import pytest

from tests.support.fake_runs import begin_run, make_finished_run
from tune_sketch.analysis.comparison import state_comparison, warn_comparison
from tune_sketch.analysis.figures.models import tabulate_models
from tune_sketch.analysis.run_data import name_runs, read_run, runs_with_result
from tune_sketch.analysis.tables.mcnemar import tabulate_mcnemar_of_runs
from tune_sketch.analysis.tables.models import tabulate_model_costs


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compared")
    models = ("baseline", "squeezenet1_1")
    return [read_run(make_finished_run(folder / m, model=m, num_trials=4, max_epochs=3).path) for m in models]


def with_wrong_guesses(run, num_wrong):
    """The run as if its network had all test drawings right except a number of the first."""
    right = [replace(prediction, predicted_class=prediction.true_class) for prediction in run.predictions]
    wrong = [replace(prediction, predicted_class="nothing") for prediction in run.predictions[:num_wrong]]
    return replace(run, predictions=(*wrong, *right[num_wrong:]))


def test_the_difference_counts_drawings_that_only_one_has_right(runs):
    good, bad = with_wrong_guesses(runs[0], 1), with_wrong_guesses(runs[1], 4)
    (row,) = tabulate_mcnemar_of_runs([good, bad])
    assert row["first"].startswith("baseline"), "the first where validation is equal"
    assert (row["only_first"], row["only_second"]) == (3, 0)
    assert row["gain"] == pytest.approx(3 / row["num_test"])
    assert row["gain_low"] < row["gain"] < row["gain_high"]


def test_no_difference_is_called_chance_and_other_drawings_are_not_compared(runs):
    same = [with_wrong_guesses(run, 2) for run in runs]
    assert "+0.0 points" in state_comparison(same)[1]
    assert "may be chance" in state_comparison(same)[1]
    facts = same[1].facts
    other = replace(same[1], facts=replace(facts, data=replace(facts.data, fingerprint="other")))
    assert tabulate_mcnemar_of_runs([same[0], other]) == []
    assert "do not share one decoded data set" in warn_comparison([same[0], other])[0]
    assert warn_comparison(same) == []


def test_models_and_costs_are_those_of_the_runs(runs, tmp_path):
    unfinished = read_run(begin_run(tmp_path / "new")[0].path)
    every = [*runs, unfinished]
    assert runs_with_result(every) == runs
    assert list(name_runs(every).values()) == ["baseline (baseline)", "squeezenet1_1", "baseline (new)"]
    rows = tabulate_models(every)
    assert [row["model"] for row in rows] == ["baseline (baseline)", "squeezenet1_1"]
    assert rows[0]["paper_top1"] == 0.354
    assert "paper_top1" not in rows[1], "the paper had no SqueezeNet"
    for row, run in zip(rows, runs, strict=True):
        assert row["top1"] == run.chosen.mean("test_top1")
        assert row["low"] <= row["top1"] <= row["high"]
    costs = tabulate_model_costs(every)
    assert len(costs) == 2, "a run without epochs cost nothing yet"
    assert costs[0]["search_num_epochs"] == sum(len(trial.epochs) for trial in runs[0].trials)
    assert "1 of 3 runs have no test result yet." in state_comparison(every)
    assert state_comparison([unfinished]) == ["1 run, none with a test result yet."]

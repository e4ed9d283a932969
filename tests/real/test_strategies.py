"""A real search in the paper's way: ended by its budget, resumed through all steps, explained trial by trial."""

import pytest

from tests.support.real_search import Search
from tune_sketch.explain import explain_lines
from tune_sketch.storage.files import read_csv
from tune_sketch.storage.reading import read_history

FLAGS = ("--strategy", "one-factor", "--max-epochs", 3, "--finalists", 1)
pytestmark = [pytest.mark.real, pytest.mark.parallel, pytest.mark.timeout(600)]


def test_one_factor_ends_with_its_budget_and_goes_on_with_more(tmp_path):
    search = Search(tmp_path, {})
    try:
        # Far less than the ~17 trials of all steps take, even where an epoch takes 10 ms.
        text = search.finish(search.start(*FLAGS, "--gpu-hours", 0.00001))
        assert "the budget of 1e-05 worker-hours is spent" in text
        assert "finalists on fresh seeds" in text, "the retraining is not part of the budget"
        num_trials = len(read_csv(search.run.trials_csv))
        text = search.finish(search.start("--gpu-hours", 1))
        assert "is spent" not in text
    finally:
        search.close()
    rows = read_csv(search.run.trials_csv)
    assert len(rows) > num_trials
    assert {row["status"] for row in rows} == {"completed"}, "no trial is stopped at a rung"
    trials = read_history(search.run).trials
    steps = list(dict.fromkeys(trial.source.step or "paper" for trial in trials))
    assert steps[:5] == ["paper", "optimizer", "learning_rate", "decay_kind", "decay"][: len(steps)]
    assert {"optimizer", "learning_rate", "decay_kind"} <= set(steps)
    optimizers = read_csv(search.run.path / "figures" / "optimizers.csv")
    assert sorted(row["group"] for row in optimizers) == ["adam", "adamw", "rmsprop", "sgd"]
    assert {row["epoch"] for row in optimizers} == {"1"}
    for trial in trials:
        assert explain_lines(search.run, trial.number)[0].startswith(f"trial {trial.number}  completed")

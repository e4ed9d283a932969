"""A real search in the study's way: ended by its budget, resumed through all steps, explained trial by trial."""

import pytest

from tests.support.real_search import Search
from tune_sketch.explain import explain_lines
from tune_sketch.storage.run_directory import read_csv

FLAGS = ("--strategy", "one-factor", "--max-epochs", 3, "--confirm-top", 1)
pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]


def test_one_factor_ends_with_its_budget_and_goes_on_with_more(tmp_path):
    search = Search(tmp_path, {})
    try:
        text = search.finish(search.start(*FLAGS, "--gpu-hours", 0.0001))
        assert "the budget of 0.0001 worker-hours is spent" in text
        assert "finalists on fresh seeds" in text, "the retraining is not part of the budget"
        num_trials = len(read_csv(search.run.trials_csv))
        assert num_trials < 10
        text = search.finish(search.start("--gpu-hours", 1))
        assert "is spent" not in text
    finally:
        search.close()
    rows = read_csv(search.run.trials_csv)
    assert len(rows) > num_trials
    assert {row["status"] for row in rows} == {"completed"}, "no trial is stopped at a rung"
    journal = search.run.open_journal(read_only=True)
    steps = list(dict.fromkeys(record.origin.get("step", "study") for record in journal.trials))
    assert steps[:5] == ["study", "optimizer", "learning_rate", "decay_kind", "decay"][: len(steps)]
    assert {"optimizer", "learning_rate", "decay_kind"} <= set(steps)
    optimizers = read_csv(search.run.path / "figures" / "optimizers.csv")
    assert sorted(row["group"] for row in optimizers) == ["adam", "adamw", "rmsprop", "sgd"]
    assert {row["epoch"] for row in optimizers} == {"1"}
    for record in journal.trials:
        assert explain_lines(search.run, record.number)[0].startswith(f"trial {record.number}  completed")

"""Searches side by side: every figure is that of the run's own files, and an unfinished one is refused."""

import pytest

from benchmarks.searches import ENSEMBLE, FOUND, PAPER, WINNER, measure, table
from tests.support.fake_runs import begin_run, make_finished_run
from tune_sketch.storage.files import read_csv


def test_rows_say_what_the_runs_files_say(tmp_path):
    run = make_finished_run(tmp_path / "run", num_trials=6)
    rows = {row["what"]: row for row in measure(run)}
    finalists = {int(row["trial"]): row for row in read_csv(run.finalists_csv)}
    (chosen,) = [row for row in finalists.values() if row["is_chosen"] == "True"]
    assert rows[WINNER]["val_top1"] == pytest.approx(float(chosen["val_top1_mean"]))
    assert rows[PAPER]["test_top1"] == pytest.approx(float(finalists[0]["test_top1_mean"]))
    assert rows[FOUND]["trial"] == rows[WINNER]["trial"], "this search found its winner"
    (ensemble,) = [row for row in read_csv(run.winner_csv) if row["network"] == "ensemble"]
    assert rows[ENSEMBLE]["test_top1"] == float(ensemble["test_top1"])
    text = "\n".join(table(list(rows.values())))
    assert f"test {100 * rows[WINNER]['test_top1']:.1f}" in text
    assert str(tmp_path) not in str(rows), "no path of the machine"


def test_differences_are_of_the_same_search():
    common = {"num_test": 9, "num_trials": 3, "trial": 2, "num_seeds": 2, "is_winner": False}
    common |= {"search_seconds": 1.0, "retraining_seconds": 1.0, "total_seconds": 2.0}
    top1 = {("a", WINNER): 0.5, ("a", PAPER): 0.4, ("b", WINNER): 0.8, ("b", PAPER): 0.7}
    rows = [common | {"run": run, "seed": 0, "what": what, "test_top1": top1[run, what]} for run, what in top1]
    *_, means, differences = ([cell.strip() for cell in line.split("|")] for line in table(rows))
    assert means[5].startswith("65.0 ["), "of two searches far apart"
    assert differences[5:7] == ["", "-10.0 [-10.0, -10.0]"], "in each the paper's is as far behind the winner"


def test_a_search_without_a_winner_is_refused(tmp_path):
    with pytest.raises(ValueError, match="has no winner yet"):
        measure(begin_run(tmp_path / "run")[0])

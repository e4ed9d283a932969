"""The report: every state of a run gives a page, and its numbers are those of the files."""

import re

import pytest

from analysis.report import main, write_report
from tests.fake_runs import add_trials, begin_run, make_finished_run
from tune_sketch.run_directory import read_csv, write_tables


def check_page(path):
    """The page's text; it asks nothing of the network and is whole."""
    page = path.read_text()
    assert page.startswith("<!doctype html>")
    assert page.rstrip().endswith("</html>")
    assert not re.search(r'(src|href)="(https?:)?//', page), "the report must be self-contained"
    for link in re.findall(r'href="([^"#]+)"', page):
        assert (path.parent / link).is_file(), f"the page names {link}, which is not there"
    return page


def test_a_run_without_any_trial(tmp_path):
    run, journal = begin_run(tmp_path / "run")
    page = check_page(write_report([run.path], run.report_html))
    assert "0 of 12 trials have ended" in page
    write_tables(run, journal)  # with heads only
    check_page(write_report([run.path], run.report_html))


def test_one_trial_that_has_trained_one_epoch(tmp_path):
    run, journal = begin_run(tmp_path / "run", num_samples=1)
    add_trials(run, journal, 1, running=1)
    write_tables(run, journal)
    page = check_page(write_report([run.path], run.report_html))
    assert "Best so far on validation: trial 0" in page


def test_nothing_but_failures(tmp_path):
    run, journal = begin_run(tmp_path / "run")
    add_trials(run, journal, 3, failed=3)
    write_tables(run, journal)
    page = check_page(write_report([run.path], run.report_html))
    assert "loss is not finite" in page
    assert "3 of 3 trials ended badly (diverged, failed)" in page


def test_an_interrupted_search(tmp_path):
    run, journal = begin_run(tmp_path / "run", num_samples=20)
    add_trials(run, journal, 12, failed=1, running=2)
    for record in journal.trials:
        if record.is_unfinished:
            journal.park(record)
    write_tables(run, journal)
    page = check_page(write_report([run.path], run.report_html))
    assert "has not been brought to its end: 10 of 20 trials have ended" in page
    assert f"--resume {run.path}" in page
    assert "Leaderboard" in page


@pytest.mark.parametrize("num_classes", [2, 6])
def test_a_finished_run(tmp_path, num_classes):
    run = make_finished_run(tmp_path / "run", classes=num_classes)
    page = check_page(write_report([run.path], run.report_html))
    mean = next(row for row in read_csv(run.confirm_csv) if row["row"] == "mean" and row["is_chosen"] == "True")
    assert f"recognises {100 * float(mean['test_top1']):.1f} %" in page
    assert "made by a program" in page
    finalists = read_csv(run.path / "figures" / "finalists.csv")
    assert [row["trial"] for row in finalists] == ["1", "0"]
    assert finalists[0]["test_top1"] == mean["test_top1"]


def test_several_runs_in_one_page(tmp_path):
    runs = [make_finished_run(tmp_path / name, seed=seed).path for seed, name in enumerate(("a", "b"))]
    runs.append(begin_run(tmp_path / "c")[0].path)
    page = check_page(write_report(runs, tmp_path / "out" / "all.html"))
    assert "3 runs, 2 with a test result" in page or "Best on validation" in page
    assert "do not share one" in page


def test_a_folder_that_is_no_run_is_one_clear_line(tmp_path, capsys):
    assert main([str(tmp_path)]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert "is not a run directory" in captured.err

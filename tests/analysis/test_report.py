"""The report: every state of a run gives a page, and its numbers are those of the files."""

import contextlib
import html
import math
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.boundaries import with_file
from tests.support.drawings import make_image_folder
from tests.support.fake_runs import add_trials, begin_run, make_finished_run
from tune_sketch.analysis.figures.registry import FIGURES
from tune_sketch.analysis.report import main, write_report
from tune_sketch.analysis.tables.registry import TABLES
from tune_sketch.formatting import duration_text
from tune_sketch.storage.database import open_database
from tune_sketch.storage.facts import read_facts, write_facts
from tune_sketch.storage.files import read_csv
from tune_sketch.storage.journal import Journal
from tune_sketch.storage.lock import lock

ROOT = Path(__file__).parents[2]


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
    run, _ = begin_run(tmp_path / "run")
    page = check_page(write_report([run.path], run.report_html))
    assert "0 of 12 trials have ended" in page


def test_one_trial_that_has_trained_one_epoch(tmp_path):
    run, journal = begin_run(tmp_path / "run", num_samples=1)
    add_trials(run, journal, 1, running=1)
    page = check_page(write_report([run.path], run.report_html))
    assert "Best so far on validation: trial 0" in page


def test_nothing_but_failures(tmp_path):
    run, journal = begin_run(tmp_path / "run")
    add_trials(run, journal, 3, failed=3)
    page = check_page(write_report([run.path], run.report_html))
    assert "loss is not finite" in page
    assert "3 of 3 trials ended badly (diverged, failed)" in page


def test_an_interrupted_search(tmp_path):
    run, journal = begin_run(tmp_path / "run", num_samples=20)
    add_trials(run, journal, 12, failed=1, running=2)
    for trial in journal.trials:
        if trial.is_unfinished:
            journal.pause(trial.key)
    with lock(run):  # as the search itself writes it
        page = check_page(write_report([run.path], run.report_html))
    assert "is unfinished: 10 of 20 trials have ended" in page
    assert f"--resume {run.path}" in page
    assert "Leaderboard" in page


@pytest.mark.parametrize("num_classes", [2, 6])
def test_a_finished_run(tmp_path, num_classes):
    run = make_finished_run(tmp_path / "run", classes=num_classes)
    page = check_page(write_report([run.path], run.report_html))
    chosen = next(row for row in read_csv(run.finalists_csv) if row["is_chosen"] == "True")
    assert f"recognises {100 * float(chosen['test_top1_mean']):.1f} %" in page
    assert "made by a program" in page
    assert f"<td>{100 * float(chosen['test_top1_mean']):.1f} %</td>" in page, "tables have percent signs"
    finalists = read_csv(run.path / "figures" / "finalists.csv")
    assert [row["trial"] for row in finalists] == ["1", "0"]
    assert finalists[0]["test_top1"] == chosen["test_top1_mean"]


def numbers_in(text):
    """Numbers as they are written: "1,234", "12.5", "3e-05"."""
    return {n.rstrip(",") for n in re.findall(r"\d[\d,]*(?:\.\d+)?(?:e-?\d+)?", text)}


def ways_to_write(value):
    """All numbers in the texts that the page may make of a cell: itself, percent, points, rounded, a duration."""
    texts = [value]
    with contextlib.suppress(ValueError):
        number = float(value)
        if math.isfinite(number):
            texts += [f"{100 * within:.1f}" for within in (number, min(1.0, max(0.0, number)))]
            texts += [
                f"{number:,.0f}",
                f"{100 * number:.0f}",
                f"{number:.3f}",
                f"{number:.3g}",
                duration_text(max(0.0, number)),
            ]
    return set().union(*map(numbers_in, texts))


def test_every_number_on_the_page_is_in_a_file(tmp_path):
    runs = [make_finished_run(tmp_path / model, model=model, max_epochs=3) for model in ("baseline", "squeezenet1_1")]
    page = check_page(write_report([run.path for run in runs], tmp_path / "all.html"))
    tables = re.findall(r"<table.*?</table>.*?<a href=\"([^\"]+)\"", page, re.DOTALL)
    bodies = re.findall(r"<tbody>(.*?)</tbody>", page, re.DOTALL)
    assert len(tables) == len(bodies) > 12
    for link, body in zip(tables, bodies, strict=True):
        shown_rows, rows = re.findall(r"<tr>(.*?)</tr>", body, re.DOTALL), read_csv(tmp_path / link)
        assert len(shown_rows) == len(rows), link
        for shown, row in zip(shown_rows, rows, strict=True):
            known = set().union(*(ways_to_write(value) for value in row.values()))
            for cell in re.findall(r"<td>(.*?)</td>", shown, re.DOTALL):
                assert numbers_in(html.unescape(cell)) <= known, f"{link}: {cell} is not in {row}"
    verdicts = re.findall(r'<section class="verdict">(.*?)</section>', page, re.DOTALL)
    assert len(verdicts) == 3
    for verdict in verdicts:
        text, _, links = verdict.partition("Numbers and where they come from:")
        rows = [row for link in re.findall(r'href="([^"]+)"', links) for row in read_csv(tmp_path / link)]
        assert rows
        known = set().union(*(ways_to_write(value) for row in rows for value in row.values()))
        for sentence in re.findall(r"<(?:p|li)[^>]*>(.*?)</(?:p|li)>", text, re.DOTALL):
            own = re.sub(r"95 %|trial \d+|Best of \d+|squeezenet1_1", "", html.unescape(sentence))
            assert numbers_in(own) <= known, f"{sentence} says what is in no file"


def test_several_runs_in_one_page(tmp_path):
    runs = [make_finished_run(tmp_path / name, seed=seed).path for seed, name in enumerate(("a", "b"))]
    runs.append(begin_run(tmp_path / "c")[0].path)
    page = check_page(write_report(runs, tmp_path / "out" / "all.html"))
    assert "Best of 3 runs on validation: baseline (" in page
    assert "1 of 3 runs have no test result yet." in page
    assert "do not share one" in page


def test_a_folder_that_is_no_run_is_one_clear_line(tmp_path, capsys):
    assert main([str(tmp_path)]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert "is not a run directory" in captured.err


def test_a_run_in_a_database_is_read_with_the_url_that_has_the_password(tmp_path):
    """Run directories hold no password, so the report of a run in a database may need the URL again."""
    run, _ = begin_run(tmp_path / "run")
    url = f"sqlite:///{tmp_path / 'record.db'}"
    Journal(open_database(url), "fake", create=True).close()
    write_facts(run, replace(read_facts(run), storage="postgresql://me:***@host/search"))
    with pytest.raises(ValueError, match="needs its password"):
        write_report([run.path], run.report_html)
    check_page(write_report([run.path], run.report_html, url))


def test_the_report_is_a_command_and_needs_no_ray(tmp_path):
    run, journal = begin_run(tmp_path / "run")
    add_trials(run, journal, 2)
    code = (
        "import sys; from tune_sketch.report import main; code = main([sys.argv[1]]); "
        "sys.exit(code or (3 if 'ray' in sys.modules else 0))"
    )
    answer = subprocess.run([sys.executable, "-c", code, run.path], capture_output=True, text=True, cwd=ROOT)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.strip() == str(run.report_html)


def shown_items(run):
    return {path.stem for path in (run.path / "figures").iterdir()}


@pytest.mark.parametrize("has_moved", [True, False])
def test_what_the_report_loses_without_the_drawings_is_said_and_can_be_mended(tmp_path, capsys, has_moved):
    root = make_image_folder(tmp_path / "drawings", ("ant", "bee", "cat", "dog", "elk", "fox"), per_class=12)
    run = make_finished_run(tmp_path / "a run", data=str(root), classes=None, per_class=None)
    report = ["--out", str(run.report_html), str(run.path)]
    assert main(report) == 0
    assert capsys.readouterr().err == ""
    whole = shown_items(run)
    shutil.rmtree(tmp_path / "cache")
    place = shutil.move(root, tmp_path / "moved") if has_moved else root
    shutil.rmtree(run.path / "figures")
    assert main(report) == 0
    said = capsys.readouterr().err
    lost = whole - shown_items(run)
    needing = {item.name: item.title for item in (*TABLES, *FIGURES) if item.needs_data}
    assert lost == set(needing)
    assert all(title in said and html.escape(title, quote=True) for title in needing.values())
    command = f"python -m tune_sketch.report '{run.path}' --data {'PLACE' if has_moved else place}"
    assert command in said
    assert command in html.unescape(check_page(run.report_html)), "and on the page"
    assert main([*report, "--data", str(place)]) == 0
    assert capsys.readouterr().err.count("note:") == 0
    assert shown_items(run) == whole


def test_a_report_takes_no_other_drawings(tmp_path, capsys):
    root = make_image_folder(tmp_path / "drawings", per_class=12)
    run = make_finished_run(tmp_path / "run", data=str(root), classes=None, per_class=None)
    shutil.rmtree(tmp_path / "cache")
    (root / "cat" / "0.png").unlink()
    assert main([str(run.path), "--data", str(root)]) == 2
    assert "1 are in one of both only, for example cat/0.png" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("best/model.json", b"{}"),
        ("best/model.json", b"[" * 100_000),
        ("predictions.csv", b"image,class_1\ncat/1.png,cat\n"),
        ("predictions.csv", b"image,true_class,class_1,probability_1\ncat/1.png,cat\n"),
        ("winner.csv", b"network,seed_index\nretrained,1\n"),
        ("retrained/retraining-0001-02-test.npz", b"PK\x03\x04"),
    ],
)
def test_a_damaged_file_of_the_results_is_named(name, content, tmp_path, capsys):
    run = with_file(name, content, tmp_path)
    assert main([str(run.path), "--out", str(tmp_path / "out" / "report.html")]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ")
    assert f"{Path(name).name} is damaged" in error

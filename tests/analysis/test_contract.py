"""The contract of figures and tables, new ones too: each works for a run in any state, and shows its CSV file."""

import io

import numpy as np
import pytest
from PIL import Image

from tests.support.fake_runs import add_trials, begin_run, make_finished_run
from tune_sketch.analysis.figures.base import write_figures
from tune_sketch.analysis.figures.registry import FIGURES, FIGURES_OF_RUNS
from tune_sketch.analysis.report import SECTIONS
from tune_sketch.analysis.run_data import read_run
from tune_sketch.analysis.tables.base import write_tables
from tune_sketch.analysis.tables.registry import TABLES, TABLES_OF_RUNS
from tune_sketch.storage.files import read_csv

STATES = ("empty", "running", "failed", "retraining", "finished")
name_of = "{0.name}".format


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """{state: a run in it}."""
    folder = tmp_path_factory.mktemp("states")
    journals = {}
    for state in STATES[:-1]:
        run, journals[state] = begin_run(folder / state, num_samples=14)
        if state != "empty":
            failed = {"running": 1, "failed": 14, "retraining": 0}[state]
            add_trials(run, journals[state], 14, failed=failed, running=3 if state == "running" else 0)
    journal = journals["retraining"]
    first, second = (journal.add_retraining(number, 1, journal.trials[number].config, seed=1) for number in (0, 1))
    for epoch in journal.trials[0].epochs:
        journal.record_epoch(first.key, epoch)
    journal.record_epoch(second.key, journal.trials[1].epochs[0])
    journal.end(first.key, "completed")
    make_finished_run(folder / "finished", num_trials=14)
    return {state: read_run(folder / state) for state in STATES}


def check_figure(item, folder):
    with Image.open(io.BytesIO(item.png)) as picture:
        assert picture.width >= 600
        assert len(np.unique(np.asarray(picture.convert("L")))) > 3, "it is blank"
    assert read_csv(folder / item.csv)
    assert (folder / item.csv).with_suffix(".png").read_bytes() == item.png


def check_table(item, folder):
    rows = read_csv(folder / item.csv)
    assert len(rows) == len(item.cells) > 0
    assert all(len(cells) == len(item.columns) for cells in item.cells)
    assert not any(text in ("None", "nan") for cells in item.cells for text in cells)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("figure", FIGURES, ids=name_of)
def test_every_figure_in_every_state(figure, state, runs, tmp_path):
    shown = write_figures([figure], runs[state], tmp_path / "figures", tmp_path)
    assert shown or state != "finished", "a finished run has them all"
    for item in shown:
        check_figure(item, tmp_path)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("table", TABLES, ids=name_of)
def test_every_table_in_every_state(table, state, runs, tmp_path):
    shown = write_tables([table], runs[state], tmp_path / "figures", tmp_path)
    # Of runs with --total-time alone, see test_total_time.py, and of several networks, see test_networks_run.py.
    if table.name not in ("total_time", "networks"):
        assert shown or state != "finished", "a finished run has them all"
    for item in shown:
        check_table(item, tmp_path)


@pytest.mark.parametrize("item", [*FIGURES_OF_RUNS, *TABLES_OF_RUNS], ids=name_of)
def test_everything_over_several_runs(item, runs, tmp_path):
    several = list(runs.values())
    if item in FIGURES_OF_RUNS:
        (shown,) = write_figures([item], several, tmp_path / "figures", tmp_path)
        check_figure(shown, tmp_path)
    else:
        for shown in write_tables([item], several, tmp_path / "figures", tmp_path):  # one result: nothing to compare
            check_table(shown, tmp_path)


def test_names_are_unique_and_sections_are_on_the_page():
    for items in ([*FIGURES, *TABLES], [*FIGURES_OF_RUNS, *TABLES_OF_RUNS]):
        names = [item.name for item in items] + ["verdict"]
        assert len(set(names)) == len(names), "each CSV file belongs to one thing"
        assert {item.section for item in items} <= set(SECTIONS)
        assert all(item.title and item.caption for item in items)

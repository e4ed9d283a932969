"""A run that version 0.1 made is read, never written: facts, history, status, explanation."""

import contextlib
import csv
import shutil
import sqlite3
from pathlib import Path

import pytest

from tests.support.mounts import read_only
from tune_sketch.events import Source
from tune_sketch.explain import explain_lines
from tune_sketch.retraining.finalists import find_finalists
from tune_sketch.search import main
from tune_sketch.status import status_lines
from tune_sketch.storage.facts import GpuSharing, read_facts
from tune_sketch.storage.reading import read_history
from tune_sketch.storage.resume import prepare_resume
from tune_sketch.storage.run_directory import RunDirectory
from tune_sketch.storage.version_0_1 import key_of_0_1, source_of, upgrade_search

MADE_THEN = Path(__file__).parents[1] / "data_of_0_1" / "run"  # a real search of eight trials, two of them retrained


@pytest.fixture
def run(tmp_path):
    return RunDirectory(Path(shutil.copytree(MADE_THEN, tmp_path / "run")))


def rows_of(name):
    """A table as version 0.1 wrote it."""
    with open(MADE_THEN / name, newline="") as file:
        return list(csv.DictReader(file))


def test_its_facts_have_their_present_names(run):
    facts = read_facts(run)
    assert (facts.format, facts.study_name, facts.storage, facts.warm_start) == (2, "real", None, ())
    settings = facts.settings
    assert (settings.strategy, settings.protocol, settings.classes) == ("incumbent", "small", 4)
    assert (settings.finalists, settings.retraining_seeds) == (1, 2)
    assert facts.data.synthetic
    assert facts.data.class_names == ("airplane", "apple", "banana", "bicycle")
    assert (facts.data.num_train, facts.data.num_validation, facts.data.num_test) == (58, 19, 19)
    (session,) = facts.sessions
    assert session.gpu_sharing == GpuSharing(1, "no choice")
    assert session.command[:3] == ("search.py", "--model", "baseline")


def test_its_trials_are_those_of_its_own_table(run):
    trials, rows = read_history(run).trials, rows_of("trials.csv")
    assert [trial.number for trial in trials] == list(range(8))
    assert [trial.key for trial in trials] == [f"trial-{number:04d}" for number in range(8)]
    assert trials[0].source == Source("paper")
    assert {trial.source for trial in trials[1:]} == {Source("random")}
    for trial, row in zip(trials, rows, strict=True):
        assert (trial.status, str(trial.seed), trial.error) == (row["status"], row["seed"], row["error"])
        assert len(trial.epochs) == int(row["num_epochs"])
        assert [epoch.number for epoch in trial.epochs] == list(range(1, len(trial.epochs) + 1))
        assert trial.best_epoch.val_top1 == float(row["best_val_top1"])
        assert trial.last_epoch.val_loss == float(row["last_val_loss"])
        assert trial.train_seconds == pytest.approx(float(row["train_seconds"]))
        assert (trial.started_at, trial.ended_at) == (float(row["started_at"]), float(row["ended_at"]))
        assert trial.config["learning_rate"] == float(row["config/learning_rate"])
        assert set(trial.params) == set(trial.distributions)
        for epoch in trial.epochs:
            assert (epoch.worker.node, epoch.worker.gpus, epoch.decision) == ("192.0.2.2", "", None)
            assert "epoch" not in epoch.metrics
            assert trial.started_at <= epoch.recorded_at <= trial.ended_at


def test_its_retrainings_and_tests_are_those_of_its_own_table(run):
    history = read_history(run)
    rows = [row for row in rows_of("confirm.csv") if row["row"] == "seed"]
    assert list(history.retrainings) == [f"retraining-000{n}-0{i}" for n in (0, 2) for i in (1, 2)]
    for trial, row in zip(history.retrainings.values(), rows, strict=True):
        assert trial.is_retraining
        assert [str(trial.number), str(trial.seed_index), str(trial.seed)] == [
            row["trial"],
            row["seed_index"],
            row["seed"],
        ]
        assert trial.status == row["status"] == "completed"
        assert trial.last_epoch.val_top1 == float(row["val_top1"])
        assert trial.test.num_images == int(row["num_test"])
        assert trial.test.metrics == {
            name: float(row[f"test_{name}"]) for name in ("top1", "top5", "loss", "precision", "recall", "f1")
        }
        assert key_of_0_1(trial.key) == f"confirm-{trial.number:04d}-{trial.seed_index:02d}"
    assert [(f.number, f.is_chosen, len(f.retrainings)) for f in find_finalists(history)] == [
        (0, True, 2),
        (2, False, 2),
    ]


def test_status_tells_how_it_stands(run):
    lines = {line[:15].strip(): line[15:] for line in status_lines(run)}
    assert lines["trials"] == "8 of 8: 7 stopped, 1 completed"
    assert lines["strategy"].startswith("incumbent: ")
    assert lines["rung    1"] == "8 trials came so far, best top-1 42.1 %; 7 stopped here"
    assert lines["retrainings"] == "4: 4 completed"
    assert lines["test split"] == (
        "read: trial 0, chosen on validation, recognises 52.6 % of 19 drawings (mean over 2 seeds)"
    )
    assert lines["a resume would"] == "be refused: version 0.1 made this run, which can be read only"


def test_explain_tells_what_was_recorded(run):
    text = "\n".join(explain_lines(run, 0))
    assert "the paper's own configuration" in text
    assert "finalist  validation top-1 on fresh seeds: 68.4 %, 31.6 %" in text
    text = "\n".join(explain_lines(run, 5))
    assert "trial 5  stopped by ASHA after 1 of 5 epochs, validation top-1 21.1 %" in text
    assert "epoch   1  21.1 %; version 0.1 did not record what was decided" in text
    assert "5 at epoch 1, 1 at epoch 3, 1 at epoch 9" in text


def test_it_cannot_be_resumed(run, capsys):
    before = run.search_json.read_text()
    sentence = (
        f"{run.path} was made by version 0.1: it can be read (status, explain, report, predict), not resumed. "
        f"Begin a new search with --warm-start {run.path}"
    )
    with pytest.raises(ValueError) as caught:
        prepare_resume(run, {"num_samples": 99})
    assert str(caught.value) == sentence
    assert main(["--resume", str(run.path)]) == 2
    assert sentence in capsys.readouterr().err
    assert run.search_json.read_text() == before


@pytest.mark.parametrize("name", ["a#b?c=d&e", "100%20 %", "{x} '\"$ café 猫 😀", "-x", "a::b", "file:x"])
def test_it_is_read_under_any_path(tmp_path, name):
    run = RunDirectory(Path(shutil.copytree(MADE_THEN, tmp_path / name)))
    assert len(read_history(run).trials) == 8


def files_of(run):
    return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in run.path.rglob("*")}


def test_reading_changes_nothing(run):
    before = files_of(run)
    read_facts(run)
    read_history(run)
    assert files_of(run) == before


@pytest.mark.parametrize("crashed", [False, True])
def test_it_is_read_where_nothing_may_be_written(run, tmp_path, crashed):
    """Also after a crash that left the newest values in SQLite's write-ahead file."""
    with contextlib.closing(sqlite3.connect(run.study_db)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("UPDATE studies SET study_name = study_name")
        connection.commit()
        if crashed:
            copy = RunDirectory(tmp_path / "crashed")
            shutil.copytree(run.path, copy.path)  # as a kill leaves it: the connection is still open
            assert (copy.path / "study.db-wal").stat().st_size > 0
            run = copy
    assert (run.path / "study.db-wal").exists() == crashed
    before = files_of(run)
    with read_only(run.path):
        assert len(read_history(run).trials) == 8
    assert files_of(run) == before


@pytest.mark.parametrize(
    ("origin", "source"),
    [
        ({"kind": "study", "rung": None}, Source("paper")),
        ({"kind": "crossed", "rung": 3, "parent": 7}, Source("mutated", rung=3, parent=7)),
        ({"kind": "model", "rung": 3}, Source("tpe", rung=3)),
        ({"kind": "model", "rung": None, "num_values": 12}, Source("tpe", num_values=12)),
        ({"kind": "warm-start", "rung": None, "run": "a", "trial": 2}, Source("warm-start", run="a", trial=2)),
        (
            {
                "kind": "one-factor",
                "rung": None,
                "step": "decay",
                "pass": 2,
                "num_epochs": 6,
                "by": "val_loss",
                "beside": [0],
            },
            Source(
                "one-factor", step="decay", number_of_pass=2, num_epochs=6, compared_by="val_loss", compared_with=(0,)
            ),
        ),
    ],
)
def test_its_origins_are_the_present_sources(origin, source):
    assert source_of(origin) == source


def test_old_values_have_their_present_names():
    search = {
        "study_name": "s",
        "storage": None,
        "settings": {"strategy": "rung-tpe", "protocol": "study", "confirm_top": 3, "confirm_seeds": 4, "seed": 1},
        "data": {"stand_in": False, "num_classes": 2, "num_skipped": 0, "cache": "c"},
        "weights": {},
        "sittings": [{"started_at": 1.0}, {"started_at": 2.0, "packing": {"trials_per_gpu": 3, "most": 8}}],
    }
    new = upgrade_search(search)
    assert new["settings"] == {
        "strategy": "incumbent",
        "protocol": "paper",
        "finalists": 3,
        "retraining_seeds": 4,
        "seed": 1,
    }
    assert new["data"] == {"cache": "c", "synthetic": False}
    assert [session["gpu_sharing"] for session in new["sessions"]] == [
        None,
        {"trials_per_gpu": 3, "most": 8, "reason": ""},
    ]

"""The tables have the columns that tools rely on, and exactly the journal's values."""

import pytest

from tests.support.trials import add_trial, make_epoch, make_metrics, make_proposal, train
from tune_sketch.events import Decision, Source
from tune_sketch.storage.files import read_csv
from tune_sketch.storage.journal import Journal
from tune_sketch.storage.run_directory import RunDirectory
from tune_sketch.storage.tables import DECISION, EPOCH_COLUMNS, METRICS, SOURCE, TRIAL_COLUMNS, WORKER, write_tables

METRICS_OF_AN_EPOCH = {name: 0.1 * index + 0.2 for index, name in enumerate(METRICS)}


@pytest.fixture
def journal():
    journal = Journal()
    values = [0.1 + 0.2, 1 / 3, 0.25]
    train(journal, journal.add_trial(make_proposal(source=Source("paper"), flip=True), seed=4), values, "completed")
    train(journal, add_trial(journal), [0.5], "stopped", **METRICS_OF_AN_EPOCH)
    train(journal, add_trial(journal), [0.5, 0.25])
    journal.end(add_trial(journal).key, "failed", "loss is not finite, it says")
    source = Source("one-factor", step="decay", number_of_pass=1, num_epochs=3, compared_with=(0, 2))
    journal.add_trial(make_proposal(source=source, only_here=5), seed=9)
    return journal


@pytest.fixture
def run(tmp_path, journal):
    write_tables(RunDirectory(tmp_path), journal)
    return RunDirectory(tmp_path)


def test_columns_are_a_contract(run, journal):
    trials, epochs = read_csv(run.trials_csv), read_csv(run.epochs_csv)
    names = sorted({name for trial in journal.trials for name in trial.config})
    assert list(trials[0]) == [*TRIAL_COLUMNS, *(f"config/{name}" for name in names)]
    assert list(epochs[0]) == ["trial", "epoch", *METRICS, *WORKER, *DECISION, "recorded_at"]
    assert set(SOURCE) == {f"source_{name}" for name in vars(Source("random")) if name != "kind"}
    assert not run.retraining_epochs_csv.exists(), "nothing is being retrained"


def test_trials_are_there_with_the_journals_values(run, journal):
    rows = read_csv(run.trials_csv)
    assert [row["trial"] for row in rows] == list("01234")
    assert [row["status"] for row in rows] == [trial.status for trial in journal.trials]
    assert [row["source"] for row in rows] == ["paper", "random", "random", "random", "one-factor"]
    assert (rows[0]["best_epoch"], float(rows[0]["best_val_top1"]), float(rows[0]["last_val_top1"])) == (
        "2",
        1 / 3,
        0.25,
    )
    assert (rows[0]["config/flip"], rows[0]["config/only_here"], rows[4]["config/only_here"]) == ("True", "", "5")
    assert (rows[4]["best_epoch"], rows[4]["best_val_top1"], rows[4]["num_epochs"]) == ("", "", "0")
    assert (rows[4]["source_step"], rows[4]["source_compared_with"], rows[4]["source_rung"]) == ("decay", "0 2", "")
    assert rows[3]["error"] == "loss is not finite, it says"
    assert [row["seed"] for row in rows] == ["4", "5", "5", "5", "9"]


def test_epochs_are_exactly_the_journals_numbers(run, journal):
    rows = read_csv(run.epochs_csv)
    assert [(row["trial"], row["epoch"]) for row in rows] == [
        (str(trial.number), str(epoch.number)) for trial in journal.trials for epoch in trial.epochs
    ]
    for row in rows:  # text that reads back to the same float
        epoch = journal.trials[int(row["trial"])].epochs[int(row["epoch"]) - 1]
        assert {name: float(row[name]) for name in METRICS if row[name]} == {
            name: value for name, value in epoch.metrics.items() if name in METRICS
        }
        assert (row["node"], row["process"], row["gpus"]) == ("10.0.0.7", "42", "0")
        assert float(row["recorded_at"]) == epoch.recorded_at
    assert all(row["verdict"] == "" for row in rows)


def test_a_decision_is_beside_its_epoch(tmp_path, journal):
    trial = add_trial(journal)
    journal.record_epoch(trial.key, make_epoch(1, 0.1, decision=Decision("stop", 1 / 3, 4, 5)))
    run = RunDirectory(tmp_path)
    write_tables(run, journal)
    row = read_csv(run.epochs_csv)[-1]
    assert [row[name] for name in DECISION] == ["stop", str(1 / 3), "4", "5"]


def test_retrainings_have_a_table_of_their_own(tmp_path, journal):
    run = RunDirectory(tmp_path)
    for number, seed_index in ((3, 2), (0, 1)):
        retraining = journal.add_retraining(number, seed_index, {"epochs": 1}, seed=9)
        journal.record_epoch(retraining.key, make_epoch(1, 0.25, micro_batch=8, learning_rate=0.1))
    write_tables(run, journal)
    rows = read_csv(run.retraining_epochs_csv)
    assert list(rows[0]) == ["trial", "seed_index", *EPOCH_COLUMNS]
    assert [(row["trial"], row["seed_index"]) for row in rows] == [("0", "1"), ("3", "2")]
    assert (rows[0]["micro_batch"], rows[0]["learning_rate"], rows[0]["train_loss"]) == ("8", "0.1", "")
    assert float(rows[0]["val_loss"]) == make_metrics()["val_loss"]
    assert len(read_csv(run.trials_csv)) == 5

"""A real search on this machine, from the command to the files: what the README promises."""

import json
from pathlib import Path

import numpy as np
import optuna
import pytest
import torch
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from safetensors.torch import load_file

from tests.support.real_search import search_once
from tune_sketch.storage.files import read_csv
from tune_sketch.storage.reading import read_history

ROOT = Path(__file__).parents[2]
SKETCHY = ROOT.parent / "shared" / "data" / "sketchy-125x25"
QUICKDRAW = ROOT.parent / "shared" / "data" / "quickdraw-344x25-simplified"
pytestmark = [pytest.mark.real, pytest.mark.parallel, pytest.mark.timeout(600)]


def test_the_screen_tells_plan_progress_table_and_next_commands(searched):
    run, answer = searched
    assert "120 drawings, 4 classes" in answer.stderr
    assert "synthetic drawings" in answer.stderr
    assert "trial 0" in answer.stderr
    assert "best top-1" in answer.stderr
    for text in ("finalists on fresh seeds", "0 (paper)", "tensorboard --logdir", "tune_sketch.predict", str(run.path)):
        assert text in answer.stdout
    assert "Traceback" not in answer.stderr


def test_every_trial_has_ended_in_the_study_that_optuna_shows(searched):
    run, _ = searched
    storage = JournalStorage(JournalFileBackend(str(run.journal_log)))  # as optuna-dashboard opens it
    study = optuna.load_study(study_name=run.name, storage=storage)
    assert len(study.trials) == 4
    finished = {TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL}
    assert {trial.state for trial in study.trials} <= finished
    epochs = read_csv(run.epochs_csv)
    for trial in study.trials:
        rows = [row for row in epochs if row["trial"] == str(trial.number)]
        assert {int(row["epoch"]): float(row["val_top1"]) for row in rows} == trial.intermediate_values
    assert study.trials[0].user_attrs["source"]["kind"] == "paper"


def test_tables_agree_with_each_other(searched):
    run, _ = searched
    epochs = read_csv(run.epochs_csv)
    for row in read_csv(run.trials_csv):
        values = [float(e["val_top1"]) for e in epochs if e["trial"] == row["trial"]]
        assert len(values) == int(row["num_epochs"])
        assert max(values) == float(row["best_val_top1"])
        assert values[-1] == float(row["last_val_top1"])
    retrainings, finalists = read_csv(run.retraining_csv), read_csv(run.finalists_csv)
    assert len(retrainings) == 6, "paper, recipe and the best other on two seeds each"
    assert {row["trial"] for row in finalists} == {row["trial"] for row in retrainings}
    for row in finalists:
        values = [float(seed["test_top1"]) for seed in retrainings if seed["trial"] == row["trial"]]
        assert float(row["test_top1_mean"]) == pytest.approx(np.mean(values))
    (chosen,) = [row for row in finalists if row["is_chosen"] == "True"]
    assert float(chosen["val_top1_mean"]) == max(float(row["val_top1_mean"]) for row in finalists)


def test_the_test_split_was_read_once_after_the_choice(searched):
    run, _ = searched
    notes = read_history(run).notes
    assert len(notes["test_readings"]) == 1
    assert len(notes["test_readings"][0]["networks"]) == 7, "the retrainings', and the last step's"
    test_images = [row["image"] for row in read_csv(run.splits_csv) if row["split"] == "test"]
    predictions = read_csv(run.predictions_csv)
    assert [row["image"] for row in predictions] == test_images
    model = json.loads((run.best / "model.json").read_text())
    right = sum(row["class_1"] == row["true_class"] for row in predictions)
    assert right / len(predictions) == pytest.approx(model["test"]["top1"])


def test_weights_load_without_running_code(searched):
    run, _ = searched
    weights = load_file(run.best / "weights.safetensors")
    assert all(isinstance(value, torch.Tensor) for value in weights.values())
    assert not (run.path / "checkpoints").exists() or not any((run.path / "checkpoints").iterdir())


def test_a_name_that_is_taken_is_refused(searched):
    run, _ = searched
    before = sorted(path.name for path in run.path.iterdir())
    answer = search_once(run.path.parent, "--classes", "4", "--per-class", "30")
    assert answer.returncode == 2
    assert "exists already" in answer.stderr
    assert sorted(path.name for path in run.path.iterdir()) == before


@pytest.mark.skipif(not SKETCHY.is_dir(), reason="../shared/data/sketchy-125x25 is not there")
def test_sketchy_is_split_by_photo(tmp_path):
    answer = search_once(tmp_path, "--data", str(SKETCHY), "--classes", "5")
    assert answer.returncode == 0, answer.stderr
    assert "by photo" in answer.stderr
    rows = read_csv(tmp_path / "small" / "splits.csv")
    assert len(rows) == 125
    splits_of: dict[str, set[str]] = {}
    for row in rows:
        splits_of.setdefault(row["photo"], set()).add(row["split"])
    assert all(len(splits) == 1 for splits in splits_of.values())
    assert (tmp_path / "small" / "report.html").stat().st_size > 1000


@pytest.mark.skipif(not QUICKDRAW.is_dir(), reason="../shared/data/quickdraw-344x25-simplified is not there")
def test_a_dry_run_tells_the_hours_and_makes_nothing(tmp_path):
    answer = search_once(tmp_path, "--data", str(QUICKDRAW), "--classes", "4", "--dry-run")
    assert answer.returncode == 0, answer.stderr
    assert "100 drawings, 4 classes of 25 each" in answer.stderr
    assert "one epoch takes" in answer.stderr
    assert not any(tmp_path.iterdir())

"""The Python interface: a run's tables, and a search in a thread of the program that calls it."""

import subprocess
import sys
from pathlib import Path

import pytest

from tune_sketch import Settings, open_run
from tune_sketch.retraining.results import FINALIST_COLUMNS
from tune_sketch.storage.tables import EPOCH_COLUMNS, TRIAL_COLUMNS

RUN = Path(__file__).parent / "data_of_0_1" / "run"  # any run will do


def test_a_run_is_three_tables_and_its_settings():
    run = open_run(RUN)
    assert run.settings.model == "baseline"
    trials, epochs, finalists = run.trials, run.epochs, run.finalists
    assert list(trials.columns[: len(TRIAL_COLUMNS)]) == list(TRIAL_COLUMNS)
    assert list(epochs.columns) == ["trial", *EPOCH_COLUMNS]
    assert list(finalists.columns) == list(FINALIST_COLUMNS)
    assert len(trials) == run.settings.num_samples
    assert epochs.groupby("trial").size().sum() == trials["num_epochs"].sum()
    assert trials["best_val_top1"].max() == epochs["val_top1"].max()
    assert finalists["is_chosen"].sum() == 1


def test_what_is_no_run_says_so(tmp_path):
    with pytest.raises(ValueError, match=r"is not a run directory: it has no search\.json"):
        open_run(tmp_path)
    with pytest.raises(ValueError, match="has no network yet"):
        _ = open_run(RUN).classifier


def test_settings_fill_in_what_is_left_out():
    settings = Settings(model="baseline", data="drawings/")
    assert (settings.image_px, settings.max_epochs, settings.grace_epochs, settings.finalists) == (224, 80, 5, 2)


@pytest.mark.real
@pytest.mark.parallel
@pytest.mark.timeout(600)
def test_searches_from_a_thread_one_after_the_other(tmp_path):
    """In a thread no signal can be caught, and it says so; Ray is ended after a search and started for the next."""
    code = f"""
import threading
from pathlib import Path
from PIL import Image
from tune_sketch import Settings, search
import ray

found = []
def work():
    for seed in (0, 1):
        settings = Settings(model="baseline", classes=3, per_class=16, image_px=32, num_samples=2, max_epochs=2,
                            finalists=1, retraining_seeds=1, seed=seed)
        found.append(search(settings, name=f"run-{{seed}}", runs_dir={str(tmp_path)!r}))
        assert not ray.is_initialized()
thread = threading.Thread(target=work)
thread.start()
thread.join()
assert [len(run.trials) for run in found] == [2, 2]
picture = Image.new("L", (64, 64), 255)
picture.paste(0, (20, 10, 24, 50))
labels, probabilities = found[1].classifier.predict([picture, picture])
assert labels[0] in found[1].classifier.class_names and probabilities.shape == (2, 3)
assert found[0].path.joinpath("report.html").is_file()
"""
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert answer.returncode == 0, answer.stderr[-3000:]
    assert answer.stderr.count("not in the main thread: Ctrl-C and SIGTERM are not caught") == 2

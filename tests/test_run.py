"""A whole search in this process: from a run directory to its results, through kills and resumes, without Ray."""

import os
import shutil
import signal
from pathlib import Path

import pytest

from tests.support.in_process import InProcessBackend
from tests.support.whole_run import Killed, kill_at, make_run, untimed
from tune_sketch.backend.base import BackendLostError
from tune_sketch.callbacks.cleanup import Cleanup
from tune_sketch.data import open_data
from tune_sketch.data.splits import read_splits
from tune_sketch.inference.model import load_classifier
from tune_sketch.run import confirm_run, run_search
from tune_sketch.storage.facts import read_facts
from tune_sketch.storage.files import read_csv
from tune_sketch.storage.lock import lock
from tune_sketch.storage.reading import read_history
from tune_sketch.storage.resume import prepare_resume
from tune_sketch.storage.run_directory import RunDirectory

pytestmark = pytest.mark.usefixtures("no_report")


def test_a_finished_search_has_its_trials_retrainings_tests_and_files(finished):
    history, settings = read_history(finished), read_facts(finished).settings
    assert len(history.trials) == settings.num_samples
    assert {trial.status for trial in history.trials} <= {"completed", "stopped"}
    assert [trial.source.kind for trial in history.trials[:2]] == ["paper", "recipe"]
    assert {trial.number for trial in history.retrainings.values()} >= {0, 1}, "both are retrained"
    assert len(history.retrainings) == settings.num_retrainings
    assert all(trial.status == "completed" and trial.test for trial in history.retrainings.values())
    (last,) = history.last_steps.values()
    assert (last.status, last.test is None) == ("completed", False)
    (reading,) = history.notes["test_readings"]
    assert sorted(reading["networks"]) == sorted(history.later_trainings)
    assert (reading["chosen"], reading["shipped"]) == (last.number, last.key)
    assert len(read_csv(finished.trials_csv)) == 5
    assert len(read_csv(finished.retraining_csv)) == len(read_csv(finished.finalists_csv)) == 3
    assert len(read_csv(finished.predictions_csv)) == read_facts(finished).data.num_test
    for path in (finished.report_html, finished.best / "weights.safetensors", finished.best / "model.json"):
        assert path.stat().st_size > 0
    assert not finished.stop_file.exists()
    assert list((finished.path / "checkpoints").rglob("*.pt")) == [], "disk space is given back"
    assert len(read_facts(finished).sessions) == 1


def test_the_umask_says_who_reads_a_run(finished, tmp_path):
    paths = [finished.path, *finished.path.rglob("*")]
    assert len(paths) > 20
    assert [path for path in paths if path.stat().st_mode & 0o077] == [], "made with umask 077"
    before = os.umask(0o022)
    try:
        run = make_run(tmp_path / "run")
    finally:
        os.umask(before)
    assert [path for path in (run.path, *run.path.rglob("*")) if not path.stat().st_mode & 0o004] == []


def test_the_networks_temperature_is_in_every_answer(finished):
    """Fitted, recorded with the test result, stored with the network, and used by the search as by who loads it."""
    best = load_classifier(finished.path)
    (row,) = [row for row in read_csv(finished.retraining_csv) if float(row["temperature"]) == best.temperature]
    trial = read_history(finished).retrainings[f"retraining-{int(row['trial']):04d}-{int(row['seed_index']):02d}"]
    assert trial.test is not None
    assert trial.test.temperature == best.temperature != 1.0
    data = open_data(Path(read_facts(finished).data.cache))
    probabilities = best.compute_probabilities(data.images[read_splits(finished.splits_csv, data).test])
    rows = read_csv(finished.predictions_csv)
    assert [float(row["probability_1"]) for row in rows] == pytest.approx(list(probabilities.max(axis=1)), abs=2e-6)


@pytest.mark.parametrize("moment", [1, 4, 8])
def test_a_search_that_is_killed_and_resumed_is_the_same_search(finished, tmp_path, moment):
    run = make_run(tmp_path / "run")
    backend = InProcessBackend()
    kill_at(backend, moment)
    with pytest.raises(Killed):
        run_search(run, backend)
    assert run_search(run, InProcessBackend())
    assert untimed(run) == untimed(finished)
    assert len(read_facts(run).sessions) == 2


def test_a_kill_between_an_ending_and_what_follows_it_leaves_no_checkpoints(finished, tmp_path, monkeypatch):
    run, on_end = make_run(tmp_path / "run"), Cleanup.on_end

    def kill_after(key):
        def end(self, trial):
            if trial.key == key:
                raise Killed
            on_end(self, trial)

        return end

    for key in ("trial-0000", "trial-0001"):
        with monkeypatch.context() as patch:
            patch.setattr(Cleanup, "on_end", kill_after(key))
            with pytest.raises(Killed):
                run_search(run, InProcessBackend())
    assert not read_history(run).trials[1].is_unfinished
    assert run.checkpoints("trial-0001").is_dir()
    assert not run.checkpoints("trial-0000").is_dir(), "as soon as the search goes on"
    assert run_search(run, InProcessBackend())
    assert untimed(run) == untimed(finished)
    assert list(run.all_checkpoints.rglob("*.pt")) == []


def test_a_search_that_is_interrupted_pauses_and_goes_on(finished, tmp_path, capsys):
    run = make_run(tmp_path / "run")
    backend = InProcessBackend()

    def interrupt(key, report):
        if backend.num_reports == 2:
            os.kill(os.getpid(), signal.SIGINT)

    backend.before_report = interrupt
    before = signal.getsignal(signal.SIGINT)
    assert not run_search(run, backend)
    assert signal.getsignal(signal.SIGINT) is before
    assert f"stopped. Resume with:  python -m tune_sketch.search --resume {run.path}" in capsys.readouterr().err
    history = read_history(run)
    assert [trial.status for trial in history.trials if trial.is_unfinished] == ["paused"]
    assert history.retrainings == {}
    assert run.report_html.exists(), "a report of what there is"
    assert run_search(run, InProcessBackend())
    said = capsys.readouterr().err
    assert said.endswith("reading the test split\nwriting the report\n"), "what takes minutes when all is trained"
    assert untimed(run) == untimed(finished)


def test_a_search_whose_backend_dies_pauses_and_goes_on(finished, tmp_path):
    run = make_run(tmp_path / "run")
    backend = InProcessBackend()

    def die(key, report):
        if backend.num_reports == 4:
            raise BackendLostError("Ray's raylet (process 7) has died")

    backend.before_report = die
    with pytest.raises(BackendLostError) as caught:
        run_search(run, backend)
    assert caught.value.num_epochs == 3
    assert not caught.value.was_stopping
    assert {trial.status for trial in read_history(run).trials if trial.is_unfinished} == {"paused"}
    assert run_search(run, InProcessBackend())
    assert untimed(run) == untimed(finished)


def test_a_finished_search_has_nothing_to_do_and_can_be_extended(finished, tmp_path, capsys):
    run = RunDirectory(Path(shutil.copytree(finished.path, tmp_path / "run")))
    before, backend = untimed(run), InProcessBackend()
    assert run_search(run, backend)
    assert untimed(run) == before
    assert (backend.num_reports, backend.num_scored) == (0, 0), "nothing is trained or tested again"
    assert read_history(run).notes == read_history(finished).notes
    assert "reading the test split" not in capsys.readouterr().err

    prepare_resume(run, {"num_samples": 6, "max_epochs": 4, "finalists": 2})
    backend = InProcessBackend()
    assert run_search(run, backend)
    after = untimed(run)
    assert {key: after[key] for key in before} == before, "what was recorded stays"
    assert len(read_history(run).trials) == 6
    readings = read_history(run).notes["test_readings"]
    assert set(readings[0]["networks"]).isdisjoint(readings[-1]["networks"])
    assert backend.num_scored == len(after) - len(before) - 1


def test_finalists_are_confirmed_on_more_seeds(finished, tmp_path):
    run = RunDirectory(Path(shutil.copytree(finished.path, tmp_path / "run")))
    prepare_resume(run, {"retraining_seeds": 2})
    assert confirm_run(run, InProcessBackend())
    history = read_history(run)
    assert history.trials == read_history(finished).trials
    assert sorted(trial.seed_index for trial in history.retrainings.values()) == [1, 1, 1, 2, 2, 2]


def test_a_run_without_a_trained_trial_cannot_be_confirmed(tmp_path):
    run = make_run(tmp_path / "run")
    with pytest.raises(ValueError, match="has no trained trial to confirm"):
        confirm_run(run, InProcessBackend())


def test_the_record_may_be_in_a_database(finished, tmp_path):
    url = f"sqlite:///{tmp_path / 'records.db'}"
    run = make_run(tmp_path / "run", url)
    assert run_search(run, InProcessBackend(), url)
    assert not run.journal_log.exists()
    assert untimed(run, url) == untimed(finished)


def test_a_run_directory_is_made_whole_or_not_at_all(finished, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="exists already: choose another --name, or go on with it by --resume"):
        make_run(finished.path)

    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tune_sketch.new_run.write_facts", full)
    with pytest.raises(OSError, match="No space left"):
        make_run(tmp_path / "runs" / "run")
    assert list((tmp_path / "runs").iterdir()) == []


def test_one_process_at_a_time_works_on_a_run(finished):
    with lock(finished), pytest.raises(ValueError, match="is in use by process"):
        run_search(finished, InProcessBackend())


def test_a_search_in_which_nothing_trains_says_why(tmp_path, monkeypatch):
    def broken(*arguments, **options):
        raise RuntimeError("no such kernel")

    run = make_run(tmp_path / "run")
    monkeypatch.setattr("tune_sketch.trainables.job.fit", broken)
    with pytest.raises(ValueError, match=r"no trial trained a single epoch: .*no such kernel"):
        run_search(run, InProcessBackend())
    assert [trial.status for trial in read_history(run).trials] == ["failed"] * 3, "three of one reason are enough"
    assert "no such kernel" in run.error_file("trial-0000").read_text()

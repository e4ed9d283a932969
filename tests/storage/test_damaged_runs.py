"""A run whose files were damaged, changed or lost: what can be found again is, and the rest is named before a start."""

import json
import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.fake_runs import FakeClock, add_trials, begin_run
from tests.support.in_process import InProcessBackend
from tests.support.mounts import read_only
from tests.support.trials import add_trial, make_epoch
from tune_sketch.config.plan import prepare_inputs
from tune_sketch.config.settings import Settings
from tune_sketch.new_run import create_run
from tune_sketch.run import run_search
from tune_sketch.search import main
from tune_sketch.status import status_lines
from tune_sketch.storage.database import open_log
from tune_sketch.storage.facts import read_facts, write_facts
from tune_sketch.storage.history import JournalError
from tune_sketch.storage.journal import Journal
from tune_sketch.storage.lock import lock, read_owner
from tune_sketch.storage.reading import read_history
from tune_sketch.storage.recorded_choices import note_choices
from tune_sketch.storage.resume import prepare_resume, retry_failed
from tune_sketch.storage.run_directory import RunDirectory

CHOICES = {"classes": 3, "per_class": 12, "weights": "none", "num_samples": 3, "max_epochs": 2, "grace_epochs": 1}
CHOICES |= {"finalists": 0, "retraining_seeds": 1}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNE_SKETCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("tune_sketch.analysis.report.write_report", lambda runs, path, *more: path.touch())
    monkeypatch.setattr("tune_sketch.trainables.job.PAUSE_SECONDS", 0.0)


@pytest.fixture
def run(tmp_path):
    """A search that was interrupted: some trials ended, one is left running, its choices are recorded."""
    settings = Settings("baseline", **(CHOICES | {"num_samples": 4, "max_epochs": 9}))
    run = create_run(tmp_path / "run", settings, prepare_inputs(settings), None)
    journal = Journal(open_log(run.journal_log), run.name, clock=FakeClock())
    note_choices(journal, read_facts(run))
    add_trials(run, journal, 3, running=1)
    journal.close()
    return run


def swap(text):
    return text.replace(",validation", ",x").replace(",test", ",validation").replace(",x", ",test")


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe\0", b"image,class,split\ncat,cat\n", b"[" * 1000])
def test_a_lost_division_is_made_again_as_it_was(run, content, capsys):
    before = run.splits_csv.read_bytes()
    run.splits_csv.unlink()
    if content is not None:
        run.splits_csv.write_bytes(content)
    prepare_resume(run, {})
    assert run.splits_csv.read_bytes() == before
    assert "splits.csv could not be read" in capsys.readouterr().err


def test_a_changed_division_is_refused_and_may_be_removed(run):
    before = run.splits_csv.read_text()
    run.splits_csv.write_text(swap(before))
    with pytest.raises(ValueError, match=r"splits.csv has been changed since the search began.*remove it"):
        prepare_resume(run, {"num_samples": 9})
    assert read_facts(run).settings.num_samples == 4, "nothing is changed by a refused command"
    run.splits_csv.unlink()
    prepare_resume(run, {})
    assert run.splits_csv.read_text() == before


def test_a_division_that_cannot_be_made_again_is_named(run):
    facts = read_facts(run)
    changed = replace(facts, data=replace(facts.data, splits_sha256="0" * 64))  # as another way to divide would give
    write_facts(run, changed)
    journal = Journal(open_log(run.journal_log), run.name)
    note_choices(journal, changed)
    journal.close()
    run.splits_csv.unlink()
    with pytest.raises(ValueError, match=r"cannot be found again: put splits.csv back from a copy"):
        prepare_resume(run, {})


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("settings", "image_px"), 48, "image_px is 48, and was 32"),
        (("settings", "seed"), 7, "seed is 7, and was 0"),
        (("settings", "model"), "squeezenet1_1", "model is 'squeezenet1_1', and was 'baseline'"),
        (("settings", "max_epochs"), 3, "max_epochs is 3, and was 9"),
        (("settings", "invert"), False, "invert is False, and was True"),
        (("settings", "strategy"), "random", "strategy is 'random', and was 'incumbent'"),
        (("weights", "pretrained"), True, "pretrained is True, and was False"),
        (("data", "fingerprint"), "0" * 64, "drawings is '000"),
        (("settings", "seed"), None, "settings.seed: Input should be a valid integer"),
        (("settings", "num_samples"), 2.5, "settings.num_samples: Input should be a valid integer"),
        (("settings", "image_px"), "32", "settings.image_px: Input should be a valid integer"),
        (("settings", "max_failures"), True, "settings.max_failures"),
        (("settings", "image_pixels"), 32, "settings.image_pixels"),
        (("sessions",), {"junk": 1}, "sessions"),
        (("sessions",), [{"started_at": "then"}], "sessions"),
        (("weights", "path"), 5, "weights.path"),
        (("storage",), ["x"], "storage"),
        (("data",), None, "data"),
        (("format",), "2", "format"),
    ],
)
def test_a_changed_search_json_is_named_before_anything_starts(run, path, value, message, capsys):
    values = json.loads(run.search_json.read_text())
    *above, last = path
    inner = values
    for name in above:
        inner = inner[name]
    inner[last] = value
    run.search_json.write_text(json.dumps(values))
    log = run.journal_log.read_bytes()
    assert main(["--resume", str(run.path)]) == 2
    assert message in capsys.readouterr().err
    assert run.journal_log.read_bytes() == log, "no trial has been touched"


@pytest.mark.parametrize("url", ["nosuch", "nosuch://x", "/some/path", "sqlite:///x.db", "postgresql://[", "²", ""])
def test_a_storage_that_is_none_is_named(run, url, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # SQLite makes the file that it is to read
    values = json.loads(run.search_json.read_text())
    run.search_json.write_text(json.dumps(values | {"storage": url}))
    for command in (main, status_main):
        assert command(["--resume", str(run.path)] if command is main else [str(run.path)]) == 2
        assert capsys.readouterr().err.startswith("error: ")


def status_main(arguments):
    from tune_sketch.status import main as status

    return status(arguments)


def test_weights_that_are_no_file_are_named(run):
    facts = read_facts(run)
    write_facts(run, replace(facts, weights=replace(facts.weights, path=str(run.path), sha256="0" * 64)))
    with pytest.raises(ValueError, match="weights"):
        prepare_resume(run, {})


def test_decoded_drawings_that_were_damaged_are_decoded_again(run):
    cache = Path(read_facts(run).data.cache)
    for name in ("images.npy", "labels.npy"):
        before = (cache / name).read_bytes()
        changed = bytearray(before)
        changed[-8] ^= 1
        (cache / name).write_bytes(changed)
        prepare_resume(run, {})
        assert (cache / name).read_bytes() == before, name


@pytest.mark.parametrize("content", [b"{}", b"[", b"[" * 100_000, b'{"files": {"/dev/zero": {"sha256": "0"}}}'])
def test_a_damaged_description_of_decoded_drawings_has_them_decoded_again(run, content):
    meta = Path(read_facts(run).data.cache) / "meta.json"
    before = json.loads(meta.read_text())
    values = before | json.loads(content) if content.endswith(b"}") and len(content) > 2 else None
    meta.write_bytes(content if values is None else json.dumps(values).encode())
    prepare_resume(run, {})
    assert json.loads(meta.read_text())["files"] == before["files"]


def test_a_failed_trial_is_tried_again_and_keeps_what_it_had(run):
    journal = Journal(open_log(run.journal_log), run.name)
    failed = add_trial(journal, 3)
    journal.record_epoch(failed.key, make_epoch(1, 0.25))
    journal.end(failed.key, "failed", "its process died")
    retraining = journal.add_retraining(0, 1, {"epochs": 2}, seed=1)
    journal.end(retraining.key, "out_of_memory", "no room")
    stopped = [trial for trial in journal.trials if not trial.is_unfinished and trial.key != failed.key]
    journal.close()
    assert {trial.key for trial in retry_failed(run)} == {failed.key, retraining.key}
    history = read_history(run)
    again = history.trials[failed.number]
    assert (again.status, again.error, again.ended_at) == ("paused", "", None)
    assert [epoch.val_top1 for epoch in again.epochs] == [0.25]
    assert (again.config, again.params, again.source) == (failed.config, failed.params, failed.source)
    assert [history.trials[trial.number] for trial in stopped] == stopped, "others stay as they are"
    assert history.retrainings[retraining.key].status == "paused"
    assert retry_failed(run) == []
    journal = Journal(open_log(run.journal_log), run.name)  # and the journal goes on as ever
    journal.resume(failed.key)
    journal.record_epoch(failed.key, make_epoch(2, 0.5))
    journal.end(failed.key, "stopped")
    new = add_trial(journal, 3)
    journal.close()
    history = read_history(run)
    assert [len(trial.epochs) for trial in history.trials][failed.number :] == [2, 0]
    assert history.trials[failed.number].status == "stopped"
    assert new.number == failed.number + 1


def start(tmp_path):
    settings = Settings("baseline", **CHOICES)
    return create_run(tmp_path / "whole", settings, prepare_inputs(settings), None)


def test_a_search_whose_files_go_away_is_interrupted_and_goes_on_when_they_are_back(tmp_path, capsys):
    """No trial is failed by it, status says why, and the result is that of a search that nothing disturbed."""
    run = start(tmp_path)
    away = tmp_path / "away"
    backend = InProcessBackend()

    def take_away(key, report):
        if backend.num_reports == 1:
            shutil.move(run.splits_csv, away)

    backend.before_report = take_away
    assert run_search(run, backend) is False
    history = read_history(run)
    assert {trial.status for trial in history.trials} <= {"paused", "completed", "stopped"}
    assert all(trial.error == "" for trial in history.trials)
    assert "could not be trained" in "\n".join(status_lines(run))
    err = capsys.readouterr().err
    assert "cannot be trained, through no fault of its configuration: " in err
    assert f"--resume {run.path}" in err
    prepare_resume(run, {})  # which makes the division again
    assert run_search(run, InProcessBackend())
    assert {trial.status for trial in read_history(run).trials} <= {"completed", "stopped"}
    assert "could not be trained" not in "\n".join(status_lines(run))


def test_a_journal_put_back_from_an_older_copy_decides(tmp_path, capsys):
    """Checkpoints and weights of trainings that it knows nothing of are passed over."""
    straight = start(tmp_path / "straight")
    assert run_search(straight, InProcessBackend())
    run = start(tmp_path / "other")
    backend = InProcessBackend()
    copies = []

    def copy_and_kill(key, report):
        copies.append(run.journal_log.read_bytes())
        if len(copies) == 4:
            raise KeyboardInterrupt

    backend.before_report = copy_and_kill
    with pytest.raises(KeyboardInterrupt):
        run_search(run, backend)
    run.journal_log.write_bytes(copies[0])
    prepare_resume(run, {})
    assert run_search(run, InProcessBackend())
    expected, found = read_history(straight), read_history(run)
    assert [t.status for t in found.trials] == [t.status for t in expected.trials]
    assert [[e.val_top1 for e in t.epochs] for t in found.trials] == [
        [e.val_top1 for e in t.epochs] for t in expected.trials
    ]
    assert {k: t.test for k, t in found.retrainings.items()} == {k: t.test for k, t in expected.retrainings.items()}


def test_swapped_checkpoints_are_passed_over(tmp_path, capsys):
    run = start(tmp_path)
    backend = InProcessBackend()

    def kill(key, report):
        if backend.num_reports == 1:
            raise KeyboardInterrupt

    backend.before_report = kill
    with pytest.raises(KeyboardInterrupt):
        run_search(run, backend)
    folder = run.path / "checkpoints"
    (folder / "trial-0000").rename(folder / "trial-0001")
    assert run_search(run, InProcessBackend())
    assert {trial.status for trial in read_history(run).trials} <= {"completed", "stopped"}
    assert "WARNING  trial-0001: passing over the checkpoint" in capsys.readouterr().err


def test_a_damaged_journal_is_named(run, capsys):
    lines = run.journal_log.read_text().splitlines(keepends=True)
    run.journal_log.write_text("".join([*lines[:3], '{"op_code": 4, "junk"\n', *lines[3:]]))
    with pytest.raises(JournalError, match=r"journal.log is damaged"):
        read_history(run)
    assert main(["--resume", str(run.path)]) == 2
    assert "journal.log is damaged" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "{", "[]", '{"host": 1}', '{"host": "a", "process": "x", "since": 1e999}', "\0"])
def test_a_damaged_owners_entry_is_an_owner_all_the_same(run, text):
    with lock(run):
        run.owner_json.write_text(text)
        assert read_owner(run) is not None
        assert "owner          process" in "\n".join(status_lines(run))


def test_a_renamed_run_goes_on(run, tmp_path):
    other = RunDirectory(run.path.rename(tmp_path / "an other-name"))
    prepare_resume(other, {})
    assert len(read_history(other).trials) == 3
    assert status_lines(other)[0] == f"run directory  {other.path}"


@pytest.fixture
def open_folder():
    """A folder that all users can look into, unlike pytest's, whose parents are closed to them."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def as_nobody(work):
    """Run as a user without rights to anything."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    os.seteuid(65534)
    try:
        return work()
    finally:
        os.seteuid(0)


def test_a_run_of_another_owner_can_be_read_and_its_resume_is_refused(run, open_folder, capsys):
    run = RunDirectory(Path(shutil.copytree(run.path, open_folder / "run")))
    for path in (run.path, *(path for path in run.path.rglob("*") if path.is_dir())):
        path.chmod(0o755)
    for path in run.path.iterdir():
        if path.is_file():
            path.chmod(0o644)
    assert as_nobody(lambda: status_lines(run))[0].startswith("run directory")
    assert as_nobody(lambda: main(["--resume", str(run.path)])) == 2
    assert "Permission denied" in capsys.readouterr().err
    run.path.chmod(0o700)
    assert as_nobody(lambda: main(["--resume", str(run.path)])) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_a_run_on_a_read_only_disk_can_be_read_and_its_resume_is_refused(run, capsys):
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    with read_only(run.path):
        assert status_lines(run)[0].startswith("run directory")
        assert main(["--resume", str(run.path), "--num-samples", "9"]) == 2
        error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert "Read-only file system" in error
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == before


def test_a_run_of_version_two_without_recorded_choices_goes_on(tmp_path):
    run, journal = begin_run(tmp_path / "old")
    add_trials(run, journal, 2, running=1)
    journal.close()
    facts = read_facts(run)
    write_facts(run, replace(facts, data=replace(facts.data, splits_sha256=None)))
    prepare_resume(run, {})
    assert read_facts(run).data.splits_sha256 == facts.data.splits_sha256

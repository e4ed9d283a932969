"""The log file stays whole: a torn last line is cut, a full disk leaves whole lines, readers need no writer's end."""

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.mounts import mounted
from tests.support.trials import add_trial, make_epoch
from tune_sketch.storage import journal as journal_module
from tune_sketch.storage import journal_file
from tune_sketch.storage.database import JournalError, open_log
from tune_sketch.storage.journal import Journal
from tune_sketch.storage.reading import load

CONFIG = {"learning_rate": 0.1, "epochs": 3}


def make_history(path):
    """A journal in which something of every kind happened; [(bytes of the file, trials, retrainings)] after each."""
    journal = Journal(open_log(path), "s", create=True)
    states = [(path.stat().st_size, [], {})]

    def note_state():
        states.append((path.stat().st_size, list(journal.trials), dict(journal.retrainings)))

    for number in range(2):
        key = add_trial(journal).key
        note_state()
        for epoch in (1, 2):
            journal.record_epoch(key, make_epoch(epoch, 0.25 * epoch))
            note_state()
        if number == 0:
            journal.end(key, "completed")
        else:
            journal.pause(key)
        note_state()
    retraining = journal.add_retraining(0, 1, CONFIG, seed=9)
    note_state()
    journal.record_epoch(retraining.key, make_epoch(1))
    note_state()
    return states


@pytest.fixture(scope="module")
def history(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "journal.log"
    return make_history(path), path.read_bytes()


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_file_cut_at_any_byte_holds_what_was_recorded_until_then_and_goes_on(history, tmp_path_factory, data):
    states, text = history
    size = data.draw(st.integers(states[0][0], len(text)))
    path = tmp_path_factory.mktemp("cut") / "journal.log"
    path.write_bytes(text[:size])
    expected = max((state for state in states if state[0] <= size), key=lambda state: state[0])

    reader = load(open_log(path, read_only=True), "s")
    assert (reader.trials, reader.retrainings) == expected[1:]
    assert path.read_bytes() == text[:size], "a reader changes nothing"

    journal = Journal(open_log(path), "s")
    assert (journal.trials, journal.retrainings) == expected[1:]
    assert text.startswith(path.read_bytes())
    assert path.read_bytes().endswith(b"\n")
    key = add_trial(journal).key
    journal.record_epoch(key, make_epoch(1))
    for trial in journal.trials[:-1]:
        if trial.is_unfinished:  # also one of whose epoch a part was written
            journal.record_epoch(trial.key, make_epoch(len(trial.epochs) + 1, 0.75))
            journal.end(trial.key, "failed")
    again = load(open_log(path, read_only=True), "s")
    assert (again.trials, again.retrainings) == (journal.trials, journal.retrainings)


@pytest.mark.parametrize(
    ("text", "left"), [(b"", b""), (b"torn", b""), (b"a\n", b"a\n"), (b"a\nb\nto", b"a\nb\n"), (b"\n\n", b"\n\n")]
)
def test_what_follows_the_last_line_is_cut(tmp_path, text, left):
    path = tmp_path / "journal.log"
    path.write_bytes(text)
    journal_file.cut_torn_line(path)
    assert path.read_bytes() == left


@pytest.mark.parametrize("length", [65_535, 65_536, 65_537, 200_000])
def test_a_torn_line_may_be_long(tmp_path, length):
    path = tmp_path / "journal.log"
    path.write_bytes(b"whole\n" + b"x" * length)
    journal_file.cut_torn_line(path)
    assert path.read_bytes() == b"whole\n"


def test_a_missing_file_has_no_torn_line(tmp_path):
    journal_file.cut_torn_line(tmp_path / "journal.log")
    assert list(tmp_path.iterdir()) == []


def test_opening_leaves_no_lock_behind(tmp_path):
    """A lock file would outlive a kill."""
    journal = Journal(open_log(tmp_path / "journal.log"), "s", create=True)
    add_trial(journal)
    assert [path.name for path in tmp_path.iterdir()] == ["journal.log"]


def test_after_a_partial_write_the_file_is_whole_and_the_journal_goes_on(tmp_path, monkeypatch):
    path = tmp_path / "journal.log"
    journal = Journal(open_log(path), "s", create=True)
    key = add_trial(journal).key
    before, failing = path.read_bytes(), [3]
    original = journal_file.JournalFileBackend.append_logs

    def write_a_part(backend, logs):
        if failing[0] == 0:
            return original(backend, logs)
        failing[0] -= 1
        with open(path, "ab") as file:
            file.write(b'{"op_code": 8, "wor')
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(journal_file.JournalFileBackend, "append_logs", write_a_part)
    monkeypatch.setattr(journal_module.time, "sleep", lambda seconds: sizes.append(path.read_bytes()))
    sizes = []
    journal.record_epoch(key, make_epoch(1, 0.25))
    assert sizes == [before] * 3, "whole lines while it waits"
    assert load(open_log(path, read_only=True), "s").trials == journal.trials
    assert journal.trials[0].epochs[0].val_top1 == 0.25


def test_a_full_disk_leaves_whole_lines_and_the_journal_goes_on_when_there_is_room(tmp_path, monkeypatch):
    """Really full, where a file system may be mounted; skipped elsewhere."""
    monkeypatch.setattr(journal_module, "PATIENCE_SECONDS", -1.0)
    folder = tmp_path / "small"
    with mounted(folder, "-t", "tmpfs", "-o", "size=256k", "tmpfs"):
        path = folder / "journal.log"
        journal = Journal(open_log(path), "s", create=True)
        key = add_trial(journal, epochs=1000).key
        (folder / "ballast").write_bytes(b"x" * 150_000)

        def fill_the_disk():
            while True:
                journal.record_epoch(key, make_epoch(len(journal.find(key).epochs) + 1))

        with pytest.raises(JournalError, match="No space left"):
            fill_the_disk()
        num_epochs = len(journal.find(key).epochs)
        assert num_epochs > 10
        assert path.read_bytes().endswith(b"\n")
        assert load(open_log(path, read_only=True), "s").trials == journal.trials
        os.unlink(folder / "ballast")
        journal.record_epoch(key, make_epoch(num_epochs + 1))
        journal.end(key, "completed")
        assert load(open_log(path, read_only=True), "s").trials == journal.trials
        assert len(journal.find(key).epochs) == num_epochs + 1


def test_a_reader_reads_beside_a_writer(tmp_path):
    """Whole lines while the last one is being written, and what came since on the next reading."""
    path = tmp_path / "journal.log"
    journal = Journal(open_log(path), "s", create=True)
    key = add_trial(journal).key
    for epoch in (1, 2, 3):
        journal.record_epoch(key, make_epoch(epoch))
        size = path.stat().st_size
        with open(path, "ab") as file:
            file.write(b'{"op_code": 8, "half of a li')
        assert load(open_log(path, read_only=True), "s").trials == journal.trials
        os.truncate(path, size)

"""A study's database on a network file system is kept in the mode that other machines can read."""

import contextlib
import sqlite3
from pathlib import Path

import pytest

from tune_sketch.storage import database
from tune_sketch.storage.database import is_on_network, open_storage


@pytest.fixture
def mounts(tmp_path, monkeypatch):
    """Pretends that the machine's mounts are those written to this file."""
    file = tmp_path / "mounts"
    monkeypatch.setattr(database, "MOUNTS", file)
    return file


def mode_of(path: Path) -> str:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute("PRAGMA journal_mode").fetchone()[0]


def test_the_innermost_mount_decides(mounts, tmp_path):
    shared = tmp_path / "shared place"
    shared.mkdir()
    escaped = str(shared).replace(" ", "\\040")
    mounts.write_text(f"/dev/sda1 / ext4 rw 0 0\nhead:/shared {escaped} nfs4 rw 0 0\n")
    assert is_on_network(shared / "study.db")
    assert not is_on_network(tmp_path / "study.db")
    mounts.write_text(mounts.read_text() + f"tmpfs {escaped} tmpfs rw 0 0\n")
    assert not is_on_network(shared / "study.db"), "a later mount at the same place hides the earlier one"


def test_other_systems_have_no_list_of_mounts(mounts, tmp_path):
    assert not is_on_network(tmp_path / "study.db")


@pytest.mark.parametrize(("type_", "mode"), [("ext4", "wal"), ("nfs4", "delete"), ("cifs", "delete")])
def test_the_database_suits_its_place(mounts, tmp_path, type_, mode):
    mounts.write_text(f"x / {type_} rw 0 0\n")
    path = tmp_path / "study.db"
    open_storage(f"sqlite:///{path}").engine.dispose()
    assert mode_of(path) == mode


def test_a_run_that_was_moved_to_shared_storage_changes_its_mode(mounts, tmp_path):
    path = tmp_path / "study.db"
    for type_, mode in (("ext4", "wal"), ("nfs4", "delete")):
        mounts.write_text(f"x / {type_} rw 0 0\n")
        open_storage(f"sqlite:///{path}").engine.dispose()
        assert mode_of(path) == mode
    storage = open_storage(f"sqlite:///{path}", read_only=True)
    assert storage.get_all_studies() == []
    storage.engine.dispose()

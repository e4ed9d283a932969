"""The commit that a session records is that of our own checkout, or none."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tune_sketch.storage.provenance import describe_session, find_git_commit

OURS = '[project]\nname = "tune_sketch"\n'


def commit(folder: Path) -> str:
    """A repository of everything in the folder; its commit."""
    if shutil.which("git") is None:
        pytest.skip("no git")
    git = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
    for arguments in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "first"]):
        subprocess.run([*git, *arguments], check=True, capture_output=True)
    return subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()


def lay_out(folder: Path, project: str) -> Path:
    (folder / "tune_sketch" / "storage").mkdir(parents=True)
    (folder / "tune_sketch" / "storage" / "provenance.py").touch()
    (folder / "pyproject.toml").write_text(project)
    return folder


def test_our_own_checkout(tmp_path):
    root = lay_out(tmp_path / "ours", OURS)
    expected = commit(root)
    assert find_git_commit(root) == expected
    (root / "pyproject.toml").write_text(OURS + "\n")
    assert find_git_commit(root) == f"{expected}+changes"


@pytest.mark.parametrize("project", ['[project]\nname = "mine"\n', "", "no toml [", "[tool.x]\n", "project = 3\n"])
def test_a_copy_in_a_repository_of_the_user(tmp_path, project):
    root = lay_out(tmp_path, project)
    commit(root)
    assert find_git_commit(root) is None


def test_a_copy_without_a_project_file(tmp_path):
    root = lay_out(tmp_path, "")
    (root / "pyproject.toml").unlink()
    commit(root)
    assert find_git_commit(root) is None


def test_our_whole_project_in_a_folder_of_the_users_repository(tmp_path):
    root = lay_out(tmp_path / "vendor" / "ours", OURS)
    commit(tmp_path)
    assert find_git_commit(root) is None


def test_no_checkout_at_all(tmp_path):
    assert find_git_commit(lay_out(tmp_path, OURS)) is None


def test_a_git_hook_of_another_repository_does_not_mislead(tmp_path, monkeypatch):
    """git tells what it starts, by variables, which repository it is at work on."""
    root, other = lay_out(tmp_path / "ours", OURS), lay_out(tmp_path / "other", '[project]\nname = "other"\n')
    expected, foreign = commit(root), commit(other)
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other))
    assert find_git_commit(root) == expected != foreign


def test_a_command_of_any_bytes_can_be_recorded(monkeypatch):
    monkeypatch.setattr("sys.argv", ["search.py", "--classes", "b\udce9", "a\nb"])
    assert describe_session(None).command == ("search.py", "--classes", r"b\xe9", r"a\x0ab")

"""Commands by name: the console script and `python -m`, an unknown name, and a system that is not supported."""

import subprocess
import sys
from pathlib import Path

import pytest

from tune_sketch.__main__ import COMMANDS, main

ROOT = Path(__file__).parents[2]
REFUSAL = "tune_sketch runs on Linux and macOS, not on Windows: use the Windows Subsystem for Linux"


def test_an_unknown_command_is_an_error_that_lists_the_known_ones(capsys):
    assert main(["train", "--model", "baseline"]) == 2
    answer = capsys.readouterr()
    assert answer.out == ""
    assert answer.err.startswith("error: ")
    assert "train" in answer.err
    assert all(name in answer.err for name in COMMANDS)


def test_a_command_gets_its_own_words_and_gives_its_own_exit_code(monkeypatch):
    seen = []
    monkeypatch.setattr("tune_sketch.status.main", lambda words: seen.append(words) or 7)
    assert main(["status", "runs/a", "--watch"]) == 7
    assert seen == [["runs/a", "--watch"]]


@pytest.mark.parametrize("words", [[], ["-h"], ["--help"]])
def test_help_lists_every_command_with_what_it_does(words, capsys):
    assert main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[3:]] == list(COMMANDS)
    assert all(len(line) > 30 for line in lines[3:])


def run_python(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Python that takes this machine for Windows when it begins to run our code."""
    (folder / "sitecustomize.py").write_text(f"import sys\nsys.path.insert(0, {str(ROOT)!r})\nsys.platform = 'win32'\n")
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env={"PYTHONPATH": str(folder)}, check=False
    )


@pytest.mark.parametrize("module", ["tune_sketch", "tune_sketch.search", "tune_sketch.data"])
def test_a_command_on_windows_is_refused_in_one_line(module, tmp_path):
    answer = run_python(tmp_path, "-m", module, "--help")
    assert (answer.returncode, answer.stdout, answer.stderr) == (2, "", f"error: {REFUSAL}\n")


def test_the_console_script_on_windows_is_refused_in_one_line(tmp_path):
    script = tmp_path / "tune-sketch"
    script.write_text("import sys\nfrom tune_sketch.__main__ import main\nsys.exit(main())\n")
    answer = run_python(tmp_path, str(script), "--help")
    assert (answer.returncode, answer.stdout, answer.stderr) == (2, "", f"error: {REFUSAL}\n")


def test_an_import_on_windows_raises_with_the_same_words(tmp_path):
    answer = run_python(tmp_path, "-c", "import tune_sketch")
    assert answer.returncode == 1
    assert answer.stderr.endswith(f"ImportError: {REFUSAL}\n")

"""Printed commands: what a shell makes of them is what was meant."""

import shlex
import subprocess
from pathlib import Path

import pytest

from tune_sketch.commands import command_text, quoted, tensorboard_text

PATHS = ["a", "a b", "a#b?c%20", "{x}", "'\"$(id)`id`", "café 猫 😀", "-x", "~/x", "a;b&c|d", "*", "a\\b", "=x", "!x"]


@pytest.mark.parametrize("path", PATHS)
def test_a_shell_reads_what_was_meant(path):
    command = command_text("search", "--resume", Path(path), more="--num-samples N")
    seen = subprocess.run(["bash", "-c", f'set -- {command}; printf "%s\\0" "$@"'], capture_output=True, check=True)
    *words, rest = seen.stdout.decode().split("\0")
    assert words[:4] == ["python", "-m", "tune_sketch.search", "--resume"]
    assert Path(words[4]) == Path(path)
    assert not words[4].startswith("-"), "it would be read as a flag"
    assert words[5:] == ["--num-samples", "N"]
    assert rest == ""
    assert [Path(word) for word in shlex.split(quoted(Path(path)))] == [Path(path)]
    assert Path(shlex.split(tensorboard_text(Path(path)))[-1]) == Path(path)


def test_a_plain_path_stays_plain():
    assert command_text("report", Path("runs/a"), more="PLACE") == "python -m tune_sketch.report runs/a PLACE"

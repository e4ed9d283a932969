"""status --watch: what it draws in each state, in a real pseudo-terminal of 80 columns, and that it ends by itself."""

import os
import pty
import re
import select
import struct
import subprocess
import sys
import time
from fcntl import ioctl
from termios import TIOCSWINSZ

import pytest

from tests.support.fake_runs import add_epochs, add_trials, begin_run, make_finished_run
from tests.support.real_search import ROOT
from tune_sketch.standing.watching import ASCII_BLOCKS, BLOCKS, blocks_of, draw_curve, frame, watch
from tune_sketch.storage.facts import read_facts
from tune_sketch.storage.lock import lock, read_owner
from tune_sketch.storage.reading import read_history


def draw_frame(run, columns=80, rows=24, blocks=BLOCKS):
    return frame(run, read_facts(run), read_history(run), read_owner(run), columns, rows, blocks=blocks)


def test_a_running_search(tmp_path):
    run, journal = begin_run(tmp_path / "run")
    with lock(run):
        assert any("no epoch yet" in line for line in draw_frame(run))
        add_trials(run, journal, 6, running=2)
        lines = draw_frame(run)
    best = max(epoch.val_top1 for trial in journal.trials for epoch in trial.epochs)
    text = "\n".join(lines)
    assert re.search(r"trials +6 of 12: .*2 running", text)
    assert f"trial 0: validation top-1 {100 * best:.1f} %" in text
    assert "█" in text, "the curve ends at its best"
    assert re.search(r"rung 1 +6 came, best \d", text)
    assert re.search(r"127\.0\.0\.1 100\d +trial 4, epoch 1 of 9, \d+\.\d %, \d+ s ago", text)
    assert re.search(r"time left +about \d", text)
    assert max(map(len, lines)) < 80


def test_retrainings_have_their_own_time_left(tmp_path):
    run, journal = begin_run(tmp_path / "run", num_samples=4)
    add_trials(run, journal, 4)
    add_epochs(journal, journal.add_retraining(0, 1, journal.trials[0].config, seed=1), 3, 0.5)
    with lock(run):
        text = "\n".join(draw_frame(run))
    assert "retraining of trial 0, seed 1, epoch 3 of 9" in text
    assert "for the trainings that were begun" in text


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (40, 10), (200, 60)])
def test_it_fits_any_terminal(tmp_path, columns, rows):
    run, journal = begin_run(tmp_path / "run", num_samples=60)
    add_trials(run, journal, 50, running=40)
    with lock(run):
        lines = draw_frame(run, columns, rows)
    assert len(lines) <= rows - 2
    assert max(map(len, lines)) < columns
    assert re.match(r"\.\.\. and \d+ more lines", lines[-1]) or rows == 60


def test_the_curve_is_plain_where_the_terminal_has_no_blocks():
    assert blocks_of("utf-8") == BLOCKS
    assert blocks_of("ascii") == blocks_of("latin-1") == blocks_of(None) == ASCII_BLOCKS
    assert draw_curve([0.1, 0.2, 0.3, 0.9], 4, "0123456789") == "0129"
    assert draw_curve([0.5, 0.5], 4, "0123456789") == "00"
    assert draw_curve([0, 1, 2, 3, 4, 5, 6, 7], 4, "01234567") == "1357", "each is the last of its stretch"


def test_nothing_to_watch_and_no_run(tmp_path, capsys):
    run = make_finished_run(tmp_path / "run", num_trials=4)
    assert watch(run) == 0
    out = capsys.readouterr().out
    assert "nobody is at work on it: nothing to watch" in out
    assert "\x1b" not in out, "a pipe gets no control characters"


@pytest.mark.parametrize("term", ["xterm", "dumb"])
def test_in_a_terminal_it_redraws_and_ends_with_the_search(tmp_path, term):
    run, journal = begin_run(tmp_path / "run", num_samples=3)
    add_trials(run, journal, 1)
    ours, theirs = pty.openpty()
    ioctl(theirs, TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    with lock(run):
        process = subprocess.Popen(
            [sys.executable, "-m", "tune_sketch.status", str(run.path), "--watch"],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=ROOT,
            env=os.environ | {"TERM": term, "NO_COLOR": "1"},
            close_fds=True,
        )
        os.close(theirs)
        seen = read_until(ours, "1 of 3", 120)
        add_trials(run, journal, 2)
        seen += read_until(ours, "3 of 3", 120)
        for number in (0, 1):
            retraining = journal.add_retraining(number, 1, journal.trials[number].config, seed=1)
            journal.end(retraining.key, "failed", error="x")
    seen += read_until(ours, "it has ended", 120)
    assert process.wait(30) == 0
    os.close(ours)
    assert "\x1b[3" not in seen.replace("\x1b[38", "\x1b[3"), "no colour"
    assert ("\x1b[H" in seen) == (term == "xterm")
    plain = re.sub(r"\x1b\[[\d;]*[A-Za-z]", "", seen)
    assert max(len(line) for line in plain.splitlines()) <= 80


def read_until(terminal, text, seconds):
    """The terminal's content, once it holds `text`."""
    seen, end = "", time.monotonic() + seconds
    while text not in seen:
        assert time.monotonic() < end, f"no {text!r} within {seconds} s: {seen}"
        if select.select([terminal], [], [], 1)[0]:
            try:
                seen += os.read(terminal, 65536).decode()
            except OSError:  # it has been closed
                break
    assert text in seen, seen
    return seen

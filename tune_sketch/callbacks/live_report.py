"""Writes the report again every few minutes while a search is at work, in a process of its own that gives way."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tune_sketch.events import Trial

PAUSE_SECONDS = 180.0  # at least, from one report's end to the next one's start
MOST_SHARE = 0.02  # of the time may be spent on it: a report that took 10 s is not written again within 500 s
NICE = 19  # trainings come first


class LiveReport:
    """Starts a report between epochs when it is time. The search neither waits for it nor imports what it needs."""

    def __init__(self, run: Path, storage: str | None, say: Callable[[str], None]) -> None:
        """storage: the URL of the record's database; it goes through a pipe, for it may hold a password."""
        self.run, self.storage, self.say = run, storage, say
        self.process: subprocess.Popen[str] | None = None
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed by close())
        self.begun_at = 0.0
        self.next_at = time.monotonic() + PAUSE_SECONDS
        self.has_failed = False

    def on_epoch(self, trial: Trial) -> None:
        now = time.monotonic()
        if self.process is not None:
            if self.process.poll() is None:
                return
            self.next_at = now + max(PAUSE_SECONDS, (now - self.begun_at) / MOST_SHARE)
            self.tell_failure(self.process.returncode)
            self.process = None
        if now >= self.next_at and not self.has_failed:
            self.begun_at = now
            self.process = self.start()

    def on_end(self, trial: Trial) -> None:
        self.on_epoch(trial)

    def start(self) -> "subprocess.Popen[str]":
        """One report: no GPU, one thread, out of reach of a Ctrl-C, which is meant for the search."""
        package = str(Path(__file__).parents[2])
        paths = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
        settings = {"PYTHONPATH": paths, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(
            ["nice", "-n", str(NICE), sys.executable, "-m", "tune_sketch.analysis.draft", str(self.run)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self.errors,
            text=True,
            env=os.environ | settings,
            start_new_session=True,
        )
        assert process.stdin is not None
        process.stdin.write(self.storage or "")
        process.stdin.close()
        return process

    def tell_failure(self, code: int) -> None:
        """Say once why a report could not be written; the search goes on without."""
        if code:
            self.has_failed = True
            self.errors.seek(0)
            lines = self.errors.read().strip().splitlines() or [f"exit code {code}"]
            self.say(f"the report cannot be written during the search: {lines[-1]}")

    def close(self) -> None:
        """End a report that is being written: the last one is written by the search itself."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
        self.next_at = float("inf")
        self.errors.close()

"""Runs real searches for tests, with everything they print, and ends all their processes at the end of a test."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.support.processes import end_family, family, kill_process, wait_until_gone
from tests.support.recorded import count_epochs
from tune_sketch.storage.run_directory import RunDirectory

ROOT = Path(__file__).parents[2]
PACKAGES = ("tune_sketch", "search_spaces", "trainables", "analysis")
IGNORED = shutil.ignore_patterns("__pycache__")
SMALL = "--model baseline --classes 4 --per-class 24 --image-px 32 --max-epochs 9 --retraining-seeds 1 --seed 3"
SMALLEST = "--model baseline --image-px 32 --num-samples 4 --max-epochs 3 --finalists 1 --retraining-seeds 2"


def search_once(folder: Path, *flags: str) -> subprocess.CompletedProcess:
    """A search of seconds, brought to its end in folder/small."""
    command = [sys.executable, "-m", "tune_sketch.search", *SMALLEST.split(), *flags]
    return subprocess.run(
        [*command, "--name", "small", "--runs-dir", str(folder)], capture_output=True, text=True, cwd=ROOT, timeout=500
    )


class Search:
    """One run directory and the commands that work on it, one process at a time or two at once."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.environment = dict(os.environ) | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)} | environment
        self.run = RunDirectory(folder / "runs" / "run")
        self.processes: list[subprocess.Popen] = []

    def start(self, *flags: object, program: tuple[str, ...] = ("-m", "tune_sketch.search")) -> subprocess.Popen:
        """Begin a new search, or resume it when its run directory is there."""
        if self.run.path.exists():
            command = [*program, "--resume", self.run.path, *flags]
        else:
            command = [*program, *SMALL.split(), "--name", "run", "--runs-dir", self.run.path.parent, *flags]
        return self.start_command(*command)

    def start_command(self, *arguments: object) -> subprocess.Popen:
        """Begin any command of the program in a session of its own, as a terminal would."""
        path = self.folder / f"output-{len(self.processes)}.txt"
        with open(path, "w") as output:
            process = subprocess.Popen(
                [sys.executable, *map(str, arguments)],
                env=self.environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
                cwd=self.folder,
            )
        process.output_path = path  # type: ignore[attr-defined]
        self.processes.append(process)
        return process

    def finish(self, process: subprocess.Popen, expected_code: int = 0, timeout: float = 200) -> str:
        """Everything the process printed, once it has ended with the expected exit code."""
        code = process.wait(timeout)
        text = output_of(process)
        assert code == expected_code, f"exit code {code}:\n{text}"
        wait_until_gone(process)
        return text

    def wait_for_epochs(self, process: subprocess.Popen, num_epochs: int, timeout: float = 120) -> None:
        """Wait until the journal holds this number of epochs."""
        deadline = time.monotonic() + timeout
        while count_epochs(self.run) < num_epochs:
            assert process.poll() is None, f"ended early:\n{output_of(process)}"
            assert time.monotonic() < deadline, f"no epoch {num_epochs} in time:\n{output_of(process)}"
            time.sleep(0.05)

    def interrupt(self, process: subprocess.Popen, number: int = signal.SIGINT) -> None:
        """Interrupt as Ctrl-C in a terminal does: the signal goes to every process of the session."""
        os.killpg(process.pid, number)

    def close(self) -> None:
        """End whatever still runs."""
        for process in self.processes:
            if process.poll() is None:
                end_family(process)
                process.wait()
            for relative in family(process):
                kill_process(relative)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def output_of(process: subprocess.Popen) -> str:
    return process.output_path.read_text()  # type: ignore[attr-defined]


def copy_program(folder: Path) -> Path:
    """A copy of the program, linked as it is here, to be edited as a user would; for the front of PYTHONPATH."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, symlinks=True, ignore=IGNORED)
    return folder

"""Starts a searcher of another package in its own environment, and asks and tells it."""

import json
import os
import subprocess
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import IO, Any, NamedTuple, Self

REQUIREMENTS = Path(__file__).parent / "requirements"  # of each environment
TOOLS = Path(__file__).parent / "tools"
ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
LINES_KEPT = 5  # of what a process printed, for the message when it fails


class Asked(NamedTuple):
    """A job of a searcher: parameters, and to how many epochs they are to be trained from the start."""

    job: int
    params: dict[str, Any]
    epochs: int


class SearcherProcess:
    """One searcher, as tools/protocol.py describes it; `seconds`: of processor time since it began."""

    def __init__(self, python: Path, script: str, arguments: Sequence[str] = ()) -> None:
        self.script, self.seconds, self.every_epoch = script, 0.0, False
        self.printed: deque[str] = deque(maxlen=LINES_KEPT)
        self.process = subprocess.Popen(
            [str(python), str(TOOLS / f"{script}.py"), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | ONE_THREAD,
            text=True,
        )
        assert self.process.stderr is not None
        self.listener = Thread(target=self.listen, args=(self.process.stderr,), daemon=True)
        self.listener.start()

    def listen(self, lines: IO[str]) -> None:
        """Keep the last lines of what it prints: a full pipe would stop it."""
        with lines:
            self.printed.extend(lines)

    def request(self, **what: Any) -> dict[str, Any]:
        """One answer. Raises ValueError, with the end of what it printed, where the process has ended."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps(what) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self.close()
            said = " | ".join(text.strip() for text in self.printed)
            raise ValueError(f"{self.script}: ended with exit code {self.process.returncode}: {said}")
        answer: dict[str, Any] = json.loads(line)
        self.seconds += answer["seconds"]
        return answer

    def begin(self, **task: Any) -> None:
        """A search of its own, for which nothing earlier is known."""
        self.every_epoch = self.request(what="begin", **task)["every_epoch"]
        self.seconds = 0.0  # to import a package is no part of a search

    def ask(self) -> Asked:
        answer = self.request(what="ask")
        return Asked(answer["job"], answer["params"], answer["epochs"])

    def report(self, job: int, epoch: int, value: float) -> bool:
        """Whether the training may go on."""
        return bool(self.request(what="report", job=job, epoch=epoch, value=value)["go_on"])

    def close(self) -> None:
        """Its input ends, and so does it."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with suppress(BrokenPipeError):  # it has ended already
            self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
        self.listener.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def read_versions() -> dict[str, str]:
    """The version of each package, as its file pins it."""
    pinned = (file.read_text().splitlines() for file in sorted(REQUIREMENTS.glob("*.txt")))
    lines = dict(line.split("==") for file in pinned for line in file)
    return {name: lines[name] for name in ("neural-pipeline-search", "smac", "syne-tune", "DEHB")}

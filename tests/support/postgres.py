"""Starts a PostgreSQL server of its own for a test, with a password, and ends it."""

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

USER, PASSWORD, DATABASE = "searcher", "very-secret", "studies"


def find_programs() -> Path | None:
    """The folder of the server's programs (Debian keeps them off PATH), newest version first; None: not installed."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name), reverse=True)
    on_path = shutil.which("initdb")
    if on_path:
        folders.append(Path(on_path).resolve().parent)
    needed = ("initdb", "postgres", "pg_isready", "createdb")
    return next((folder for folder in folders if all((folder / name).exists() for name in needed)), None)


@dataclass
class Postgres:
    """One server on a loopback port, with its files in a folder."""

    programs: Path
    data: Path
    port: int
    process: subprocess.Popen | None = None

    def url(self, password: str = PASSWORD) -> str:
        return f"postgresql://{USER}:{password}@127.0.0.1:{self.port}/{DATABASE}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = [self.programs / "postgres", "-D", self.data, "-p", str(self.port), "-k", self.data]
        with open(self.data.parent / "postgres.txt", "a") as log:
            self.process = subprocess.Popen(
                as_unprivileged([*command, "-h", "127.0.0.1", "-c", "fsync=off"]), stdout=log, stderr=log
            )
        deadline = time.monotonic() + 60
        ready = [self.programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        while subprocess.run(ready, check=False).returncode != 0:
            assert self.process.poll() is None, (self.data.parent / "postgres.txt").read_text()
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.1)

    def stop(self) -> None:
        """End it as an administrator does who waits for nobody: connections are cut."""
        if self.process is not None:
            self.process.send_signal(2)  # SIGINT: fast shutdown
            self.process.wait(60)
            self.process = None


@contextlib.contextmanager
def start_postgres(folder: Path) -> Iterator[Postgres]:
    """A running server with an empty database; the test is skipped where PostgreSQL is not installed."""
    programs = find_programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed")
    with contextlib.ExitStack() as stack:
        home = Path("/tmp") / f"postgres-{os.getpid()}-{folder.name}"  # the folder of a test is closed to other users
        home.mkdir(mode=0o700)
        stack.callback(shutil.rmtree, home)
        if os.getuid() == 0:
            shutil.chown(home, *unprivileged_names())
        server = Postgres(programs, home / "data", free_port())
        (home / "password").write_text(PASSWORD)
        (home / "password").chmod(0o644)
        command = [programs / "initdb", "-D", server.data, "-U", USER, "-A", "scram-sha-256", "--no-sync"]
        subprocess.run(
            as_unprivileged([*command, "--pwfile", home / "password"]), check=True, stdout=subprocess.DEVNULL, cwd=home
        )
        stack.callback(server.stop)
        server.start()
        subprocess.run(
            [programs / "createdb", "-h", "127.0.0.1", "-p", str(server.port), "-U", USER, DATABASE],
            env=os.environ | {"PGPASSWORD": PASSWORD},
            check=True,
        )
        yield server


def as_unprivileged(command: list) -> list[str]:
    """The command as a user who is not root, whom PostgreSQL refuses."""
    words = [str(word) for word in command]
    if os.getuid() != 0:
        return words
    user, group = unprivileged_names()
    return ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups", *words]


def unprivileged_names() -> tuple[str, str]:
    """(user, group): the one that the package made, or nobody's."""
    try:
        pwd.getpwnam("postgres")
        return "postgres", "postgres"
    except KeyError:
        return "nobody", "nogroup"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]

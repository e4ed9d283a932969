"""Notices that Ray itself has died, and comes back from a call that would wait for it for ever."""

import queue
import socket
import threading
import time
from collections.abc import Callable
from typing import Protocol, TypeVar

import psutil

from tune_sketch.backend.base import BackendLostError

T = TypeVar("T")
LOOK_SECONDS = 1.0  # between two looks
STOPPED_SECONDS = 10.0  # a process that is stopped for so long counts as dead: Ctrl-Z stops all of them, and us
UNREACHABLE_SECONDS = 15.0  # a head that does not answer for so long is lost
CONNECT_SECONDS = 3.0
LAST_WORDS_SECONDS = 3.0  # an error may be heard of sooner than the death that is its reason
# Without these processes Ray does nothing more. The two agents are the raylet's children, which dies with them.
OF_RAY = {
    "gcs_server": "gcs_server",
    "raylet": "raylet",
    "ray::DashboardAgent": "dashboard agent",
    "ray::RuntimeEnvAgent": "runtime environment agent",
}


class Watch(Protocol):
    """Looks at a Ray."""

    def find_loss(self) -> str:
        """The dead parts of Ray, in words; empty while it lives."""


class OwnProcesses:
    """The processes of a Ray that this process started: dead, or stopped for long."""

    def __init__(self, program: str) -> None:
        """program: the folder of the installed Ray, by which its processes are known."""
        self.program = program
        self.seen: dict[psutil.Process, str] = {}  # every process that Ray had
        self.stopped_since: dict[psutil.Process, float] = {}
        self.look()

    def look(self) -> None:
        """Know Ray's processes, also when their parents are dead a moment later."""
        for child in psutil.Process().children():
            if any(part.startswith(self.program) for part in command_of(child)[:4]):
                for process in (child, *children_of(child)):
                    if name := name_of(process):  # as long as it lives
                        self.seen[process] = name
        self.seen = {process: name for process, name in self.seen.items() if name in OF_RAY or process.is_running()}

    def find_loss(self) -> str:
        self.look()
        for process, name in list(self.seen.items()):
            if name in OF_RAY and (what := self.describe(process)):
                return f"Ray's {OF_RAY[name]} (process {process.pid}) {what}"
        return ""

    def describe(self, process: psutil.Process) -> str:
        """The fault of a process, in words; empty if it has none."""
        try:
            status = process.status() if process.is_running() else psutil.STATUS_DEAD
        except psutil.Error:
            status = psutil.STATUS_DEAD
        if status in (psutil.STATUS_DEAD, psutil.STATUS_ZOMBIE):
            return "has died"
        if status != psutil.STATUS_STOPPED:
            self.stopped_since.pop(process, None)
            return ""
        since = self.stopped_since.setdefault(process, time.monotonic())
        return "was stopped" if time.monotonic() - since > STOPPED_SECONDS else ""

    def listening(self) -> set[str]:
        """The addresses at which they, and this process, take connections; those that cannot be asked are left out."""
        addresses = set()
        for process in (psutil.Process(), *self.seen):
            try:
                connections = process.net_connections("inet")
            except psutil.Error:
                continue
            addresses |= {c.laddr.ip for c in connections if c.status == psutil.CONN_LISTEN}
        return addresses

    def kill(self) -> None:
        """End them all, at once."""
        self.look()
        for process in self.seen:
            try:
                process.kill()  # psutil: never another one that has its number now
            except psutil.Error:
                continue
        psutil.wait_procs(list(self.seen), timeout=5)


def name_of(process: psutil.Process) -> str:
    """The name of a process: ray::NAME, or its program's name; empty when it is dead."""
    command = command_of(process)
    return command[0].split()[0].rpartition("/")[2] if command and command[0] else ""


def command_of(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:  # gone
        return []


def children_of(process: psutil.Process) -> list[psutil.Process]:
    try:
        return list(process.children(recursive=True))
    except psutil.Error:
        return []


class Head:
    """The head of a cluster, which is lost when it does not answer."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self.host, self.port = host.strip("[]"), int(port)
        self.answered_at = time.monotonic()

    def find_loss(self) -> str:
        try:
            socket.create_connection((self.host, self.port), timeout=CONNECT_SECONDS).close()
        except OSError as error:
            silent = time.monotonic() - self.answered_at
            if silent > UNREACHABLE_SECONDS:
                return (
                    f"the head of the cluster at {self.host}:{self.port} has not answered for {silent:.0f} s ({error})"
                )
        else:
            self.answered_at = time.monotonic()
        return ""


def watched(call: Callable[[], T], watch: Watch) -> T:
    """The result of a call, or its exception. Raises BackendLostError as soon as Ray has died, whatever it waits for.

    The call runs in a thread, which is left behind in that case: it may wait for ever.
    """
    answer: queue.SimpleQueue[tuple[bool, T | BaseException]] = queue.SimpleQueue()

    def work() -> None:
        try:
            answer.put((True, call()))
        except BaseException as error:
            answer.put((False, error))

    threading.Thread(target=work, name="tune_sketch-ray", daemon=True).start()
    while True:
        try:
            done, value = answer.get(timeout=LOOK_SECONDS)
        except queue.Empty:
            if reason := watch.find_loss():
                raise BackendLostError(reason) from None
            continue
        if done:
            return value  # type: ignore[return-value]
        assert isinstance(value, BaseException)
        if isinstance(value, ValueError):  # a user's, or how a dead Ray looks: no machine has any core
            if reason := watch.find_loss():
                raise BackendLostError(reason) from value
        elif not isinstance(value, BackendLostError):
            raise_loss(watch, value)
        raise value


def raise_loss(watch: Watch, error: BaseException) -> None:
    """Raise BackendLostError if Ray's death turns out to be the reason of an error."""
    deadline = time.monotonic() + LAST_WORDS_SECONDS
    while time.monotonic() < deadline:
        if reason := watch.find_loss():
            raise BackendLostError(reason) from error
        time.sleep(LOOK_SECONDS / 5)


class Gate:
    """A gate for calls that were left behind: it is open until Ray is lost."""

    def __init__(self, watch: Watch) -> None:
        self.watch, self.lock, self.is_closed = watch, threading.Lock(), False

    def through(self, call: Callable[[], T], *, look: bool = False) -> T:
        """Make a call, one at a time. look: first whether Ray lives. Raises BackendLostError when it does not."""
        with self.lock:
            if self.is_closed:
                raise BackendLostError("Ray was lost before")
            if look and (reason := self.watch.find_loss()):
                raise BackendLostError(reason)
            return call()

    def close(self) -> None:
        """Wait for the call in progress, and let no other through."""
        with self.lock:
            self.is_closed = True

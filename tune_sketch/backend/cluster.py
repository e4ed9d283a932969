"""Starts Ray on this machine, out of reach of all others, or joins a cluster of it, behind a token."""

import atexit
import contextlib
import ipaddress
import logging
import os
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tune_sketch.backend.base import BackendLostError
from tune_sketch.backend.private_folder import SHORT_FOLDER, PrivateFolder, make_private_folder
from tune_sketch.backend.watch import Head, OwnProcesses, Watch
from tune_sketch.data.workers import count_cores
from tune_sketch.trainables.importing import import_ahead

if TYPE_CHECKING:
    from ray.job_config import JobConfig

# What a search imports while Ray's processes start, for which nothing then has to wait.
OF_A_SEARCH = tuple(f"tune_sketch.{name}" for name in ("backend.ray_tune", "callbacks.tensorboard"))
CONNECT_SECONDS = 10.0
QUIET: dict[str, Any] = {"log_to_driver": False, "logging_level": "error", "configure_logging": True}
ENVIRONMENT = {
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # endings carry no accuracy: none is made up for a trial that diverged
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # our own files are cleaner, see storage/run_directory.py
    "RAY_AIR_NEW_OUTPUT": "0",  # its boxes, which verbose=0 does not silence
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # ours keeps checkpoints, see StopSignal
    "TUNE_MAX_PENDING_TRIALS_PG": "10000",  # how many may run or wait is decided by has_room
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}
DEFAULTS = {
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # Ray would start a process per core beforehand; Tune's trials, with an environment of their own, cannot use these.
    "RAY_prestart_worker_first_driver": "false",
    # A machine that is too busy to answer is not dead. Whether its Ray's processes live is looked at by watch.py.
    "RAY_health_check_failure_threshold": "100",
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is told to anybody outside
}


class OwnPath(list[str]):
    """Where worker processes look for modules first: our own folder alone.

    Ray adds the driver's working folder, in which a user's own random.py or utils.py may lie.
    """

    def extend(self, paths: Iterable[str]) -> None:
        pass


class OwnRay:
    """The Ray on this machine that this process started: its processes and its folder."""

    started: "OwnRay | None" = None

    def __init__(self, folder: PrivateFolder) -> None:
        self.folder, self.processes = folder, OwnProcesses(program_of_ray())

    def end(self) -> None:
        """End it, at once, and remove what it has on the disk."""
        self.processes.kill()
        self.folder.remove()
        OwnRay.started = None


def start_ray(address: str | None) -> None:
    """Join the cluster at `address`, or start Ray on this machine alone, behind a token that only we know.

    Raises ValueError when no cluster at the address takes us, BackendLostError when Ray does not come up.
    """
    if is_started():
        return  # by the search of an earlier model
    os.environ.update(ENVIRONMENT)
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    os.environ["RAY_AUTH_MODE"] = "token"
    if address is None:
        os.environ["RAY_AUTH_TOKEN"] = own_token()
    listen_on_loopback(address is None)
    from ray._raylet import Config  # type: ignore[attr-defined]
    from ray.job_config import JobConfig

    Config.initialize("")  # read the environment again: ray may have been imported before the token was made
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # what goes wrong is said by our own recorder
    ahead = threading.Thread(target=import_ahead, args=(OF_A_SEARCH,), daemon=True)  # while Ray's processes start
    ahead.start()
    job = JobConfig(_py_driver_sys_path=OwnPath([str(Path(__file__).parents[2])]))
    if address is None:
        start_own(job)
    else:
        join_cluster(address, job)
    ahead.join()


def listen_on_loopback(on: bool) -> None:
    """Let Ray's ports be open to this machine only, which is what Ray does by itself on macOS, or as it would be.

    The token alone is not enough: a call without one can end Ray's processes (a stream of its RaySyncer that lacks the
    id of a node), and the health of its servers is told to everybody.
    """
    name = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"  # whether Ray may be a cluster; asked for on Linux too
    if on:
        os.environ[name] = "0"
    else:
        os.environ.pop(name, None)
    from ray._private import ray_constants

    ray_constants.ENABLE_RAY_CLUSTER = not on and sys.platform == "linux"  # ray may have been imported before


def start_own(job: "JobConfig") -> None:
    """Start Ray on this machine alone. Raises BackendLostError when it does not come up."""
    import ray

    folder = make_private_folder()
    # "local": not where RAY_ADDRESS points. The cores, because Ray takes a quota of half a core for none.
    options = QUIET | {"num_cpus": count_cores(), "_temp_dir": str(folder.for_ray)}
    with shielded():
        try:
            ray.init(address="local", include_dashboard=False, job_config=job, **options)
        except Exception as error:  # of many kinds, on a machine that is too busy or has not enough memory
            OwnRay.started = OwnRay(folder)
            atexit.register(OwnRay.started.end)
            raise BackendLostError(f"Ray did not come up: {str(error).strip() or type(error).__name__}") from error
    OwnRay.started = OwnRay(folder)
    atexit.register(stop_ray)


@contextlib.contextmanager
def shielded() -> Iterator[None]:
    """Let processes that are started meanwhile not hear SIGTERM, and keep our own answer to it.

    `timeout`, systemd and batch systems send it to every process of a job. Ray's would end before trainings could keep
    a checkpoint. To SIGINT they are deaf by themselves.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        yield
    finally:
        if in_main_thread:
            signal.signal(signal.SIGTERM, before)  # Ray has put its own in place
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def program_of_ray() -> str:
    """The folder of the installed Ray."""
    return str(Path(sys.modules["ray"].__file__ or "").parent) + os.sep


def watch_ray() -> Watch:
    """A watch over the Ray of this process."""
    if OwnRay.started is not None:
        return OwnRay.started.processes
    processes = OwnProcesses(program_of_ray())
    if processes.seen:  # started by the program that called us
        return processes
    return Head(sys.modules["ray"].get_runtime_context().gcs_address)


def describe_reach() -> str:
    """From where the ports of a Ray on this machine can be reached, as it was found by looking."""
    if OwnRay.started is None:
        return ""
    outside = sorted(address for address in OwnRay.started.processes.listening() if not is_loopback(address))
    if outside:
        return f"from other machines too, at {', '.join(outside)}: only Ray's token stands before its ports"
    return "from this machine only"


def is_loopback(address: str) -> bool:
    ip = ipaddress.ip_address(address)
    return (getattr(ip, "ipv4_mapped", None) or ip).is_loopback


@lru_cache(maxsize=1)
def own_token() -> str:
    """The token of Rays that this process starts: one, since Ray reads it once."""
    return secrets.token_hex(32)


def is_started() -> bool:
    """Whether this process has Ray already."""
    return "ray" in sys.modules and bool(sys.modules["ray"].is_initialized())


def leave_lost_ray() -> None:
    """Stay alive beside a Ray that is dead: what is left of it ends with this process, which its end would end too."""
    atexit.unregister(stop_ray)
    if OwnRay.started is not None:
        atexit.register(OwnRay.started.end)


def stop_ray(*, lost: bool = False) -> None:
    """Leave Ray, and end it where this process started it. lost: it is dead, and may never answer."""
    own = OwnRay.started
    if is_started() and not lost:
        if own is not None:
            for info in (info for infos in own_node().all_processes.values() for info in infos):
                info.process.terminate = info.process.kill  # they are shielded: Ray would wait a second for each
        sys.modules["ray"].shutdown()
    if own is not None:
        own.end()
        atexit.unregister(stop_ray)


def own_node() -> Any:
    """Ray's entry for the processes that it started here."""
    return sys.modules["ray"]._private.worker._global_node


def join_cluster(address: str, job: "JobConfig") -> None:
    """Connect to a Ray that runs. Raises ValueError when none answers there, or when it does not take us."""
    import ray
    from ray.exceptions import AuthenticationError

    try:
        ray.init(address=address, job_config=job, **QUIET)
    except ConnectionError as error:
        raise ValueError(f"--address {address}: no Ray cluster answers there ({error})") from None
    except AuthenticationError:
        raise ValueError(
            f"--address {address}: that cluster asks for its token: set RAY_AUTH_MODE=token and put the token into "
            "~/.ray/auth_token"
        ) from None


def check_address(address: str) -> None:
    """Raises ValueError when nothing answers at the address of a cluster, before anything is made for a search.

    Ray itself would first ask for the token, and say that it is missing where no cluster is.
    """
    found = address
    if address == "auto":
        known = Path(os.environ.get("RAY_TMPDIR") or SHORT_FOLDER) / "ray" / "ray_current_cluster"
        found = os.environ.get("RAY_ADDRESS") or (known.read_text().strip() if known.is_file() else "")
        if not found:
            raise ValueError("--address auto: no Ray cluster runs on this machine; start one, or leave --address out")
    host, _, port = found.removeprefix("ray://").rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port[:6]) < 65536:
        raise ValueError(f"--address must be auto or HOST:PORT of a Ray cluster, got {address!r}")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()
    except (OSError, UnicodeError) as error:
        raise ValueError(f"--address {address}: no Ray cluster answers there ({error})") from None


def list_machines() -> list[dict[str, float]]:
    """Resources of each machine that Ray has now: {"CPU": 48.0, "GPU": 4.0, ...}."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]

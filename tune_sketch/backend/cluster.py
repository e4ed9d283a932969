"""Starts Ray on this machine, or joins a cluster of it, behind a token."""

import logging
import os
import secrets
import socket
import sys
import threading
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tune_sketch.data.workers import count_cores
from tune_sketch.trainables.importing import import_ahead

if TYPE_CHECKING:
    from ray.job_config import JobConfig

# What a search imports while Ray's processes start, for which nothing then has to wait.
OF_A_SEARCH = tuple(f"tune_sketch.{name}" for name in ("backend.ray_tune", "callbacks.tensorboard"))
SHORT_FOLDER = Path("/tmp")  # Ray's own default
# A socket's name has at most 103 bytes on macOS, of which "/ray/session_<time>_<process>/sockets/plasma_store" is 68.
MOST_FOLDER_BYTES = 35
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
}


class OwnPath(list[str]):
    """Where worker processes look for modules first: our own folder alone.

    Ray adds the driver's working folder, in which a user's own random.py or utils.py may lie.
    """

    def extend(self, paths: Iterable[str]) -> None:
        pass


def start_ray(address: str | None) -> None:
    """Join the cluster at `address`, or start Ray on this machine alone, behind a token that only we know.

    On one machine too, since Ray listens on all of its addresses, and without a token its ports run any code that a
    stranger sends them (CVE-2023-48022). Raises ValueError when no cluster at the address takes us.
    """
    if is_started():
        return  # by the search of an earlier model
    os.environ.update(ENVIRONMENT)
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    os.environ["RAY_AUTH_MODE"] = "token"
    if address is None:
        os.environ["RAY_AUTH_TOKEN"] = own_token()
    import ray
    from ray._raylet import Config  # type: ignore[attr-defined]
    from ray.job_config import JobConfig

    Config.initialize("")  # read the environment again: ray may have been imported before the token was made
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # what goes wrong is said by our own recorder
    ahead = threading.Thread(target=import_ahead, args=(OF_A_SEARCH,), daemon=True)  # while Ray's processes start
    ahead.start()
    job = JobConfig(_py_driver_sys_path=OwnPath([str(Path(__file__).parents[2])]))
    if address is None:
        # "local": not where RAY_ADDRESS points. The cores, because Ray takes a quota of half a core for none.
        options = QUIET | {"num_cpus": count_cores(), "_temp_dir": str(choose_folder())}
        ray.init(address="local", include_dashboard=False, job_config=job, **options)
    else:
        join_cluster(address, job)
    ahead.join()


def choose_folder() -> Path:
    """The folder of a Ray on this machine: where it would be, or a shorter one where its sockets would not open.

    Raises ValueError when there is none to write in.
    """
    wanted = Path(os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or SHORT_FOLDER).absolute()
    is_short = len(os.fsencode(wanted)) <= MOST_FOLDER_BYTES
    folder = (wanted if is_short else SHORT_FOLDER) / "ray"
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(existing, os.W_OK | os.X_OK):
        why = "" if is_short else f", since {wanted} is too long for the sockets of Ray"
        raise ValueError(
            f"Ray needs a folder for its files, and {existing} cannot be written{why}: set RAY_TMPDIR to a folder "
            f"that can, of at most {MOST_FOLDER_BYTES} characters"
        )
    return folder


@lru_cache(maxsize=1)
def own_token() -> str:
    """The token of Rays that this process starts: one, since Ray reads it once."""
    return secrets.token_hex(32)


def is_started() -> bool:
    """Whether this process has Ray already."""
    return "ray" in sys.modules and bool(sys.modules["ray"].is_initialized())


def stop_ray() -> None:
    """Leave Ray, and end it where this process started it."""
    if is_started():
        sys.modules["ray"].shutdown()


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
    """What each machine that Ray has now offers: {"CPU": 48.0, "GPU": 4.0, ...}."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]

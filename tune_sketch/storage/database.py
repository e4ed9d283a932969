"""Opens the database of an Optuna study, SQLite or PostgreSQL, and says in one line what is wrong with it."""

import os
import urllib.parse
from pathlib import Path

import optuna
import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage

MOUNTS = Path("/proc/self/mounts")  # Linux: "what where type options" of every mounted file system
NETWORK_TYPES = ("nfs", "nfs4", "cifs", "smb3", "9p", "virtiofs", "lustre", "ceph", "gpfs", "beegfs", "afs")


class JournalError(RuntimeError):
    """The study's database could not be read or written."""


def open_storage(url: str, *, read_only: bool = False) -> RDBStorage:
    """Optuna's database storage; SQLite in write-ahead mode, so that readers never wait for the writer."""
    try:
        sqlalchemy_url = sqlalchemy.make_url(url)
    except sqlalchemy.exc.ArgumentError:
        raise ValueError(f"--storage must be a database URL such as postgresql://user@host/name, got {url!r}") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        if sqlalchemy_url.get_backend_name() == "sqlite":
            return open_sqlite(url, sqlalchemy_url.database or "", read_only=read_only)
        if sqlalchemy_url.drivername == "postgresql":  # the driver that is installed with the [postgres] extra
            sqlalchemy_url = sqlalchemy_url.set(drivername="postgresql+psycopg")
        return RDBStorage(sqlalchemy_url.render_as_string(hide_password=False), engine_kwargs={"pool_pre_ping": True})
    except ImportError as error:
        raise ValueError(
            f"--storage {mask_password(url)}: its driver is not installed ({error}); "
            "for PostgreSQL: pip install 'tune_sketch[postgres]'"
        ) from None
    except (StorageInternalError, sqlalchemy.exc.SQLAlchemyError) as error:
        raise JournalError(f"the database {mask_password(url)} cannot be opened: {reason_of(error)}") from error


def open_sqlite(url: str, path: str, *, read_only: bool) -> RDBStorage:
    """A SQLite file; to read only, also where nothing may be written, and while another process writes.

    Readers of a write-ahead database share memory with its writer, so they must be on the same machine. On a network
    file system it is kept in SQLite's older mode, which readers on other machines understand too: a reader may then
    wait for a commit and a commit for a reader.
    """
    file = Path(path).absolute()
    if not read_only:
        mode = "DELETE" if is_on_network(file) else "WAL"
        patience = {"timeout": 60}  # seconds
        engine = sqlalchemy.create_engine(url, connect_args=patience)
        with engine.connect() as connection:  # alone: a second connection would keep the mode from changing
            connection.execute(sqlalchemy.text(f"PRAGMA journal_mode={mode}"))
        engine.dispose()
        return RDBStorage(url, engine_kwargs={"connect_args": patience})
    # SQLite reads a write-ahead database with the -shm file beside it, and makes that file where it is missing.
    # Where it may not, and there is none, nobody writes either.
    readable = os.access(file.parent, os.W_OK) or Path(f"{file}-shm").exists() or is_on_network(file)
    mode = "mode=ro" if readable else "immutable=1"
    readable_url = f"sqlite:///file:{urllib.parse.quote(str(file))}?{mode}&uri=true"
    return RDBStorage(readable_url, skip_compatibility_check=True, skip_table_creation=True)


def is_on_network(file: Path) -> bool:
    """Whether a file lies on a network file system, as far as Linux tells; False on other systems."""
    try:
        mounts = [line.split() for line in MOUNTS.read_text().splitlines()]
    except OSError:
        return False
    file = file.resolve()
    places = [(Path(where.replace("\\040", " ")), type_) for _, where, type_, *_ in mounts]
    around = [(len(place.parts), type_) for place, type_ in places if file.is_relative_to(place)]
    # Of mounts at one place the last hides the others.
    type_ = max(reversed(around), key=lambda found: found[0], default=(0, ""))[1]
    return type_ in NETWORK_TYPES or type_.startswith("fuse.")


def reason_of(error: BaseException) -> str:
    """The database's own words, in one line."""
    while isinstance(error.__cause__, Exception):
        error = error.__cause__
    return " ".join(str(error).split())


def mask_password(url: str) -> str:
    """The URL as it may be printed and stored."""
    parsed = sqlalchemy.make_url(url)
    secrets = {name: "***" for name in parsed.query if "password" in name.lower()}
    return parsed.update_query_dict(secrets).render_as_string(hide_password=True)


def hide_password(argument: str) -> str:
    """A command's argument as it may be stored: `--storage=URL` and URL without the password."""
    flag, equals, url = argument.partition("=") if argument.startswith("--") else ("", "", argument)
    if "://" not in url:
        return argument
    try:
        return flag + equals + mask_password(url)
    except sqlalchemy.exc.ArgumentError:
        return argument

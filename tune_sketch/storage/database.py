"""Opens the Optuna storage of a search, a log file or a database server, and says in one line what is wrong with it."""

import contextlib
import os
import urllib.parse
from pathlib import Path

import optuna
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, RDBStorage

from tune_sketch.data.bounds import reason_text
from tune_sketch.storage.history import JournalError
from tune_sketch.storage.journal_file import LogStorage

# SQLAlchemy takes a fifth of a second to import, which only a search with a database need wait for.


def open_log(path: Path, *, read_only: bool = False) -> BaseStorage:
    """The storage in a run directory's own log file. Works on network file systems: the file is only appended to.

    Raises OSError, JournalError.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        return LogStorage(path, read_only=read_only)
    except OSError:
        raise
    except Exception as error:  # Optuna repeats every event of the log, and raises almost anything on damaged ones
        raise JournalError(f"{path} is damaged: {reason_text(error)}") from error


def check_server(url: str) -> None:
    """Raises ValueError for a database that is a file: a run directory has a record of its own, which does more."""
    if url.startswith("sqlite"):
        raise ValueError(
            f"--storage is for a database server such as postgresql://user@host/name, got {url!r}. Leave it out to "
            "keep the record in a file: journal.log in the run directory"
        )


def open_database(url: str) -> BaseStorage:
    """The storage in a database. Raises ValueError for what is no database URL, JournalError when it does not open."""
    import sqlalchemy

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        parsed = sqlalchemy.make_url(url)
        if parsed.drivername == "postgresql":  # the driver that is installed with the [postgres] extra
            parsed = parsed.set(drivername="postgresql+psycopg")
        return RDBStorage(parsed.render_as_string(hide_password=False), engine_kwargs={"pool_pre_ping": True})
    except (sqlalchemy.exc.ArgumentError, sqlalchemy.exc.NoSuchModuleError):
        raise ValueError(f"--storage must be a database URL such as postgresql://user@host/name, got {url!r}") from None
    except ImportError as error:
        raise ValueError(
            f"--storage {mask_password(url)}: its driver is not installed ({error}); "
            "for PostgreSQL: pip install 'tune_sketch[postgres]'"
        ) from None
    except (StorageInternalError, sqlalchemy.exc.SQLAlchemyError) as error:
        raise JournalError(f"the database {mask_password(url)} cannot be opened: {reason_of(error)}") from error


def open_study_db(path: Path) -> BaseStorage:
    """The SQLite file of a run that version 0.1 made, to read only, also where nothing may be written."""
    # SQLite reads a write-ahead database with the -shm file beside it, and makes that file where it is missing.
    # Where it may not, and there is none, nobody writes either.
    readable = os.access(path.parent, os.W_OK) or Path(f"{path}-shm").exists()
    import sqlalchemy

    mode = {"mode": "ro"} if readable else {"immutable": "1"}
    # SQLite unquotes the path; SQLAlchemy, from 2.1 on, once more before it, which its own way to write a URL respects.
    database = f"file:{urllib.parse.quote(str(path.absolute()))}"
    url = sqlalchemy.URL.create("sqlite", database=database, query=mode | {"uri": "true"}).render_as_string()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return RDBStorage(url, skip_compatibility_check=True, skip_table_creation=True)


def close_storage(storage: BaseStorage) -> None:
    """Let go of a database's connections."""
    storage.remove_session()
    if isinstance(storage, RDBStorage):
        storage.engine.dispose()


def passing_errors(storage: BaseStorage) -> tuple[type[Exception], ...]:
    """The errors of a storage that may work again later: a full disk, a database that restarts."""
    if isinstance(storage, RDBStorage):
        import sqlalchemy

        return StorageInternalError, sqlalchemy.exc.DBAPIError, OSError
    return StorageInternalError, OSError


def together(storage: BaseStorage) -> contextlib.AbstractContextManager[None]:
    """Within it events are written to the disk at once, where the storage can."""
    return storage.together() if isinstance(storage, LogStorage) else contextlib.nullcontext()


def reason_of(error: BaseException) -> str:
    """The storage's own words, in one line."""
    while isinstance(error.__cause__, Exception):
        error = error.__cause__
    return " ".join(str(error).split())


def mask_password(url: str) -> str:
    """The URL as it may be printed and stored."""
    import sqlalchemy

    parsed = sqlalchemy.make_url(url)
    secrets = {name: "***" for name in parsed.query if "password" in name.lower()}
    return parsed.update_query_dict(secrets).render_as_string(hide_password=True)


def hide_password(argument: str) -> str:
    """A command's argument as it may be stored: `--storage=URL` and URL without the password."""
    flag, equals, url = argument.partition("=") if argument.startswith("--") else ("", "", argument)
    if "://" in url:
        import sqlalchemy

        with contextlib.suppress(sqlalchemy.exc.ArgumentError):
            return flag + equals + mask_password(url)
    return argument

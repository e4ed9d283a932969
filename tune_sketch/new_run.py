"""Makes run directories, each whole or not at all, after trying what their results will be written with."""

import datetime
import errno
import itertools
import os
import secrets
import tempfile
from collections.abc import Iterable
from pathlib import Path

from tune_sketch.commands import quoted
from tune_sketch.config.plan import Inputs, describe_data
from tune_sketch.config.settings import Settings
from tune_sketch.data import SketchData
from tune_sketch.data.figure_text import check_drawable
from tune_sketch.data.names import written_name
from tune_sketch.data.splits import read_splits, write_splits
from tune_sketch.samplers.warm_start import read_earlier
from tune_sketch.storage.database import check_server, close_storage, mask_password, open_database, open_log
from tune_sketch.storage.facts import Facts, read_facts, write_facts
from tune_sketch.storage.files import read_csv, write_csv
from tune_sketch.storage.journal import Journal
from tune_sketch.storage.run_directory import RunDirectory

DEFAULT_FOLDER = Path("runs")


class NameTakenError(ValueError):
    """There is a run directory, or something else, of that name."""


def check_destination(folder: Path, names: Iterable[str], storage: str | None) -> None:
    """Raises ValueError where no run directory could be made, before anything expensive is done for it."""
    for name in names:
        check_free(folder / name)
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise ValueError(f"--runs-dir {folder}: {existing} is no folder that can be written; choose another one")
    if storage is not None:
        check_server(storage)
        close_storage(open_database(storage))


def check_free(path: Path) -> None:
    """Raises NameTakenError where something is."""
    if os.path.lexists(path):
        raise NameTakenError(
            f"{path} exists already: choose another --name, or go on with it by --resume {quoted(path)}"
        )


def make_run(
    folder: Path, name: str | None, settings: Settings, inputs: Inputs, storage: str | None = None
) -> RunDirectory:
    """A new run directory in a folder. Without a name it is that of model, data and time, and always a free one.

    Raises ValueError when the name is taken, or when the names of the data cannot be written in the results.
    """
    if name is not None:
        return create_run(folder / name, settings, inputs, storage)
    first = default_name(settings, len(inputs.networks))
    for number in itertools.count(1):
        try:
            return create_run(folder / (first if number == 1 else f"{first}-{number}"), settings, inputs, storage)
        except NameTakenError:  # by a search that began in the same second
            pass
    raise AssertionError


def default_name(settings: Settings, num_networks: int = 0) -> str:
    """A run directory's name of model, or of several their number, data and time."""
    letters = written_name(Path(settings.data).name)
    data = "".join(c if c.isalnum() or c in "._" else "-" for c in letters)[:40].strip("-.") or "data"
    model = f"{num_networks}-networks" if num_networks else model_name(settings.model)
    return f"{model}-{data}-{datetime.datetime.now():%Y%m%d-%H%M%S}"


def model_name(model: str) -> str:
    """A model's name as part of a folder's name: a colon is a separator to some programs, TensorBoard's among them."""
    return model.replace(":", "-")


def create_run(path: Path, settings: Settings, inputs: Inputs, storage: str | None) -> RunDirectory:
    """Make a complete run directory or none: it is built beside its place and renamed.

    Raises ValueError when the name is taken.
    """
    check_free(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".new-") as folder:
        new = RunDirectory(Path(folder) / path.name)
        new.path.mkdir()
        write_splits(new.splits_csv, inputs.data, inputs.splits)
        unique = f"{path.name}-{datetime.datetime.now():%Y%m%d%H%M%S}-{secrets.token_hex(3)}"
        facts = Facts(
            study_name=path.name if storage is None else unique,
            storage=None if storage is None else mask_password(storage),
            settings=settings,
            data=describe_data(settings, inputs),
            weights=inputs.weights,
            warm_start=read_earlier(settings.warm_start),
            networks=inputs.networks,
        )
        write_facts(new, facts)
        rehearse(new, facts, inputs.data)
        record = open_log(new.journal_log) if storage is None else open_database(storage)
        Journal(record, facts.study_name, create=True).close()
        try:
            os.rename(new.path, path)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                check_free(path)  # taken by another search in the meantime
            raise
    return RunDirectory(path)


def rehearse(run: RunDirectory, facts: Facts, data: SketchData) -> None:
    """Write and read the names as the results will, before hours are spent on them. Raises ValueError."""
    if read_facts(run) != facts:
        raise ValueError(f"{run.search_json.name} cannot hold these settings: they are read back otherwise")
    read_splits(run.splits_csv, data)  # compares every name
    tried = run.path / "rehearsal.csv"
    write_csv(tried, ["name"], ({"name": name} for name in data.class_names))
    if [row["name"] for row in read_csv(tried)] != list(data.class_names):
        raise ValueError("the names of the classes cannot be written as CSV: they are read back otherwise")
    tried.unlink()
    if not all(name.isascii() and name.replace("_", "").replace("-", "").isalnum() for name in data.class_names):
        check_drawable(data.class_names)  # a second for matplotlib, which plain names need not cost

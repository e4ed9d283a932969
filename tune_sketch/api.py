"""The Python interface: search, and open a run's results as tables and as a classifier."""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from tune_sketch.backend.base import BackendLostError
from tune_sketch.backend.cluster import is_started, leave_lost_ray, stop_ray
from tune_sketch.backend.ray_backend import RayBackend
from tune_sketch.commands import command_text
from tune_sketch.config.checks import check_run_name
from tune_sketch.config.plan import prepare_inputs
from tune_sketch.config.settings import Settings, resolve_paths
from tune_sketch.config.several import check_networks
from tune_sketch.data.paths import read_path
from tune_sketch.data.screen import print_error
from tune_sketch.inference.model import Classifier, load_classifier
from tune_sketch.new_run import check_destination, make_run
from tune_sketch.retraining.finalists import find_finalists
from tune_sketch.retraining.results import FINALIST_COLUMNS, finalist_row
from tune_sketch.run import run_search
from tune_sketch.storage.facts import read_facts
from tune_sketch.storage.history import History
from tune_sketch.storage.reading import read_history
from tune_sketch.storage.run_directory import RunDirectory
from tune_sketch.storage.tables import EPOCH_COLUMNS, TRIAL_COLUMNS, epoch_row, trial_row

if TYPE_CHECKING:  # takes half a second to import, which a search need not wait for
    import pandas as pd


@dataclass(frozen=True)
class Run:
    """The results of a search, read from its run directory when they are asked for."""

    path: Path
    storage: str | None = None  # the database's URL, where it needs a password

    @property
    def settings(self) -> Settings:
        return read_facts(RunDirectory(self.path)).settings

    def read_history(self) -> History:
        """Every trial and retraining, as it is recorded now."""
        return read_history(RunDirectory(self.path), self.storage)

    @property
    def trials(self) -> "pd.DataFrame":
        """One row for each trial, with the columns of trials.csv."""
        import pandas as pd

        trials = self.read_history().trials
        names = sorted({f"config/{name}" for trial in trials for name in trial.config})
        return pd.DataFrame([trial_row(trial) for trial in trials], columns=[*TRIAL_COLUMNS, *names])

    @property
    def epochs(self) -> "pd.DataFrame":
        """One row for each epoch of each trial, with the columns of epochs.csv."""
        import pandas as pd

        trials = self.read_history().trials
        rows = [{"trial": trial.number} | epoch_row(epoch) for trial in trials for epoch in trial.epochs]
        return pd.DataFrame(rows, columns=["trial", *EPOCH_COLUMNS])

    @property
    def finalists(self) -> "pd.DataFrame":
        """One row for each finalist, with the columns of finalists.csv: means and 95 % intervals over seeds."""
        import pandas as pd

        return pd.DataFrame(map(finalist_row, find_finalists(self.read_history())), columns=list(FINALIST_COLUMNS))

    @cached_property
    def classifier(self) -> Classifier:
        """The winner. Raises ValueError while there is none."""
        return load_classifier(self.path)


def open_run(path: str | Path, storage: str | None = None) -> Run:
    """The results in a run directory. Raises ValueError when it is none."""
    run = Run(read_path(path), storage)
    read_facts(RunDirectory(run.path))
    return run


def search(
    settings: Settings | Sequence[Settings],
    *,
    name: str | None = None,
    runs_dir: str | Path = "runs",
    address: str | None = None,
    storage: str | None = None,
) -> Run:
    """Search, retrain the best, read the test split and write the report, as `python -m tune_sketch.search` does.

    settings: or those of each network of a search over several, as `settings_of_networks` makes them. name: of the run
    directory below runs_dir; address: of a Ray cluster; storage: URL of a database. Ray is started on
    this machine and ended again, unless it runs already. Interrupted, it returns with what there is. Raises ValueError
    for anything that the caller can mend, before anything expensive starts.
    """
    begun_at = time.monotonic()
    first, *others = [resolve_paths(settings)] if isinstance(settings, Settings) else check_networks(settings)
    folder, backend = read_path(runs_dir), RayBackend(address)
    check_destination(folder, [check_run_name(name)] if name is not None else [], storage)
    backend.check()
    run = make_run(folder, name, first, prepare_inputs(first, others), storage)
    was_started = is_started()
    try:
        run_search(run, backend, storage, begun_at)
    except BackendLostError as lost:
        print_error(lost)
        print(f"stopped. Resume with:  {command_text('search', '--resume', run.path)}", file=sys.stderr)
        was_started = True
        leave_lost_ray()
    finally:
        if not was_started:
            stop_ray()
    return Run(run.path, storage)

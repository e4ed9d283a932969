"""Optional trackers of --track: each trial, when it has ended, in a local MLflow store or as a run of W&B offline.

Each is a callback of a few lines, imports its package only when it is asked for, and sends nothing anywhere.
"""

import contextlib
import importlib.util
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from tune_sketch.events import Trial

PROJECT = "tune_sketch"


@contextlib.contextmanager
def writing(name: str) -> Iterator[None]:
    """Raises OSError for whatever goes wrong in a tracker, which a search goes on without."""
    try:
        yield
    except Exception as error:  # each package has errors of its own
        raise OSError(f"--track {name}: a trial cannot be written: {error}") from error


class MlflowLog:
    """An MLflow store in the folder `mlflow` of the run, with one MLflow run for each trial.

    `mlflow ui --backend-store-uri RUN/mlflow` shows it.
    """

    package = "mlflow"  # of the extra too

    def __init__(self, folder: Path, trials: Sequence[Trial]) -> None:
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # since 3.7 MLflow asks for it
        from mlflow.tracking import MlflowClient

        self.client, name = MlflowClient((folder / "mlflow").absolute().as_uri()), folder.absolute().name
        known = self.client.get_experiment_by_name(name)
        self.experiment = known.experiment_id if known is not None else self.client.create_experiment(name)
        written = set()
        for run in self.client.search_runs([self.experiment], max_results=50_000):
            if run.info.end_time is None:  # a kill came in between
                self.client.delete_run(run.info.run_id)
            else:
                written.add(run.info.run_name)
        for trial in trials:
            if f"trial {trial.number}" not in written and not trial.is_unfinished:
                self.on_end(trial)  # it ended while the search was down, or before --track was given

    def on_epoch(self, trial: Trial) -> None:
        """Nothing: a trial is written when it has ended."""

    @writing(package)
    def on_end(self, trial: Trial) -> None:
        """Write the trial with its configuration and every epoch's metrics. Times of MLflow are in milliseconds.

        Raises OSError.
        """
        from mlflow.entities import Metric, Param

        begun, status = round(1000 * trial.started_at), "FAILED" if trial.error else "FINISHED"
        tags = {"status": trial.status, "source": trial.source.kind}
        run = self.client.create_run(self.experiment, begun, tags, f"trial {trial.number}").info.run_id
        params = [Param(name, str(value)) for name, value in trial.config.items()]
        self.client.log_batch(run, params=params)
        for epoch in trial.epochs:
            at = round(1000 * epoch.recorded_at)
            metrics = [Metric(name, float(value), at, epoch.number) for name, value in epoch.metrics.items()]
            self.client.log_batch(run, metrics)
        self.client.set_terminated(run, status, round(1000 * (trial.ended_at or trial.started_at)))


class WandbLog:
    """Weights & Biases offline: one W&B run for each trial below the folder `wandb` of the run.

    `wandb sync RUN/wandb/offline-run-*` sends them, if one wants that.
    """

    package = "wandb"

    def __init__(self, folder: Path, trials: Sequence[Trial]) -> None:
        self.folder = folder
        for trial in trials:
            if not trial.is_unfinished and not list((folder / "wandb").glob(f"offline-run-*-{self.name(trial)}")):
                self.on_end(trial)  # it ended while the search was down, or before --track was given

    def name(self, trial: Trial) -> str:
        """The trial's id among all of W&B's runs."""
        return f"{self.folder.absolute().name}-{trial.key}"

    def on_epoch(self, trial: Trial) -> None:
        """Nothing: a trial is written when it has ended."""

    @writing(package)
    def on_end(self, trial: Trial) -> None:
        """Write the trial with its configuration and every epoch's metrics. Raises OSError."""
        import wandb

        settings = wandb.Settings(
            silent=True, console="off", disable_git=True, x_disable_stats=True, x_disable_meta=True
        )
        run = wandb.init(
            project=PROJECT,
            group=self.folder.absolute().name,
            name=f"trial {trial.number}",
            id=self.name(trial),
            config={**trial.config, "source": trial.source.kind, "status": trial.status},
            dir=self.folder,
            mode="offline",
            reinit="create_new",
            settings=settings,
        )
        for epoch in trial.epochs:
            run.log(dict(epoch.metrics), step=epoch.number)
        run.finish(exit_code=1 if trial.error else 0)


TRACKERS: dict[str, type[MlflowLog] | type[WandbLog]] = {"mlflow": MlflowLog, "wandb": WandbLog}


def check_installed(names: Iterable[str]) -> None:
    """Raises ValueError for a tracker whose package is not installed; nothing is imported."""
    for name in names:
        if importlib.util.find_spec(TRACKERS[name].package) is None:
            raise ValueError(
                f"--track {name} needs the package {TRACKERS[name].package}, which is not installed: "
                f"pip install 'tune_sketch[{name}]'"
            )


def make_trackers(names: Iterable[str], folder: Path, trials: Sequence[Trial]) -> list[MlflowLog | WandbLog]:
    """The trackers of these names, with what an earlier session recorded written."""
    return [TRACKERS[name](folder, trials) for name in names]

"""Keeps the run directory tidy and current while trainings run."""

import time

from tune_sketch.events import Trial
from tune_sketch.schedulers.stop_signal import StopSignal
from tune_sketch.storage.history import History
from tune_sketch.storage.kept_checkpoints import sweep_checkpoints
from tune_sketch.storage.run_directory import RunDirectory
from tune_sketch.storage.tables import write_tables

TABLE_SECONDS = 30.0  # at most this often: the tables are written whole


class Cleanup:
    """After each epoch: tables now and then. After each ending: give back disk, look for failures of one kind."""

    def __init__(self, run: RunDirectory, history: History, stop: StopSignal, *, keeps_best: bool = False) -> None:
        """keeps_best: of the ended trials the best keeps its network, for there may be no time for another one."""
        self.run, self.history, self.stop, self.keeps_best = run, history, stop, keeps_best
        self.written_at = 0.0

    def on_epoch(self, trial: Trial) -> None:
        if time.monotonic() - self.written_at > TABLE_SECONDS:
            write_tables(self.run, self.history)
            self.written_at = time.monotonic()

    def on_end(self, trial: Trial) -> None:
        if trial.is_retraining:
            return  # its checkpoint holds the weights that will be tested
        self.sweep()
        self.stop.check_failures(self.history.trials)

    def sweep(self) -> None:
        """Give back the space of trials that have ended: also of those after whose ending a kill came."""
        sweep_checkpoints(self.run, self.history.trials, keeps_best=self.keeps_best)

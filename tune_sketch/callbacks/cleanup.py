"""Keeps the run directory tidy and current while trainings run."""

import time

from tune_sketch.backend.execution import Stopping
from tune_sketch.storage.journal import Journal, Record
from tune_sketch.storage.run_directory import RunDirectory, write_tables

TABLE_SECONDS = 30.0  # at most this often: the tables are written whole


class Housekeeping:
    """After each epoch: tables now and then. After each ending: give back disk, look for failures of one kind."""

    def __init__(self, run: RunDirectory, journal: Journal, stopping: Stopping) -> None:
        self.run, self.journal, self.stopping = run, journal, stopping
        self.written_at = 0.0

    def on_epoch(self, record: Record) -> None:
        if time.monotonic() - self.written_at > TABLE_SECONDS:
            write_tables(self.run, self.journal)
            self.written_at = time.monotonic()

    def on_end(self, record: Record) -> None:
        if record.is_retraining:
            return  # its checkpoint holds the weights that will be tested
        self.run.remove_checkpoints(record)
        self.stopping.look_at_failures(self.journal)

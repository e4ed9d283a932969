"""The interface of a callback."""

from typing import Protocol

from tune_sketch.events import Trial


class Callback(Protocol):
    """Hears of every epoch and ending after it was recorded: the screen, TensorBoard, the tables, budgets."""

    def on_epoch(self, trial: Trial) -> None: ...

    def on_end(self, trial: Trial) -> None: ...

"""The history of a search in memory: every trial and retraining as far as it is recorded."""

from dataclasses import dataclass, field
from typing import Any

from tune_sketch.events import Trial


class JournalError(RuntimeError):
    """The record of a search could not be read or written."""


@dataclass
class History:
    """Everything recorded of a search, as it is in memory. Trials are immutable; their list grows."""

    trials: list[Trial] = field(default_factory=list)  # by number
    retrainings: dict[str, Trial] = field(default_factory=dict)  # by key
    notes: dict[str, Any] = field(default_factory=dict)  # JSON values about the search as a whole
    last_steps: dict[str, Trial] = field(default_factory=dict)  # by key: winners on training and validation together

    def find(self, key: str) -> Trial:
        """The training with this key."""
        later = self.later_trainings
        return later[key] if key in later else self.trials[int(key.removeprefix("trial-"))]

    @property
    def later_trainings(self) -> dict[str, Trial]:
        """Trainings after the search, by key: retrainings, and last steps."""
        return self.retrainings | self.last_steps

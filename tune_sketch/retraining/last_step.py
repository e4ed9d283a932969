"""The last step: the winner trained once more, on training and validation drawings together, as the network to use."""

import math
from collections.abc import Sequence

from tune_sketch.config.seeds import derive_seed
from tune_sketch.events import Config, Trial
from tune_sketch.retraining.finalists import (
    choose_network,
    choose_winner,
    eligible_retrainings,
    retrainings_that_count,
)
from tune_sketch.storage.history import History
from tune_sketch.storage.journal import Journal


class LastStep:
    """One more training, once the finalists have been retrained and the winner is chosen on validation.

    It is as long as the retraining it follows, and begins from the initial weights with a seed of its own. No drawings
    are left to validate it, so nothing about it is chosen: its seed, length and kind of weights are fixed before.
    """

    def __init__(self, journal: Journal, *, seed: int) -> None:
        self.journal, self.seed = journal, seed

    def retraining(self) -> Trial:
        """The retraining of the winner that it follows."""
        return choose_network(retrainings_of_winner(self.journal))

    def num_epochs_left(self) -> int:
        """Epochs of the training, where it is still to come or not at its end."""
        begun = self.begun()
        if begun is not None:
            return int(begun.config["epochs"]) if begun.is_unfinished else 0
        return int(configure_last_step(self.journal)["epochs"]) if eligible_retrainings(self.journal) else 0

    def unfinished(self) -> list[Trial]:
        """The training, where it was begun."""
        begun = self.begun()
        return [begun] if begun is not None and begun.is_unfinished else []

    def propose(self) -> Trial | None:
        """The training, recorded, where it was not begun. None without a retraining that came to its end."""
        if self.begun() is not None or not eligible_retrainings(self.journal):
            return None
        number = choose_winner(eligible_retrainings(self.journal))
        return self.journal.add_last_step(
            number, configure_last_step(self.journal), derive_seed(self.seed, "last step", number)
        )

    def begun(self) -> Trial | None:
        return find_last_step(self.journal)


def find_last_step(history: History) -> Trial | None:
    """The last step of the winner of now, in whatever state; None before it was begun.

    More seeds or finalists may bring another winner, or other weights of it, whose last step is another training.
    """
    if not eligible_retrainings(history):
        return None
    number, config = choose_winner(eligible_retrainings(history)), configure_last_step(history)
    own = (trial for trial in history.last_steps.values() if trial.number == number and trial.config == config)
    return next(own, None)


def configure_last_step(history: History) -> Config:
    """The configuration of the winner's best retraining, for the epochs that it had.

    Averaged weights only if they were better in its seeds: that is a choice on validation, and a last step has none.
    """
    own = retrainings_of_winner(history)
    best = choose_network(own)
    config = best.config | {"epochs": len(best.epochs)}
    return config | {"averaging": False} if config.get("averaging") and prefers_raw(own) else config


def retrainings_of_winner(history: History) -> list[Trial]:
    """The winner's retrainings that count."""
    return retrainings_that_count(history, choose_winner(eligible_retrainings(history)))


def prefers_raw(retrainings: Sequence[Trial]) -> bool:
    """Whether the weights without averaging had the better validation top-1 at the end, in the mean over seeds."""
    ends = [trial.epochs[-1].metrics for trial in retrainings]
    gains = [end["averaged_val_top1"] - end["raw_val_top1"] for end in ends if "averaged_val_top1" in end]
    return math.fsum(gains) < 0


def length_of_last_step(num_train: int, num_validation: int) -> float:
    """Its worker time over that of the retraining it follows: as many epochs, each with the validation drawings too."""
    return 1 + num_validation / num_train

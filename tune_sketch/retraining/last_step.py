"""The last step: the winner's network goes on with the validation drawings too, and becomes the network to use."""

import math
from collections.abc import Sequence

from tune_sketch.config.seeds import derive_seed
from tune_sketch.config.total_time import KEPT_LAST_STEP_LENGTH, LAST_STEP_LENGTH
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
    """A few more epochs, once the finalists have been retrained and the winner is chosen on validation.

    The winner's best network goes on as it was trained, on training and validation drawings together. No drawings are
    left to validate that, so nothing about it is chosen: its seed, length and kind of weights are fixed before.
    """

    def __init__(self, journal: Journal, *, seed: int) -> None:
        self.journal, self.seed = journal, seed
        self.most_epochs: float = math.inf  # that fit into the time

    def retraining(self) -> Trial:
        """The winner's retraining with the best network, which goes on."""
        return choose_network(retrainings_of_winner(self.journal))

    def num_epochs(self) -> int:
        """Epochs of the training, where it is still to come or not at its end; 0 where they do not fit."""
        begun = self.begun()
        if begun is not None:
            num = int(begun.config["epochs"])
            return num if begun.is_unfinished and num - len(begun.epochs) <= self.most_epochs else 0
        if not eligible_retrainings(self.journal):
            return 0
        return int(min(math.ceil(LAST_STEP_LENGTH * len(self.retraining().epochs)), self.most_epochs))

    def unfinished(self) -> list[Trial]:
        """The training, where it was begun."""
        begun = self.begun()
        return [begun] if begun is not None and begun.is_unfinished else []

    def propose(self) -> Trial | None:
        """The training, recorded, where it was not begun. None without a retraining that came to its end."""
        if self.begun() is not None or not (num_epochs := self.num_epochs()):
            return None
        follows = self.retraining()
        config = configure_last_step(retrainings_of_winner(self.journal), num_epochs)
        seed = derive_seed(self.seed, "last step", follows.number)
        return self.journal.add_last_step(follows.number, config, seed, follows.key)

    def begun(self) -> Trial | None:
        return find_last_step(self.journal)


def find_last_step(history: History) -> Trial | None:
    """The last step of the winner of now, in whatever state; None before it was begun.

    It goes on from one of the winner's networks that count, not always the best one once there are more seeds. Those of
    earlier versions began from new weights and were as long as the winner's best retraining.
    """
    if not eligible_retrainings(history):
        return None
    own = retrainings_of_winner(history)
    keys, num_epochs, averaging = {trial.key for trial in own}, len(choose_network(own).epochs), keeps_averages(own)
    for trial in history.last_steps.values():
        is_known = trial.follows in keys if trial.follows is not None else trial.config["epochs"] == num_epochs
        if trial.number == own[0].number and is_known and bool(trial.config.get("averaging")) == averaging:
            return trial
    return None


def configure_last_step(retrainings: Sequence[Trial], num_epochs: int) -> Config:
    """The configuration of the best of the winner's retrainings, for more epochs."""
    best = choose_network(retrainings)
    averaging = {"averaging": keeps_averages(retrainings)} if "averaging" in best.config else {}
    return best.config | {"epochs": num_epochs} | averaging


def retrainings_of_winner(history: History) -> list[Trial]:
    """The winner's retrainings that count."""
    return retrainings_that_count(history, choose_winner(eligible_retrainings(history)))


def keeps_averages(retrainings: Sequence[Trial]) -> bool:
    """Whether a last step averages weights: as its configuration does, unless that was worse at the end of its seeds.

    Worse in the mean of validation top-1. That is a choice on validation, which a last step itself does not have.
    """
    ends = [trial.epochs[-1].metrics for trial in retrainings]
    gains = [end["averaged_val_top1"] - end["raw_val_top1"] for end in ends if "averaged_val_top1" in end]
    return bool(choose_network(retrainings).config.get("averaging")) and math.fsum(gains) >= 0


def length_of_last_step(num_train: int, num_validation: int) -> float:
    """The worker time that is kept for it, over that of the retraining it follows."""
    return KEPT_LAST_STEP_LENGTH * growth_of_epochs(num_train, num_validation)


def growth_of_epochs(num_train: int, num_validation: int) -> float:
    """The time of an epoch with the validation drawings over that of one without."""
    return 1 + num_validation / num_train

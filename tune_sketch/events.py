"""The nouns of a search: what is proposed, trained, reported, decided and recorded, as frozen dataclasses.

Neither Ray, torch nor Optuna is imported here: drivers, training processes and readers of a finished run share them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    import numpy as np
    from optuna.distributions import BaseDistribution

Value = bool | int | float | str  # of one hyperparameter
Config = dict[str, Value]
NETWORK = "network"  # in the configuration of a trial: which one, where a search has several
OF_SEARCH = 0  # the seed index of a network that the search itself trained, where no time was left for a retraining

Ending = Literal["completed", "stopped", "diverged", "out_of_memory", "failed"]
Status = Literal["running", "paused"] | Ending
ENDINGS: tuple[Ending, ...] = get_args(Ending)
SourceKind = Literal["paper", "recipe", "experience", "warm-start", "random", "mutated", "tpe", "one-factor"]


@dataclass(frozen=True)
class Source:
    """Why a configuration was proposed. Fields that do not belong to the kind are None."""

    kind: SourceKind
    rung: int | None = None  # the epoch whose values the proposal rests on
    parent: int | None = None  # mutated: the trial whose configuration was changed
    num_values: int | None = None  # tpe of last values: how many trials had ended
    run: str | None = None  # warm-start: the earlier run and its trial; experience: the drawings of its training
    trial: int | None = None
    # one-factor: the step, its pass, and what its trials are compared by, at which epoch, and with which others
    step: str | None = None
    number_of_pass: int | None = None
    num_epochs: int | None = None
    compared_by: str | None = None
    compared_with: tuple[int, ...] | None = None
    # of several networks: the seconds to which those whose turn it was may train, and within which they were compared
    turn_seconds: float | None = None
    compared_seconds: float | None = None


@dataclass(frozen=True)
class Proposal:
    """A configuration to try: `params` are its sampled part, with their distributions."""

    config: Config
    params: Config
    distributions: "Mapping[str, BaseDistribution]"
    source: Source


@dataclass(frozen=True)
class Worker:
    """The process that trained an epoch: its machine's address, its id there, and the GPUs that it saw ("0 1")."""

    node: str
    process: int
    gpus: str = ""


@dataclass(frozen=True)
class Decision:
    """ASHA's decision about a trial at a rung. The cutoff is None for the first trial that got there."""

    verdict: Literal["continue", "stop"]
    cutoff: float | None  # validation top-1, a fraction
    num_better: int  # trials that got to the rung before and had a higher value there
    num_compared: int  # trials that got to the rung before


@dataclass(frozen=True)
class Epoch:
    """One recorded epoch of a training. Top-1 and top-5 are fractions in [0, 1], losses are in nats."""

    number: int  # from 1
    metrics: Mapping[str, float]
    worker: Worker | None = None
    recorded_at: float = 0.0  # seconds since 1970
    decision: Decision | None = None  # where the epoch is a rung

    @property
    def val_top1(self) -> float:
        return self.metrics["val_top1"]

    @property
    def val_loss(self) -> float:
        return self.metrics["val_loss"]

    @property
    def seconds(self) -> float:
        """Training and validation time."""
        return self.metrics["epoch_seconds"]


@dataclass(frozen=True)
class TestResult:
    """A network's metrics on the test split (fractions, and the loss in nats), its probabilities calibrated.

    temperature: of its logits, fitted on the validation split; 1 in runs of before there were any.
    """

    __test__ = False  # no test class, whatever pytest thinks of its name

    metrics: Mapping[str, float]
    num_images: int
    temperature: float = 1.0

    @property
    def top1(self) -> float:
        return self.metrics["top1"]


@dataclass(frozen=True)
class Scores:
    """A trained network's answers for drawings it was not trained on: probabilities float32 [N, classes]."""

    result: TestResult
    test: "np.ndarray"
    validation: "np.ndarray | None"  # None for a last step, which was trained on them


@dataclass(frozen=True)
class Trial:
    """Everything recorded of one training: a trial of the search, or the retraining of a finalist on a fresh seed."""

    key: str  # "trial-0007", or "retraining-0007-02" for the retraining of trial 7 with its seed number 2
    number: int  # of the trial in the search
    config: Config
    seed: int
    source: Source = Source("paper")
    params: Config = field(default_factory=dict)
    distributions: "Mapping[str, BaseDistribution]" = field(default_factory=dict)
    seed_index: int | None = None  # of a retraining, from 1; OF_SEARCH: it is the search's own network
    is_last_step: bool = False  # on training and validation drawings together: it has no validation
    follows: str | None = None  # key of the retraining whose network a last step goes on from; None: from new weights
    status: Status = "running"
    epochs: tuple[Epoch, ...] = ()
    started_at: float = 0.0  # seconds since 1970
    ended_at: float | None = None
    error: str = ""
    test: TestResult | None = None  # of a retraining, once the test split has been read

    @property
    def is_retraining(self) -> bool:
        return self.seed_index is not None

    @property
    def is_of_search(self) -> bool:
        """Whether its network is the search's own, taken over where no time was left for a retraining."""
        return self.seed_index == OF_SEARCH

    @property
    def network(self) -> str | None:
        """The network, in a search over several; None: the search has one."""
        name = self.config.get(NETWORK)
        return None if name is None else str(name)

    @property
    def is_baseline(self) -> bool:
        """Whether this is the paper's configuration, which every search tries first of a network."""
        return self.number == 0 or (self.network is not None and self.source.kind == "paper")

    @property
    def is_recipe(self) -> bool:
        """Whether this is today's recipe for the network, which a search tries right after the paper's."""
        return self.source.kind == "recipe"

    @property
    def is_unfinished(self) -> bool:
        return self.status not in ENDINGS

    @property
    def best_epoch(self) -> Epoch | None:
        """The epoch with the highest validation top-1, the earlier of two; None where there is none."""
        return None if self.is_last_step else max(self.epochs, key=lambda epoch: epoch.val_top1, default=None)

    @property
    def last_epoch(self) -> Epoch | None:
        return self.epochs[-1] if self.epochs else None

    @property
    def train_seconds(self) -> float:
        return sum(epoch.seconds for epoch in self.epochs)

    def epoch_at(self, rung: int) -> Epoch | None:
        """The epoch with which the trial counts at a rung, or None when it did not get there.

        A trial that ended by itself before the rung counts there with its last epoch: it would not train longer.
        """
        if len(self.epochs) >= rung:
            return self.epochs[rung - 1]
        return self.last_epoch if self.status == "completed" else None

    def with_epoch(self, epoch: Epoch) -> "Trial":
        """The trial after one more epoch."""
        assert epoch.number == len(self.epochs) + 1, f"{self.key}: epoch {epoch.number} after {len(self.epochs)}"
        return replace(self, epochs=(*self.epochs, epoch))


@dataclass(frozen=True)
class Job:
    """Everything that a training process needs to know, wherever it runs."""

    key: str
    model: str
    config: Config
    seed: int
    data: str  # where any machine finds the decoded drawings: a folder, or a URL
    splits: str  # path of splits.csv
    checkpoints: str  # folder
    checkpoint_epochs: int  # epochs between checkpoints
    stop_file: str  # its presence asks for a checkpoint after every epoch
    weights: str | None  # path of the initial weights
    pretrained: bool
    invert: bool
    frozen_views: int
    views_seed: int  # trainings with the same one share stored views of frozen layers
    num_threads: int
    num_processes: int
    gpus: float
    followed: str | None = None  # folder of the checkpoints of the training that it goes on from
    network: str | None = None  # path of that one's weights, which stay when its checkpoints are gone
    trains_on_validation: bool = False  # on training and validation drawings together; there is no validation then
    temperature: float = 1.0  # of its logits then
    num_recorded: int | None = None  # epochs that the journal has of it, which alone count; None: it has no journal
    splits_sha256: str | None = None  # of the division that the search began with


# What a training process reports of each step, and what a backend says when that process is gone.


class ProcessDiedError(RuntimeError):
    """One of a training's several processes is gone, so that the others cannot go on."""


@dataclass(frozen=True)
class EpochReport:
    """An epoch was trained. `checkpoint_epoch` is the newest epoch whose state is on the disk."""

    number: int
    metrics: Mapping[str, float]
    worker: Worker
    checkpoint_epoch: int
    warning: str = ""


@dataclass(frozen=True)
class EndingReport:
    """The training ended by itself, without another epoch."""

    status: Literal["diverged", "out_of_memory", "failed"]
    error: str


@dataclass(frozen=True)
class NotWrittenReport:
    """The disk is full: the epoch is kept in memory, and the next step tries again to write it."""

    error: str


@dataclass(frozen=True)
class HinderedReport:
    """The training cannot go on, for a reason that lies in the files or the machine and not in its configuration."""

    error: str


@dataclass(frozen=True)
class DeathReport:
    """The training's process is gone."""

    reason: str


Report = EpochReport | EndingReport | NotWrittenReport | HinderedReport | DeathReport
Verdict = Literal["continue", "stop"]

"""The facts that fix a search, typed: what search.json holds."""

import json
from dataclasses import asdict, dataclass, replace
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from tune_sketch.config.settings import Settings
from tune_sketch.config.total_time import Division, divide
from tune_sketch.data.bounds import read_regular, reason_text
from tune_sketch.events import Config
from tune_sketch.search_spaces import SpaceLimits
from tune_sketch.storage.files import write_json
from tune_sketch.storage.run_directory import RunDirectory
from tune_sketch.storage.version_0_1 import upgrade_search

FORMAT = 2  # of search.json; version 0.1 wrote none


@dataclass(frozen=True)
class SkippedFile:
    """A drawing that was left out, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class ClassSize:
    """A class and the number of its drawings, of all splits together."""

    name: str
    num_drawings: int


@dataclass(frozen=True)
class DataFacts:
    """The decoded drawings and their splits."""

    fingerprint: str
    cache: str  # the folder of decoded drawings on this machine
    published: str  # where trainings on any machine find them: that folder, or a URL
    synthetic: bool  # drawn by the program itself
    num_images: int
    class_names: tuple[str, ...]
    has_photos: bool
    num_train: int
    num_validation: int
    num_test: int
    skipped: tuple[SkippedFile, ...]
    leaky_split: bool  # drawings of one photo or group are in several splits
    split_origin: str = ""  # empty in runs of earlier versions, as are those below
    num_copies: int = 0  # drawings with the same content as another one
    num_copies_across: int = 0  # of these, drawings in another split than the first
    split_warnings: tuple[str, ...] = ()
    largest_class: ClassSize | None = None
    smallest_class: ClassSize | None = None
    num_near_copies: int | None = None  # None where they were not looked for
    num_near_copies_across: int | None = None  # of them, in another split than the drawing that they look like
    splits_sha256: str | None = None  # of `hash_splits`

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def class_ratio(self) -> float:
        """Drawings of the largest class over those of the smallest; 1 where a search began without knowing it."""
        if self.largest_class is None or self.smallest_class is None:
            return 1.0
        return self.largest_class.num_drawings / self.smallest_class.num_drawings


@dataclass(frozen=True)
class WeightsFacts:
    """The initial weights."""

    path: str | None
    description: str
    pretrained: bool
    sha256: str | None = None  # of the file; not in older runs
    scaled_as_new: bool = False  # loaded from a run that began with new weights

    @property
    def normalised(self) -> bool:
        """Whether drawings are normalised as the network's published weights want it."""
        return self.pretrained and not self.scaled_as_new


@dataclass(frozen=True)
class Network:
    """One of the networks of a search over several, with what is its own."""

    model: str
    max_epochs: int
    grace_epochs: int
    weights: WeightsFacts


@dataclass(frozen=True)
class EarlierTrial:
    """A configuration taken from an earlier search by --warm-start."""

    run: str
    trial: int
    params: Config
    max_epochs: int  # of the earlier search


@dataclass(frozen=True)
class GpuSharing:
    """How many trials share a GPU, and what was measured for it or why nothing was."""

    trials_per_gpu: int
    reason: str = ""
    images_per_second: tuple[float, ...] = ()  # of 1, 2, ... trainings, all together
    memory_bytes: tuple[int, int] | None = None  # of one training, of the device
    batch_size: int | None = None
    machines: tuple[str, ...] = ()  # kinds of GPU that it was measured on
    most: int | None = None  # trials that could share a GPU


@dataclass(frozen=True)
class Host:
    """The machine of the driver."""

    system: str
    machine: str
    num_cpus: int | None


@dataclass(frozen=True)
class Session:
    """One time that the search was at work: from a start or a resume to its end or interruption."""

    started_at: float  # seconds since 1970
    time: str
    command: tuple[str, ...]
    versions: dict[str, str | None]
    git_commit: str | None
    host: Host
    address: str | None = None  # of a Ray cluster
    prepared_seconds: float = 0.0  # before started_at: what the command took until then, decoding above all
    ended_at: float | None = None  # seconds since 1970; None: it is at work, was killed, or is of an earlier version
    gpu_sharing: GpuSharing | None = None


@dataclass(frozen=True)
class Facts:
    """Everything that fixes a search and explains its run directory."""

    __pydantic_config__ = ConfigDict(strict=True, extra="forbid")

    study_name: str
    storage: str | None  # URL of its database, without a password; None: journal.log
    settings: Settings
    data: DataFacts
    weights: WeightsFacts
    warm_start: tuple[EarlierTrial, ...] = ()
    sessions: tuple[Session, ...] = ()
    division: Division | None = None  # of --total-time
    networks: tuple[Network, ...] = ()  # of a search over several; the first is that of settings and weights
    format: int = FORMAT

    @property
    def limits(self) -> SpaceLimits:
        """Limits of the search space."""
        return SpaceLimits(self.settings.max_epochs, self.weights.pretrained, self.data.class_ratio)

    @property
    def models(self) -> tuple[str, ...]:
        """The search's networks, in the order in which they take turns."""
        return tuple(network.model for network in self.networks) or (self.settings.model,)

    @property
    def num_finalists(self) -> int:
        """Configurations that are retrained at most: of several networks, the best of each other one too."""
        return min(self.settings.num_samples, self.settings.num_finalists + len(self.models) - 1)

    @property
    def num_retrainings(self) -> int:
        """Trainings after the search, of each finalist on each fresh seed."""
        return self.num_finalists * self.settings.retraining_seeds

    def of(self, network: str | None) -> "Facts":
        """The facts as they would be if this network were the search's only one. None: it is."""
        if network is None:
            return self
        own = next(own for own in self.networks if own.model == network)
        settings = replace(self.settings, model=own.model, max_epochs=own.max_epochs, grace_epochs=own.grace_epochs)
        return replace(self, settings=settings, weights=own.weights, networks=())

    def of_each(self) -> dict[str, "Facts"]:
        """The facts of each network by its name."""
        return {model: self.of(model if self.networks else None) for model in self.models}

    def with_session(self, session: Session) -> "Facts":
        return replace(self, sessions=(*self.sessions, session))

    def divided(self) -> "Facts":
        """With the division of --total-time, which stays as it is until that is changed."""
        total = self.settings.total_time_seconds
        if total is None or (self.division is not None and self.division.total_seconds == total):
            return self
        prepared = sum(session.prepared_seconds for session in self.sessions)
        return replace(self, division=divide(total, prepared, last_step=self.settings.last_step))


def write_facts(run: RunDirectory, facts: Facts) -> None:
    """Write search.json."""
    write_json(run.search_json, asdict(facts))


def read_facts(run: RunDirectory) -> Facts:
    """The facts of search.json. Raises ValueError when this is not a run directory, or the file is damaged."""
    if not run.search_json.is_file():
        raise ValueError(f"{run.path} is not a run directory: it has no search.json")
    content = read_regular(run.search_json)
    try:
        values: dict[str, Any] = json.loads(content.decode("utf-8"))
        if "format" not in values:
            values = upgrade_search(values)
        if isinstance(values.get("settings"), dict):
            for name in ("last_step", "experience"):  # of a search that began without knowing them
                values["settings"].setdefault(name, False)
        if values["format"] != FORMAT:
            raise ValueError(f"its format is {values['format']}, this version reads {FORMAT}: use a newer version")
        return ADAPTER.validate_json(json.dumps(values))
    except ValidationError as error:
        raise ValueError(f"{run.search_json} is damaged: {describe_first(error)}") from None
    except Exception as error:  # a parser of damaged text raises almost anything
        raise ValueError(f"{run.search_json} is damaged: {reason_text(error)}") from None


def describe_first(error: ValidationError) -> str:
    """The first thing that is wrong: where, what, and the value."""
    first = error.errors(include_url=False)[0]
    location = ".".join(map(str, first["loc"])) or "the file"
    return f"{location}: {first['msg'].removeprefix('Value error, ')}, got {first['input']!r:.80}"


ADAPTER = TypeAdapter(Facts)

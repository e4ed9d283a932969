"""Holds every choice that is fixed for one search: one line per setting, with its flag, rule and default."""

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tune_sketch.callbacks.trackers import TRACKERS, check_installed
from tune_sketch.config.checks import check_between, check_known, check_model, check_share, did_you_mean, parse_duration
from tune_sketch.data import DATASETS
from tune_sketch.data.paths import read_path
from tune_sketch.data.request import DataRequest
from tune_sketch.data.splits import OWN_SPLIT, PROTOCOLS, SPLIT_BY
from tune_sketch.samplers import SAMPLERS
from tune_sketch.schedulers.rungs import default_grace_epochs, rung_epochs

WEIGHTS = ("auto", "imagenet", "none")
OF_WEIGHTS = ("", "search.json")  # a file itself, or this in a run directory
OLD_VALUES = {"rung-tpe": "incumbent", "study": "paper"}  # names of version 0.1, accepted for one version
BUDGETS = ("time_budget_seconds", "total_time_seconds", "gpu_hours")  # one of them ends a search by itself
BUDGET_SAMPLES = 1000  # trials at most within a budget, unless it is said; no burden, see benchmarks/scale.py
AUTO: Any = None  # a default that depends on the data and the model


@dataclass(frozen=True)
class Flag:
    """How a setting is given on the command line, and what may become of it when a search is resumed."""

    help: str
    metavar: str | None = "N"
    name: str | None = None  # where it is not the setting's own
    old_name: str | None = None  # accepted for one version
    least: float | None = None
    most: int = 1_000_000  # of a number that has a least value
    known: Iterable[str] | None = None
    parse: Callable[[str], Any] | None = None
    path_or: tuple[str, ...] | None = None  # a path, or one of these words
    on_resume: Literal["fixed", "grows", "free", "content"] = "free"  # content: may lie elsewhere, but be no other

    def spelling(self, setting: str) -> str:
        return self.name or f"--{setting.replace('_', '-')}"


def setting(help_: str, default: Any = AUTO, **flag: Any) -> Any:
    """A field of Settings with its flag."""
    return dataclasses.field(default=default, metadata={"flag": Flag(help_, **flag)})


@dataclass(frozen=True)
class Settings:
    """Every choice fixed for one search. What varies per trial is in search_spaces/, machines in cluster.yaml.

    What is left out takes a default that suits data and model. Raises ValueError for a choice that is impossible.
    """

    model: str
    data: str = setting("what to learn from", "doodles", metavar=None, path_or=tuple(DATASETS), on_resume="content")
    classes: tuple[str, ...] | int | None = setting(
        "class names, or one number N: the first N classes", metavar="C", on_resume="fixed"
    )
    per_class: int | None = setting("at most N drawings of each class", least=1, on_resume="fixed")
    splits: str | None = setting(
        "a table of the drawings: image, and split or class or both", metavar="FILE", path_or=(), on_resume="content"
    )
    split_by: str | None = setting(
        f"{OWN_SPLIT}: as the data are divided; photo: drawings of a photo stay together; file: they do not (leaky) "
        "(default: own where there is one, else photo)",
        None,
        metavar="HOW",
        known=(*SPLIT_BY, OWN_SPLIT),
        on_resume="fixed",
    )
    group_by: str | None = setting(
        "drawings stay together whose names give REGEX's group the same text, or by a column of --splits",
        metavar="REGEX|COLUMN",
        on_resume="fixed",
    )
    class_from: str | None = setting(
        "find the class in each picture's name, instead of class folders", metavar="REGEX", on_resume="fixed"
    )
    protocol: str = setting(
        f"sizes of the splits: {', '.join(PROTOCOLS)}", metavar="P", known=PROTOCOLS, on_resume="fixed"
    )
    image_px: int = setting("side of the square image", least=16, most=4096, on_resume="fixed")
    invert: bool = setting(
        "keep dark ink on light paper (an ablation)", True, name="--no-invert", metavar=None, on_resume="fixed"
    )
    skip_bad_images: bool = setting(
        "go on without unreadable images, and record them", False, metavar=None, on_resume="fixed"
    )
    download: bool = setting("with --data quickdraw: fetch the chosen classes", False, metavar=None, on_resume="fixed")
    weights: str = setting(
        f"start from: {', '.join(WEIGHTS)}, a file, a run", "auto", metavar="W", path_or=WEIGHTS, on_resume="content"
    )
    strategy: str = setting(
        f"how to search: {', '.join(SAMPLERS)} (default: incumbent)",
        "incumbent",
        metavar="S",
        known=SAMPLERS,
        on_resume="fixed",
    )
    passes: int = setting("of --strategy one-factor: go N times over all factors (default: 1)", 1, least=1)
    warm_start: tuple[str, ...] = setting(
        "first try the best of earlier searches, of any data or model", (), metavar="RUN", path_or=(), on_resume="fixed"
    )
    experience: bool = setting(
        "begin without what was best on other drawings", name="--no-experience", metavar=None, on_resume="fixed"
    )
    num_samples: int = setting("number of trials (default with a budget: 1000)", least=1)
    max_epochs: int = setting("most epochs of one trial", least=1, on_resume="grows")
    grace_epochs: int = setting(
        "no trial is stopped earlier (default: 6 %% of --max-epochs)", least=1, on_resume="fixed"
    )
    reduction_factor: int = setting("one trial in N passes a rung (default: 3)", 3, least=2, on_resume="fixed")
    max_concurrent: int | None = setting("at most N trials at once", least=1)
    cpus_per_trial: float | None = setting("CPU cores of one trial")  # None: one core, or a GPU's share of the cores
    gpus_per_trial: float | None = setting("GPUs of one trial: 2 split each batch, 0.5 shares a GPU")  # None: one
    time_budget_seconds: float | None = setting(
        "end the search alone after T: 45s, 30m, 2h, 3d", metavar="T", name="--time-budget", parse=parse_duration
    )
    total_time_seconds: float | None = setting(
        "end all after T, retraining, test and report too", metavar="T", name="--total-time", parse=parse_duration
    )
    gpu_hours: float | None = setting("end the search after N GPU-hours of training (or worker-hours)")
    min_gain: float | None = setting(
        "end the search when 10 more trials may gain under G of top-1, as 0.002", metavar="G"
    )
    seed: int = setting("seed of all drawn by chance (default: 0)", 0, least=0, most=2**63 - 1, on_resume="fixed")
    finalists: int = setting(
        "retrain the K best, beside the paper's and the recipe", metavar="K", least=0, old_name="--confirm-top"
    )
    retraining_seeds: int = setting(
        "fresh seeds of a finalist on average: more where it is close", least=1, old_name="--confirm-seeds"
    )
    last_step: bool = setting(
        "do not let the winner go on with validation drawings", name="--no-last-step", metavar=None, on_resume="fixed"
    )
    frozen_views: int = setting(
        "keep what frozen layers give for V augmented views (default: 0)", 0, metavar="V", least=0, on_resume="fixed"
    )
    checkpoint_epochs: int = setting("epochs between checkpoints (default: 1)", 1, least=1)
    track: tuple[str, ...] = setting(f"log trials to {' and '.join(TRACKERS)} too", (), metavar="T", known=TRACKERS)
    max_failures: int = setting("retries of a trial whose process dies before its next epoch (default: 3)", 3, least=0)

    def __post_init__(self) -> None:
        check_model(self.model)
        for name, flag in FLAGS.items():
            value = getattr(self, name)
            if isinstance(value, str) and value in OLD_VALUES and flag.known is not None:
                object.__setattr__(self, name, OLD_VALUES[value])
            if flag.known is not None and value is not AUTO:
                for one in value if isinstance(value, tuple) else (getattr(self, name),):
                    check_known(flag.spelling(name), one, flag.known)
        for name, value in default_choices(self).items():
            if getattr(self, name) is AUTO:
                object.__setattr__(self, name, value)
        for name, flag in FLAGS.items():
            if flag.least is not None and (value := getattr(self, name)) is not None:
                check_between(flag.spelling(name), value, flag.least, flag.most)
        if self.grace_epochs is AUTO:
            object.__setattr__(self, "grace_epochs", default_grace_epochs(self.max_epochs))
        self.check_combinations()

    def check_combinations(self) -> None:
        """Raises ValueError for numbers out of range and settings that do not go together."""
        if self.passes > 1 and self.strategy != "one-factor":
            raise ValueError(f"--passes is only for --strategy one-factor, got --strategy {self.strategy}")
        if self.warm_start and self.strategy == "one-factor":
            raise ValueError(
                "--warm-start is not for --strategy one-factor, which begins with the paper's configuration"
            )
        if self.download and self.data != "quickdraw":
            raise ValueError(f"--download is only for --data quickdraw, got --data {self.data}")
        if self.group_by is not None and self.split_by == "file":
            raise ValueError("--group-by keeps drawings together, and --split-by file does not: give one of them")
        if isinstance(self.classes, int):
            check_between("--classes", self.classes, 2, FLAGS["classes"].most)
        elif self.classes is not None and len(self.classes) < 2:
            raise ValueError(f"--classes needs at least two classes to tell apart, got {list(self.classes)}")
        if self.grace_epochs > self.max_epochs:
            raise ValueError(
                f"--grace-epochs must be at most --max-epochs: got {self.grace_epochs} > {self.max_epochs}"
            )
        for name in BUDGETS:
            if (value := getattr(self, name)) is not None and not 0 < value < float("inf"):
                raise ValueError(f"{FLAGS[name].spelling(name)} must be positive and finite, got {value:g}")
        if self.total_time_seconds is not None and self.checkpoint_epochs > 1:
            rule = "--total-time ends a training at a checkpoint: --checkpoint-epochs must be 1"
            raise ValueError(f"{rule}, got {self.checkpoint_epochs}")
        if self.min_gain is not None and not 0 <= self.min_gain < 1:
            raise ValueError(f"--min-gain must be a fraction of at least 0 and under 1, got {self.min_gain:g}")
        check_share("--cpus-per-trial", self.cpus_per_trial, may_be_none=False)
        check_share("--gpus-per-trial", self.gpus_per_trial, may_be_none=True)
        if self.gpus_per_trial is not None and self.gpus_per_trial > 1 and self.gpus_per_trial % 1:
            raise ValueError(f"--gpus-per-trial above 1 must be a whole number, got {self.gpus_per_trial:g}")

    @property
    def has_budget(self) -> bool:
        """Whether a time or GPU-hours end the search, rather than a number of trials."""
        return any(getattr(self, name) is not None for name in BUDGETS)

    @property
    def rungs(self) -> list[int]:
        """Epochs at which ASHA compares trials, the full budget last."""
        return rung_epochs(self.grace_epochs, self.max_epochs, self.reduction_factor)

    @property
    def num_processes(self) -> int:
        """Processes of one training: one for each of its GPUs."""
        return max(1, int(self.gpus_per_trial or 1))

    @property
    def num_retrainings(self) -> int:
        """Trainings after the search, of each finalist on each fresh seed."""
        return self.num_finalists * self.retraining_seeds

    @property
    def num_finalists(self) -> int:
        """The first configurations and the best, as far as there are as many trials."""
        return min(self.num_samples, self.finalists + (1 if self.strategy == "one-factor" else 2))

    def data_request(self) -> DataRequest:
        """The request that identifies the decoded data set of this search."""
        return DataRequest(
            data=self.data,
            image_px=self.image_px,
            classes=self.classes,
            per_class=self.per_class,
            invert=self.invert,
            skip_bad_images=self.skip_bad_images,
            download=self.download,
            splits=self.splits,
            group_by=self.group_by,
            class_from=self.class_from,
        )


FLAGS: dict[str, Flag] = {
    field.name: field.metadata["flag"] for field in dataclasses.fields(Settings) if "flag" in field.metadata
}


def default_choices(settings: Settings) -> dict[str, Any]:
    """Defaults that suit the data set: minutes on a laptop for the doodles, the paper's sizes for a real folder.

    The paper (Tables 1 to 3) trained at 224 px, the baseline for 80 epochs.
    """
    common: dict[str, Any] = {"protocol": "standard", "finalists": 2, "retraining_seeds": 3}
    for name in ("last_step", "experience"):  # the paper's own procedure has none
        common[name] = settings.strategy != "one-factor"
    if settings.strategy == "one-factor":
        common["num_samples"] = SAMPLERS["one-factor"].most_trials * settings.passes
    elif settings.has_budget:
        common["num_samples"] = BUDGET_SAMPLES
    if settings.data == "doodles":
        small = {"protocol": "small", "image_px": 32, "retraining_seeds": 2}
        if settings.model == "baseline":
            return {"per_class": 60, "num_samples": 16, "max_epochs": 27} | common | small
        # A large network learns from scratch within minutes only what is easily told apart.
        small |= {"classes": ("bicycle", "envelope", "fish", "ladder", "sun", "umbrella"), "per_class": 240}
        return {"num_samples": 6, "max_epochs": 4} | common | small | {"finalists": 1}
    max_epochs = 80 if settings.model == "baseline" else 50
    return {"image_px": 224, "num_samples": 50, "max_epochs": max_epochs} | common


def resolve_paths(settings: Settings) -> Settings:
    """The settings with absolute paths. Raises ValueError when data, weights, an earlier run or a tracker are missing.

    Not part of Settings itself: a resumed search may do without the originals.
    """
    check_installed(settings.track)
    given = {name: getattr(settings, name) for name, flag in FLAGS.items() if flag.path_or is not None}
    settings = dataclasses.replace(settings, **resolve_choices(given))
    if settings.data not in DATASETS and not Path(settings.data).exists():
        raise ValueError(
            f"--data must be an existing path or one of {', '.join(DATASETS)}, got {given['data']!r}"
            + did_you_mean(given["data"], DATASETS)
        )
    if settings.splits is not None and not Path(settings.splits).is_file():
        raise ValueError(f"--splits must be a file with the columns image and split or class, got {given['splits']!r}")
    for run in settings.warm_start:
        if not (Path(run) / "search.json").is_file():
            raise ValueError(f"--warm-start must name run directories, and {run} has no search.json")
    if settings.weights not in WEIGHTS and not any((Path(settings.weights) / part).is_file() for part in OF_WEIGHTS):
        raise ValueError(f"--weights must be one of {', '.join(WEIGHTS)}, a file or a run, got {given['weights']!r}")
    return settings


def resolve_choices(choices: dict[str, Any]) -> dict[str, Any]:
    """The choices with absolute paths, whichever flag they came by. Raises ValueError for what is no path."""
    resolved = dict(choices)
    for name, value in choices.items():
        flag = FLAGS[name]
        if flag.path_or is None or value is None:
            continue
        try:
            paths = [
                one if one in flag.path_or else str(read_path(one).resolve())
                for one in ([value] if isinstance(value, str) else dict.fromkeys(value))
            ]
        except ValueError as error:
            raise ValueError(f"{flag.spelling(name)} {error}") from None
        resolved[name] = paths[0] if isinstance(value, str) else tuple(paths)
    return resolved


def change_settings(settings: Settings, changes: dict[str, Any]) -> Settings:
    """The settings of a resumed search. Raises ValueError, naming each, for what cannot change.

    What was trained stays comparable with what is trained next: data, splits, images and networks stay.
    """
    changes = {name: OLD_VALUES.get(value, value) if FLAGS[name].known else value for name, value in changes.items()}
    refused = [
        f"{FLAGS[name].spelling(name)} (is {getattr(settings, name)!r}, got {value!r})"
        for name, value in changes.items()
        if FLAGS[name].on_resume == "fixed" and value != getattr(settings, name)
    ]
    if refused:
        raise ValueError(f"these cannot change in a resumed search: {', '.join(refused)}. Start a new search for them.")
    for name, value in changes.items():
        if FLAGS[name].on_resume == "grows" and value < getattr(settings, name):
            raise ValueError(
                f"{FLAGS[name].spelling(name)} can only grow in a resumed search: "
                f"is {getattr(settings, name)}, got {value}"
            )
    if "passes" in changes:
        enough = SAMPLERS["one-factor"].most_trials * changes["passes"]
        changes = {"num_samples": max(settings.num_samples, enough)} | changes
    return dataclasses.replace(settings, **changes)

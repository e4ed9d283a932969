"""Holds every choice that is fixed for one search, checks it, and turns it to and from JSON."""

import dataclasses
import difflib
import hashlib
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tune_sketch.data import DATASETS
from tune_sketch.data.request import DataRequest
from tune_sketch.data.splits import PROTOCOLS, SPLIT_BY
from tune_sketch.search_spaces import SPACES

WEIGHTS = ("auto", "imagenet", "none")
STRATEGIES = {  # how the next configuration is found, see tune_sketch/strategies.py
    "rung-tpe": "by the values at one rung: the best crossed with random ones, and a model (TPE)",
    "one-factor": "the study's own procedure",
    "random": "uniform in the space",
    "tpe": "TPE told each trial's last value, as Optuna is usually wired to ASHA",
}
MOST_TRIALS_OF_A_PASS = 20  # of one-factor
FIRST_RUNG_FRACTION = 0.06  # of max_epochs; what won in simulation on LCBench, see benchmarks/search_quality.py


@dataclass(frozen=True)
class SearchSettings:
    """Every choice fixed for one search. What varies per trial is in search_spaces/, machines in cluster.yaml.

    Raises ValueError (name, rule and value in the message) when a choice is impossible.
    """

    model: str
    data: str
    image_px: int
    num_samples: int
    max_epochs: int
    grace_epochs: int
    classes: tuple[str, ...] | int | None = None
    per_class: int | None = None
    split_by: str = "photo"
    protocol: str = "standard"
    invert: bool = True
    skip_bad_images: bool = False
    download: bool = False
    weights: str = "auto"
    strategy: str = "rung-tpe"
    passes: int = 1  # of one-factor
    warm_start: tuple[str, ...] = ()  # run directories of earlier searches
    reduction_factor: int = 3
    max_concurrent: int | None = None
    cpus_per_trial: float | None = None  # None: one core, or a GPU's share of the cores
    gpus_per_trial: float | None = None  # None: one GPU where there is one
    time_budget_seconds: float | None = None
    gpu_hours: float | None = None
    min_gain: float | None = None  # of validation top-1, a fraction
    seed: int = 0
    confirm_top: int = 2
    confirm_seeds: int = 3
    frozen_views: int = 0  # augmented views to reuse, see CachePolicy; 0: only where nothing is augmented
    checkpoint_epochs: int = 1
    max_failures: int = 3

    def __post_init__(self) -> None:
        check_known("--model", self.model, SPACES)
        check_known("--split-by", self.split_by, SPLIT_BY)
        check_known("--protocol", self.protocol, PROTOCOLS)
        check_known("--strategy", self.strategy, STRATEGIES)
        check_at_least("passes", self.passes, 1)
        if self.passes > 1 and self.strategy != "one-factor":
            raise ValueError(f"--passes is only for --strategy one-factor, got --strategy {self.strategy}")
        if self.warm_start and self.strategy == "one-factor":
            raise ValueError(
                "--warm-start is not for --strategy one-factor, which begins with the study's configuration"
            )
        if self.download and self.data != "quickdraw":
            raise ValueError(f"--download is only for --data quickdraw, got --data {self.data}")
        for name in ("image_px", "num_samples", "max_epochs", "grace_epochs", "confirm_seeds", "checkpoint_epochs"):
            check_at_least(name, getattr(self, name), 1)
        for name in ("per_class", "max_concurrent"):
            if getattr(self, name) is not None:
                check_at_least(name, getattr(self, name), 1)
        check_at_least("image_px", self.image_px, 16)
        check_at_least("reduction_factor", self.reduction_factor, 2)
        check_at_least("confirm_top", self.confirm_top, 0)
        check_at_least("max_failures", self.max_failures, 0)
        check_at_least("frozen_views", self.frozen_views, 0)
        if isinstance(self.classes, int):
            check_at_least("classes", self.classes, 2)
        if self.classes is not None and not isinstance(self.classes, int) and len(self.classes) < 2:
            raise ValueError(f"--classes needs at least two classes to tell apart, got {list(self.classes)}")
        if self.grace_epochs > self.max_epochs:
            raise ValueError(
                f"--grace-epochs must be at most --max-epochs: got {self.grace_epochs} > {self.max_epochs}"
            )
        if self.time_budget_seconds is not None and not self.time_budget_seconds > 0:
            raise ValueError(f"--time-budget must be positive, got {self.time_budget_seconds:g} s")
        if self.gpu_hours is not None and not self.gpu_hours > 0:
            raise ValueError(f"--gpu-hours must be positive, got {self.gpu_hours:g}")
        if self.min_gain is not None and not 0 <= self.min_gain < 1:
            raise ValueError(f"--min-gain must be a fraction of at least 0 and under 1, got {self.min_gain:g}")
        if self.cpus_per_trial is not None and not 0 < self.cpus_per_trial < math.inf:
            raise ValueError(f"--cpus-per-trial must be positive, got {self.cpus_per_trial:g}")
        if self.gpus_per_trial is not None and not 0 <= self.gpus_per_trial < math.inf:
            raise ValueError(f"--gpus-per-trial must be 0 or more, got {self.gpus_per_trial:g}")
        if self.gpus_per_trial is not None and self.gpus_per_trial > 1 and self.gpus_per_trial % 1:
            raise ValueError(f"--gpus-per-trial above 1 must be a whole number, got {self.gpus_per_trial:g}")

    @property
    def num_processes(self) -> int:
        """Processes of one training: one for each of its GPUs."""
        return max(1, int(self.gpus_per_trial or 1))

    @property
    def num_retrainings(self) -> int:
        """Trainings after the search: the study's configuration and the best, on each fresh seed."""
        return (self.confirm_top + 1) * self.confirm_seeds

    def to_json(self) -> dict[str, Any]:
        """All settings as JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "SearchSettings":
        """The settings that `to_json` gave. Raises ValueError for an unknown name."""
        known = [field.name for field in dataclasses.fields(cls)]
        for name in values:
            check_known("setting", name, known)
        values = values | {k: tuple(v) for k, v in values.items() if isinstance(v, list)}  # JSON has no tuples
        return cls(**values)

    def data_request(self) -> DataRequest:
        """What identifies the decoded data set of this search."""
        return DataRequest(
            data=self.data,
            image_px=self.image_px,
            classes=self.classes,
            per_class=self.per_class,
            invert=self.invert,
            skip_bad_images=self.skip_bad_images,
            download=self.download,
        )


def check_paths(settings: SearchSettings) -> None:
    """Raises ValueError when the data or the weights are not there (a resumed search may do without the originals)."""
    if settings.data not in DATASETS and not Path(settings.data).exists():
        raise ValueError(
            f"--data must be an existing path or one of {', '.join(DATASETS)}, got {settings.data!r}"
            + did_you_mean(settings.data, DATASETS)
        )
    for run in settings.warm_start:
        if not (Path(run) / "search.json").is_file():
            raise ValueError(f"--warm-start must name run directories, and {run} has no search.json")
    if settings.weights not in WEIGHTS and not Path(settings.weights).is_file():
        raise ValueError(f"--weights must be a weights file or one of {', '.join(WEIGHTS)}, got {settings.weights!r}")


def default_choices(data: str, model: str) -> dict[str, Any]:
    """Defaults that suit the data set: minutes on a laptop for the doodles, the study's sizes for a real folder.

    The study (Tables 1 to 3) trained at 224 px, the baseline for 80 epochs.
    """
    if data == "doodles":
        small: dict[str, Any] = {"protocol": "small", "image_px": 32, "confirm_seeds": 2}
        if model == "baseline":
            return small | {"per_class": 60, "num_samples": 16, "max_epochs": 27}
        # A large network learns from scratch within minutes only what is easily told apart.
        small |= {"classes": ("bicycle", "envelope", "fish", "ladder", "sun", "umbrella"), "per_class": 240}
        return small | {"num_samples": 8, "max_epochs": 4, "confirm_top": 1}
    return {"image_px": 224, "num_samples": 50, "max_epochs": 80 if model == "baseline" else 50}


def default_grace_epochs(max_epochs: int) -> int:
    """The first rung: about 6 % of the full budget, at least one epoch."""
    return max(1, round(FIRST_RUNG_FRACTION * max_epochs))


def derive_seed(*parts: object) -> int:
    """A 31-bit seed from named parts, the same on every machine and Python version."""
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") >> 1


def parse_duration(text: str) -> float:
    """Seconds from "90", "45s", "30m", "2h", "1.5h" or "3d". Raises ValueError otherwise."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd]?)", text.strip())
    if not match:
        raise ValueError(f'a duration must look like "45s", "30m", "2h" or "3d", got {text!r}')
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}[match[2]]


def check_run_name(name: str) -> str:
    """The name unchanged. Raises ValueError unless it is one plain folder name."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise ValueError(
            "--name must be one folder name of letters, digits, '.', '_' or '-' that begins with a letter or digit, "
            f"got {name!r}"
        )
    return name


def check_known(what: str, name: object, known: Iterable[object]) -> None:
    """Raises ValueError that lists the known names when `name` is not one of them."""
    names = [str(k) for k in known]
    if name not in names:
        raise ValueError(f"{what} must be one of {', '.join(names)}, got {name!r}" + did_you_mean(str(name), names))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A suggestion to append to an error message, or nothing."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def check_at_least(name: str, value: float, least: float) -> None:
    """Raises ValueError when a number is under its least value."""
    if not value >= least:
        raise ValueError(f"--{name.replace('_', '-')} must be at least {least}, got {value}")

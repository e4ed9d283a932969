"""Turns the flags of `python -m tune_sketch.search` into settings; the only place that knows the flags."""

import argparse
from pathlib import Path
from typing import Any, NoReturn

from tune_sketch.config.settings import (
    MOST_TRIALS_OF_A_PASS,
    STRATEGIES,
    WEIGHTS,
    SearchSettings,
    check_known,
    check_paths,
    check_run_name,
    default_choices,
    default_grace_epochs,
    did_you_mean,
    parse_duration,
)
from tune_sketch.data import DATASETS
from tune_sketch.data.splits import PROTOCOLS, SPLIT_BY
from tune_sketch.search_spaces import SPACES


class Parser(argparse.ArgumentParser):
    """argparse that takes no abbreviations and suggests the flag that was probably meant."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(allow_abbrev=False, **kwargs)

    def error(self, message: str) -> NoReturn:
        if message.startswith("unrecognized arguments: "):
            unknown = message.removeprefix("unrecognized arguments: ").split()[0].split("=")[0]
            message += did_you_mean(unknown, self._option_string_actions)
        self.exit(2, f"error: {message}\n(try --help)\n")


def build_parser() -> Parser:
    """The parser of the search command. A flag that is left out takes a default that suits the data set."""
    parser = Parser(
        prog="python -m tune_sketch.search",
        description="Find the best way to train a sketch classifier: search, retrain the best on fresh seeds, "
        "read the test split once, write a report.",
    )
    add = parser.add_argument
    add("--model", nargs="+", metavar="M", help=f"one or more of {', '.join(SPACES)}, or all")
    add("--data", help=f"{', '.join(DATASETS)}, a folder of class folders, of .ndjson or .npy files, a zip or tar")
    add("--classes", nargs="+", metavar="C", help="class names, or one number N: the first N classes")
    add("--per-class", type=int, metavar="N", help="at most N drawings of each class")
    add("--split-by", metavar="HOW", help=f"{' or '.join(SPLIT_BY)}: drawings of a photo stay together, or not (leaky)")
    add("--protocol", metavar="P", help=f"sizes of the splits: {', '.join(PROTOCOLS)}")
    add("--image-px", type=int, metavar="N", help="side of the square image")
    add("--no-invert", action="store_true", default=None, help="keep dark ink on light paper (an ablation)")
    add("--skip-bad-images", action="store_true", default=None, help="go on without unreadable images, and record them")
    add("--download", action="store_true", default=None, help="with --data quickdraw: fetch the chosen classes")
    add("--weights", metavar="W", help=f"initial weights: {', '.join(WEIGHTS)} or a file")
    add("--name", type=str, help="name of the run directory")
    add("--runs-dir", metavar="DIR", help="where run directories are made (default: runs)")
    add("--strategy", metavar="S", help=f"how to search: {', '.join(STRATEGIES)} (default: rung-tpe)")
    add("--passes", type=int, metavar="N", help="of --strategy one-factor: go N times over all factors (default: 1)")
    add("--warm-start", nargs="+", metavar="RUN", help="try the best of earlier searches, of any data or model, first")
    add("--num-samples", type=int, metavar="N", help="number of trials")
    add("--max-epochs", type=int, metavar="N", help="most epochs of one trial")
    add("--grace-epochs", type=int, metavar="N", help="no trial is stopped earlier (default: 6 %% of --max-epochs)")
    add("--reduction-factor", type=int, metavar="N", help="one trial in N passes a rung (default: 3)")
    add("--max-concurrent", type=int, metavar="N", help="at most N trials at once")
    add("--cpus-per-trial", type=float, metavar="N", help="CPU cores of one trial")
    add("--gpus-per-trial", type=float, metavar="N", help="GPUs of one trial: 2 split each batch, 0.5 shares a GPU")
    add("--time-budget", metavar="T", help="end the search, not the retraining, after T: 45s, 30m, 2h, 3d")
    add("--gpu-hours", type=float, metavar="N", help="end the search after N GPU-hours of training (or worker-hours)")
    add("--min-gain", type=float, metavar="G", help="end it when 10 more trials may gain under G of top-1, as 0.002")
    add("--seed", type=int, metavar="N", help="seed of everything that is drawn by chance (default: 0)")
    add("--confirm-top", type=int, metavar="K", help="retrain the K best, beside the study's configuration")
    add("--confirm-seeds", type=int, metavar="N", help="fresh seeds of a finalist on average: more where it is close")
    add("--frozen-views", type=int, metavar="V", help="keep what frozen layers give for V augmented views (default: 0)")
    add("--checkpoint-epochs", type=int, metavar="N", help="epochs between checkpoints (default: 1)")
    add("--max-failures", type=int, metavar="N", help="retries of a trial whose process died (default: 3)")
    add("--storage", metavar="URL", help="the study's database: postgresql://user@host/name (default: in the run)")
    add("--resume", metavar="RUN", help="go on with a run directory; with larger numbers, extend it")
    add("--address", metavar="A", help="a Ray cluster: auto, or its address (default: this machine alone)")
    add("--dry-run", action="store_true", help="print the plan and the expected hours, and start nothing")
    return parser


def read_models(names: list[str] | None) -> list[str]:
    """The chosen models, each once. Raises ValueError for an unknown one."""
    if not names:
        raise ValueError(f"--model is needed: one or more of {', '.join(SPACES)}, or all")
    if names == ["all"]:
        return list(SPACES)
    for name in names:
        check_known("--model", name, [*SPACES, "all"])
    if "all" in names:
        raise ValueError(f"--model all cannot be combined with other models, got {' '.join(names)}")
    return list(dict.fromkeys(names))


def given_choices(arguments: argparse.Namespace) -> dict[str, Any]:
    """The settings that were given as flags, by their names in SearchSettings."""
    same = "data per_class split_by protocol image_px skip_bad_images download weights strategy passes num_samples"
    same += " max_epochs grace_epochs reduction_factor max_concurrent cpus_per_trial gpus_per_trial seed confirm_top"
    same += " gpu_hours min_gain confirm_seeds frozen_views checkpoint_epochs max_failures"
    choices: dict[str, Any] = {name: getattr(arguments, name) for name in same.split()}
    choices["classes"] = read_classes(arguments.classes)
    if arguments.warm_start is not None:
        choices["warm_start"] = tuple(str(Path(run).resolve()) for run in dict.fromkeys(arguments.warm_start))
    choices["invert"] = None if arguments.no_invert is None else False
    if arguments.time_budget is not None:
        try:
            choices["time_budget_seconds"] = parse_duration(arguments.time_budget)
        except ValueError as error:
            raise ValueError(f"--time-budget: {error}") from None
    return {name: value for name, value in choices.items() if value is not None}


def read_classes(names: list[str] | None) -> tuple[str, ...] | int | None:
    """Class names, or a number of classes when one whole number was given."""
    if names is None:
        return None
    if len(names) == 1 and names[0].lstrip("-").isdigit():
        return int(names[0])
    return tuple(dict.fromkeys(names))


def make_settings(model: str, choices: dict[str, Any]) -> SearchSettings:
    """The given choices filled up with defaults that suit the data set and the model."""
    data = choices.get("data", "doodles")
    for name in ("data", "weights"):
        if choices.get(name) and Path(choices[name]).exists() and choices[name] not in (*DATASETS, *WEIGHTS):
            choices = choices | {name: str(Path(choices[name]).resolve())}
    if choices.get("strategy") == "one-factor":
        choices = {"num_samples": MOST_TRIALS_OF_A_PASS * choices.get("passes", 1)} | choices
    filled = {"model": model, "data": data, **default_choices(data, model), **choices}
    if "grace_epochs" not in filled and filled["max_epochs"] >= 1:
        filled["grace_epochs"] = default_grace_epochs(filled["max_epochs"])
    settings = SearchSettings(**({"grace_epochs": 1} | filled))
    check_paths(settings)
    return settings


def check_combination(arguments: argparse.Namespace) -> None:
    """Raises ValueError for flags that do not go together."""
    if arguments.resume is not None:
        for flag in ("model", "name", "runs_dir"):
            if getattr(arguments, flag) is not None:
                raise ValueError(
                    f"--{flag.replace('_', '-')} cannot be given with --resume: it comes from the run directory"
                )
    elif arguments.name is not None:
        check_run_name(arguments.name)

"""Turns command lines into settings: the flags are generated from the fields of Settings."""

import argparse
import re
import sys
import types
import typing
from collections.abc import Sequence
from typing import Any, NoReturn

from tune_sketch.config.checks import check_model, check_run_name, did_you_mean
from tune_sketch.config.settings import FLAGS, OLD_VALUES, Settings, resolve_paths
from tune_sketch.config.several import check_networks, settings_of_networks
from tune_sketch.data import DATASETS
from tune_sketch.data.names import written_name
from tune_sketch.data.paths import path_argument
from tune_sketch.search_spaces import SPACES, is_timm

LISTING = "timm:?"  # begins a pattern of names
MODEL_HELP = (
    f"one of {', '.join(SPACES)}; several or all: one search, whose budget flows to the best; timm:NAME: any of "
    "timm's, 'timm:?PATTERN' lists them"
)


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
    add("--model", nargs="+", metavar="M", help=MODEL_HELP)
    add("--data", help=f"{', '.join(DATASETS)}, a folder of class folders, of .ndjson or .npy files, a zip or tar")
    add_settings(parser, [name for name in FLAGS if name != "data"])
    add("--name", type=str, help="name of the run directory")
    add("--runs-dir", type=path_argument, metavar="DIR", help="where run directories are made (default: runs)")
    add("--storage", metavar="URL", help="keep the record in a database: postgresql://user@host/name")
    add("--resume", type=path_argument, metavar="RUN", help="go on with a run; with larger numbers, extend it")
    add("--retry-failed", action="store_true", help="with --resume: train again what failed or ran out of memory")
    add("--address", metavar="A", help="a Ray cluster: auto, or its address (default: this machine alone)")
    add("--dry-run", action="store_true", help="print the plan and the expected hours, and start nothing")
    return parser


def add_settings(parser: argparse.ArgumentParser, names: typing.Iterable[str]) -> None:
    """Add the flags of these settings."""
    hints = typing.get_type_hints(Settings)
    for name in names:
        flag = FLAGS[name]
        spellings = [flag.spelling(name)]
        how: dict[str, Any] = {"help": flag.help, "dest": name, "metavar": flag.metavar}
        kind = plain_type(hints[name])
        if kind is bool:
            del how["metavar"]
            how |= {"action": "store_const", "const": not spellings[0].startswith("--no-")}
        elif kind is tuple:
            how["nargs"] = "+"
        elif flag.parse is None:
            how["type"] = kind
        parser.add_argument(*spellings, **how)
        if flag.old_name is not None:
            parser.add_argument(flag.old_name, **(how | {"help": argparse.SUPPRESS, "action": OldName}))


class OldName(argparse.Action):
    """A flag by the name that it had in the version before: it works, and its new name is said."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        print(f"note: {option} is now called {FLAGS[self.dest].spelling(self.dest)}", file=sys.stderr)
        setattr(namespace, self.dest, values)


def plain_type(hint: Any) -> type:
    """The type that a flag's text is turned into: int of `int | None`, tuple of `tuple[str, ...] | int | None`."""
    first = typing.get_args(hint)[0] if isinstance(hint, types.UnionType) else hint
    kind: type = typing.get_origin(first) or first
    return kind


def read_models(names: list[str] | None) -> list[str]:
    """The chosen models, each once. Raises ValueError for an unknown one."""
    if not names:
        raise ValueError(f"--model is needed: one or more of {', '.join(SPACES)}, timm:NAME, or all")
    if names == ["all"]:
        return list(SPACES)
    for name in names:
        if name != "all":
            check_model(name)
    of_timm = [name for name in names if is_timm(name)]
    if of_timm:
        from tune_sketch.trainables.networks.timm_names import check_name  # imports torch

        for name in of_timm:
            check_name(name)
    if "all" in names:
        raise ValueError(f"--model all cannot be combined with other models, got {' '.join(names)}")
    return list(dict.fromkeys(names))


def list_models(names: list[str]) -> list[str]:
    """A line for each network of timm that fits a pattern. Raises ValueError where none does."""
    from tune_sketch.trainables.networks.timm_names import list_networks  # imports torch

    others = [name for name in names if not name.startswith(LISTING)]
    if others:
        raise ValueError(f"--model {LISTING}PATTERN lists and does nothing else, got {' '.join(others)} beside it")
    return [line for name in names for line in list_networks(name.removeprefix(LISTING))]


def given_choices(arguments: argparse.Namespace) -> dict[str, Any]:
    """The settings that were given as flags, by name."""
    choices = {name: getattr(arguments, name, None) for name in FLAGS}
    for name, flag in FLAGS.items():
        text = choices[name]
        if flag.parse is not None and text is not None:
            try:
                choices[name] = flag.parse(text)
            except ValueError as error:
                raise ValueError(f"{flag.spelling(name)}: {error}") from None
    for name in ("warm_start", "track"):
        names: list[str] | None = choices[name]
        if names is not None:
            choices[name] = tuple(dict.fromkeys(names))
    for name, value in choices.items():
        if FLAGS[name].known is not None and value in OLD_VALUES:
            spelling = FLAGS[name].spelling(name)
            print(f"note: {spelling} {value} is now called {spelling} {OLD_VALUES[value]}", file=sys.stderr)
    choices["classes"] = read_classes(choices["classes"])
    return {name: value for name, value in choices.items() if value is not None}


def read_classes(names: list[str] | None) -> tuple[str, ...] | int | None:
    """Class names, or a number of classes when one whole number was given."""
    if names is None:
        return None
    if len(names) == 1 and re.fullmatch(r"-?\d+", names[0], re.ASCII):
        return int(names[0])
    return tuple(dict.fromkeys(map(written_name, names)))


def make_settings(model: str, choices: dict[str, Any]) -> Settings:
    """The settings of one model's search, with its paths checked."""
    return resolve_paths(Settings(model=model, **choices))


def make_settings_of_each(models: Sequence[str], choices: dict[str, Any]) -> list[Settings]:
    """The settings of each network of a search, with their paths checked."""
    if len(models) == 1:
        return [make_settings(models[0], choices)]
    return check_networks(settings_of_networks(models, **choices))


def check_combination(arguments: argparse.Namespace) -> None:
    """Raises ValueError for flags that do not go together."""
    if arguments.resume is not None:
        for flag in ("model", "name", "runs_dir"):
            if getattr(arguments, flag) is not None:
                raise ValueError(
                    f"--{flag.replace('_', '-')} cannot be given with --resume: it comes from the run directory"
                )
    elif arguments.retry_failed:
        raise ValueError("--retry-failed is for a search that exists: give it with --resume RUN")
    elif arguments.name is not None:
        check_run_name(arguments.name)

"""The settings of a search over several networks: which they share, and which are each one's own."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tune_sketch.config.settings import FLAGS, WEIGHTS, Settings, resolve_paths

OWN = ("max_epochs", "grace_epochs")  # of each network, beside its name; every other setting is the search's


def settings_of_networks(models: Sequence[str], **choices: Any) -> list[Settings]:
    """The settings of each network of one search, from the names of networks and the search's other choices.

    What was not chosen takes the defaults of the first network other than `baseline`, so that all see the same
    drawings; each has its own most epochs and first rung, and the number of trials, where no budget ends the search, is
    the sum of the networks' own. Raises ValueError for a choice that is impossible.
    """
    each = [Settings(model, **choices) for model in dict.fromkeys(models)]
    leading = next((settings for settings in each if settings.model != "baseline"), each[0])
    shared = {name: getattr(leading, name) for name in FLAGS if name not in OWN}
    if not choices.get("num_samples") and not leading.has_budget:
        shared["num_samples"] = sum(settings.num_samples for settings in each)
    return [replace(settings, **shared) for settings in each]


def check_networks(each: Sequence[Settings]) -> list[Settings]:
    """The settings of each network, their paths made absolute. Raises ValueError where they are not of one search."""
    each = [resolve_paths(settings) for settings in each]
    first, *others = each
    for other in others:
        for name, flag in FLAGS.items():
            if name not in OWN and getattr(other, name) != getattr(first, name):
                raise ValueError(
                    f"networks of one search share {flag.spelling(name)}, got {getattr(first, name)!r} for "
                    f"{first.model} and {getattr(other, name)!r} for {other.model}"
                )
    if others and first.weights not in WEIGHTS:
        raise ValueError(
            f"--weights must be one of {', '.join(WEIGHTS)} where several networks are searched: a file or a run is of "
            f"one of them, got {first.weights}"
        )
    names = [settings.model for settings in each]
    if len(set(names)) < len(names):
        raise ValueError(f"each network is searched once, got {', '.join(names)}")
    return each

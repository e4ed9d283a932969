"""Reads the bundled experience: what was best in recorded trainings of a network on other drawings."""

import json
from functools import cache
from importlib.resources import files
from typing import Any

from tune_sketch.storage.facts import EarlierTrial


def read_experience(model: str, pretrained: bool) -> tuple[EarlierTrial, ...]:
    """The best configurations known of a network with loaded weights, or from scratch; none of most networks.

    They were chosen by `python -m benchmarks.experience`, on drawings of which no result is reported.
    """
    known = read_file().get(model, {}).get("pretrained" if pretrained else "from scratch")
    if known is None:
        return ()
    return tuple(
        EarlierTrial(known["drawings"], entry["training"], entry["params"], known["max_epochs"])
        for entry in known["best"]
    )


@cache
def read_file() -> dict[str, Any]:
    """The content of search_spaces/experience.json."""
    content: dict[str, Any] = json.loads(files("tune_sketch.search_spaces").joinpath("experience.json").read_text())
    return content

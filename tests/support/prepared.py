"""Gets data ready as a search would, at a small size."""

from pathlib import Path

from tune_sketch.config.plan import Inputs, prepare_inputs
from tune_sketch.config.settings import Settings


def prepare_small(root: Path | str, **choices) -> Inputs:
    return prepare_inputs(Settings("baseline", data=str(root), **({"image_px": 16, "protocol": "small"} | choices)))

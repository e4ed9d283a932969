"""Loads the chosen network of a run, with all that it needs to know about its drawings."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tune_sketch.storage.run_directory import RunDirectory

if TYPE_CHECKING:
    from torch import nn

NUM_SHOWN = 5
FEWEST_CELLS = 4  # along a side of an activation map: a coarser one does not say where on the paper


@dataclass(frozen=True)
class BestModel:
    """The network in best/ and its preprocessing. Images are uint8 [N, image_px, image_px] as it was trained on."""

    network: "nn.Module"
    architecture: str
    class_names: list[str]
    image_px: int
    invert: bool
    pretrained: bool
    device: str

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Float32 [N, num_classes], rows sum to 1."""
        from tune_sketch.trainables.evaluation import predict_probabilities

        return predict_probabilities(
            self.network, images, device=self.device, invert=self.invert, pretrained=self.pretrained
        )

    @cached_property
    def cam_layer(self) -> str:
        """The module whose output is mapped back onto the paper: the deepest with enough cells, or else the finest."""
        from tune_sketch.trainables.networks.registry import known_architecture

        layers = known_architecture(self.architecture).cam_layers
        for name in layers:
            shapes: list[tuple[int, ...]] = []
            hook = self.network.get_submodule(name).register_forward_hook(
                lambda module, inputs, output, shapes=shapes: shapes.append(tuple(output.shape))
            )
            self.predict(np.zeros((1, self.image_px, self.image_px), np.uint8))
            hook.remove()
            if min(shapes[0][2:]) >= FEWEST_CELLS:
                return name
        return layers[-1]


def load_best(path: Path) -> BestModel:
    """Load best/model.json and best/weights.pt of a run directory, running no code from them.

    Raises ValueError when the run has no finished network yet, or when its files do not fit together.
    """
    run = RunDirectory(path)
    run.read_search()
    model_file, weights_file = run.best / "model.json", run.best / "weights.pt"
    if not (model_file.is_file() and weights_file.is_file()):
        raise ValueError(
            f"{path} has no network yet: its search or its retraining has not ended. "
            f"Go on with: python -m tune_sketch.search --resume {path}"
        )
    info: dict[str, Any] = json.loads(model_file.read_text())
    import torch

    from tune_sketch.trainables.networks.build import build_model
    from tune_sketch.trainables.speed.devices import default_device

    network = build_model(info["architecture"], len(info["class_names"]), dropout=info["dropout"])
    try:
        network.load_state_dict(torch.load(weights_file, weights_only=True, map_location="cpu"))
    except (RuntimeError, EOFError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{weights_file} does not hold the weights that {model_file} describes: {reason}") from error
    network.eval()
    return BestModel(
        network=network,
        architecture=info["architecture"],
        class_names=info["class_names"],
        image_px=info["image_px"],
        invert=info["invert"],
        pretrained=info["pretrained"],
        device=default_device(),
    )


def best_classes(probabilities: np.ndarray, class_names: Sequence[str]) -> list[tuple[str, float]]:
    """The (at most) five most probable classes of one row, best first."""
    order = np.argsort(-probabilities, kind="stable")[:NUM_SHOWN]
    return [(class_names[label], float(probabilities[label])) for label in order]

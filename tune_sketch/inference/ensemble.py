"""Loads the winner's retrained networks together, as one that answers with the mean of their probabilities."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tune_sketch.inference.model import Classifier, load_classifier
from tune_sketch.storage.run_directory import RunDirectory
from tune_sketch.trainables.networks.build import build_model


class Ensemble(nn.Module):
    """Networks of one architecture with one output: the logarithm of their mean probability.

    The softmax of that is the mean itself, so it stands wherever a network does.
    """

    def __init__(self, networks: list[nn.Module], temperatures: list[float]) -> None:
        super().__init__()
        self.networks, self.temperatures = nn.ModuleList(networks), temperatures
        self.architecture = getattr(networks[0], "architecture", None)  # says how its input is normalised

    def forward(self, inputs: Tensor) -> Tensor:
        """Float [B, 3, H, W] to float32 [B, classes]."""
        pairs = zip(self.networks, self.temperatures, strict=True)
        members = [(network(inputs).float() / temperature).softmax(dim=1) for network, temperature in pairs]
        mean = torch.stack(members).mean(dim=0)
        return mean.clamp_min(torch.finfo(mean.dtype).tiny).log()


def load_ensemble(run_path: str | Path) -> Classifier:
    """The mean of the winner's retrained networks, which take their number times the time of one.

    Raises ValueError as `load_classifier` does, and where the run has fewer than two such networks.
    """
    classifier, run = load_classifier(run_path), RunDirectory(Path(run_path))
    info: dict[str, Any] = json.loads((run.best / "model.json").read_text(encoding="utf-8"))
    temperatures: dict[str, float] = info.get("ensemble", {})
    if len(temperatures) < 2:
        raise ValueError(
            f"{run_path} has no two networks of its winner: --ensemble needs a search of this version with "
            "--retraining-seeds of at least 2"
        )
    networks = []
    for key in temperatures:
        network = build_model(
            info["architecture"], len(info["class_names"]), dropout=info["dropout"], head=info["head"]
        )
        file = run.retrained / f"{key}.pt"
        try:
            network.load_state_dict(torch.load(file, weights_only=True, map_location="cpu"))
        except (RuntimeError, EOFError, OSError) as error:
            raise ValueError(f"{file} does not hold a network of the winner: {str(error).splitlines()[0]}") from error
        networks.append(network.eval())
    return replace(classifier, network=Ensemble(networks, list(temperatures.values())), temperature=1.0)

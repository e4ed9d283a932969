"""Loads the winner's retrained networks together, as one that answers with the mean of their probabilities."""

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from tune_sketch.inference.model import Classifier, load_classifier, read_model_file
from tune_sketch.storage.run_directory import RunDirectory
from tune_sketch.trainables.networks.build import build_model
from tune_sketch.trainables.networks.weights import load_all


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
    info = read_model_file(run.best / "model.json")
    if len(info.ensemble) < 2:
        raise ValueError(
            f"{run_path} has no two networks of its winner: --ensemble needs a search of this version with "
            "--retraining-seeds of at least 2"
        )
    networks = []
    for key in info.ensemble:
        network = build_model(
            info.architecture, len(info.class_names), dropout=info.dropout, head=info.head, image_px=info.image_px
        )
        file = run.kept_weights(key)
        try:
            load_all(network, file)
        except (ValueError, OSError) as error:
            raise ValueError(f"{file} does not hold a network of the winner: {error}") from error
        networks.append(network.eval())
    return replace(classifier, network=Ensemble(networks, list(info.ensemble.values())), temperature=1.0)

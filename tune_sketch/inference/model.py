"""Loads the chosen network of a run and classifies drawings with it."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import numpy as np
from PIL import Image
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from tune_sketch.commands import command_text
from tune_sketch.data.bounds import parsing, read_regular
from tune_sketch.data.request import LARGEST_IMAGE_PX, SMALLEST_IMAGE_PX
from tune_sketch.inference.photos import Picture, read_picture
from tune_sketch.storage.facts import describe_first
from tune_sketch.storage.run_directory import RunDirectory
from tune_sketch.trainables.networks.find_weights import RUN_WEIGHTS, weights_file_of

if TYPE_CHECKING:
    import torch
    from torch import nn

NUM_SHOWN = 5
MIN_CELLS = 4  # per side of an activation map: a coarser one does not show the place on the paper


class Predictions(NamedTuple):
    """The classes of n pictures.

    labels: the most probable class of each picture.
    probabilities: float32 [n, num_classes], columns in the order of the classifier's class_names; rows sum to 1.
    """

    labels: list[str]
    probabilities: np.ndarray


@dataclass(frozen=True)
class Classifier:
    """A trained network with its preprocessing.

    invert: it was trained on ink 255 on 0, else on ink 0 on 255. pretrained: it began with ImageNet weights.
    temperature: by which its logits are divided, so that probabilities are as certain as they are right.
    pen_width_fraction, extent_fraction, extent_range, ink_strength: of the training drawings, so that others can be
        drawn like them. Width of the lines, and of the longer side its median and quartiles, over the picture's side;
        and how dark lines are, as `measure_strength` says. Without the last two, nothing is known of them.
    """

    network: "nn.Module"
    architecture: str
    class_names: list[str]
    image_px: int
    invert: bool
    pretrained: bool
    device: str
    pen_width_fraction: float = 0.025
    extent_fraction: float = 0.8
    extent_range: Sequence[float] = ()
    ink_strength: float = 1.0
    temperature: float = 1.0

    def predict(self, images: Picture | Iterable[Picture]) -> Predictions:
        """Classify one picture or several, each prepared as by `prepare`. Raises ValueError as it does."""
        squares = self.prepare(images)
        if not len(squares):
            return Predictions([], np.zeros((0, len(self.class_names)), np.float32))
        probabilities = self.compute_probabilities(squares)
        labels = [self.class_names[label] for label in probabilities.argmax(axis=1)]
        return Predictions(labels, probabilities)

    def prepare(self, images: Picture | Iterable[Picture]) -> np.ndarray:
        """uint8 [N, image_px, image_px] of one picture or several: what the network sees, and an exported one takes.

        images: paths, PIL images or uint8 arrays [H, W], [H, W, 3] or [H, W, 4]. Each is prepared as the training
        drawings were: photos of paper, scans, dark or light ink. Raises ValueError for a picture that is unreadable,
        blank or of another kind, with its position and the reason.
        """
        squares = []
        for position, image in enumerate(_list_pictures(images)):
            try:
                squares.append(read_picture(image, self.image_px, self.invert))
            except ValueError as error:
                raise ValueError(f"images[{position}]: {error}") from error
        return np.array(squares, np.uint8).reshape(-1, self.image_px, self.image_px)

    def compute_probabilities(self, squares: np.ndarray) -> np.ndarray:
        """Float32 [N, num_classes], rows sum to 1, of prepared drawings uint8 [N, image_px, image_px]."""
        from tune_sketch.trainables.evaluation import predict_probabilities  # torch, see `load_classifier`

        return predict_probabilities(
            self.network,
            squares,
            device=self.device,
            invert=self.invert,
            pretrained=self.pretrained,
            temperature=self.temperature,
        )

    @cached_property
    def cam_layer(self) -> str:
        """The layer for Grad-CAM: the deepest whose output has at least 4 x 4 cells, or else the finest."""
        from tune_sketch.trainables.networks.registry import known_architecture  # torch, see `load_classifier`

        architecture = known_architecture(self.architecture, self.image_px)
        to_maps = architecture.to_maps or (lambda layer, output: output)
        for name in architecture.cam_layers:
            shapes: list[Sequence[int]] = []
            hook = self.network.get_submodule(name).register_forward_hook(
                lambda _, __, output, name=name, shapes=shapes: shapes.append(to_maps(name, output).shape)
            )
            self.compute_probabilities(np.zeros((1, self.image_px, self.image_px), np.uint8))
            hook.remove()
            if min(shapes[0][2:]) >= MIN_CELLS:
                return name
        return architecture.cam_layers[-1]


def _list_pictures(images: Picture | Iterable[Picture]) -> list[Picture]:
    """One picture as a list of it. An array [N, H, W] or [N, H, W, 3 or 4] is several pictures."""
    if isinstance(images, np.ndarray):
        is_one = images.ndim < 3 or (images.ndim == 3 and images.shape[2] in (3, 4))
        return [images] if is_one else list(images)
    return [images] if isinstance(images, str | Path | Image.Image) else list(images)


def load_classifier(run_path: str | Path) -> Classifier:
    """The winner of a run: best/model.json and its weights, read without running any code from them.

    Raises ValueError when the path is not a run, has no finished network yet, or has files that do not fit together.
    """
    run = RunDirectory(Path(run_path))
    if not run.search_json.is_file():
        raise ValueError(f"{run_path} is not a run directory: it has no search.json")
    if not has_network(run):
        raise ValueError(
            f"{run_path} has no network yet: its search or its retraining has not ended. "
            f"Go on with: {command_text('search', '--resume', run.path)}"
        )
    return load_best(run.best)


def has_network(run: RunDirectory) -> bool:
    """Whether a run has come to its winner."""
    return (run.best / "model.json").is_file() and weights_file_of(run.best).is_file()


def write_weights(folder: Path, tensors: "dict[str, torch.Tensor]") -> None:
    """Write weights.safetensors whole or not at all; an earlier version's weights.pt makes room for it."""
    from safetensors.torch import save  # not save_file, whose files nobody else may read

    temporary = folder / f".{RUN_WEIGHTS}.{os.getpid()}.tmp"
    try:
        temporary.write_bytes(save({name: tensor.contiguous() for name, tensor in tensors.items()}))
        os.replace(temporary, folder / RUN_WEIGHTS)
    finally:
        temporary.unlink(missing_ok=True)
    (folder / "weights.pt").unlink(missing_ok=True)


def load_best(folder: Path) -> Classifier:
    """The network in a folder such as a run's best/. Raises ValueError when its files do not fit together."""
    model_file, weights_file = folder / "model.json", weights_file_of(folder)
    info = read_model_file(model_file)
    # torch takes two seconds to import, which the errors above need not wait for.
    from tune_sketch.trainables.networks.build import build_model
    from tune_sketch.trainables.networks.weights import check_values, read_weights
    from tune_sketch.trainables.speed.devices import default_device

    with parsing(model_file):
        network = build_model(
            info.architecture,
            len(info.class_names),
            dropout=info.dropout,
            head=info.head,
            image_px=info.image_px,
        )
    try:
        weights = read_weights(weights_file)
        for name, tensor in weights.items():
            check_values(name, tensor)
        network.load_state_dict(weights)
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{weights_file} does not hold the weights that {model_file} describes: {reason}") from error
    network.eval()
    return Classifier(
        network=network,
        architecture=info.architecture,
        class_names=info.class_names,
        image_px=info.image_px,
        invert=info.invert,
        pretrained=info.pretrained,
        device=default_device(),
        pen_width_fraction=info.pen_width_fraction,
        extent_fraction=info.extent_fraction,
        extent_range=info.extent_range,
        ink_strength=info.ink_strength,
        temperature=info.temperature,
    )


@dataclass(frozen=True)
class ModelFile:
    """The parts of best/model.json that are needed to use the network."""

    __pydantic_config__ = ConfigDict(strict=True)  # it holds more, for people

    architecture: str
    class_names: Annotated[list[str], Field(min_length=2, max_length=100_000)]
    image_px: Annotated[int, Field(ge=SMALLEST_IMAGE_PX, le=LARGEST_IMAGE_PX)]
    invert: bool
    pretrained: bool
    dropout: Annotated[float, Field(ge=0, lt=1)]
    head: str = "plain"  # older runs know no other
    pen_width_fraction: Annotated[float, Field(gt=0, le=1)] = 0.025  # not in 0.1, as the next
    extent_fraction: Annotated[float, Field(ge=0, le=1)] = 0.8
    extent_range: list[Annotated[float, Field(ge=0, le=1)]] = field(default_factory=list)  # nor in early runs of 0.2
    ink_strength: Annotated[float, Field(ge=0, le=1)] = 1.0
    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0


def read_model_file(path: Path) -> ModelFile:
    """best/model.json. Raises ValueError that says where it is damaged."""
    content = read_regular(path)
    try:
        with parsing(path):
            found: ModelFile = TypeAdapter(ModelFile).validate_json(content)
    except ValueError as error:
        if isinstance(error.__cause__, ValidationError):
            raise ValueError(f"{path} is damaged: {describe_first(error.__cause__)}") from None
        raise
    return found


def best_classes(probabilities: np.ndarray, class_names: Sequence[str]) -> list[tuple[str, float]]:
    """The (at most) five most probable classes of one row, best first."""
    order = np.argsort(-probabilities, kind="stable")[:NUM_SHOWN]
    return [(class_names[label], float(probabilities[label])) for label in order]

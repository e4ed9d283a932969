"""From drawings to probabilities, and from probabilities to the paper's metrics."""

import contextlib

import numpy as np
import torch
from torch import Tensor, nn

from tune_sketch.trainables.batches import BatchSource, SplitArrays, ordered_batches
from tune_sketch.trainables.networks.architecture import IMAGENET, Architecture, architecture_of, check_image_px
from tune_sketch.trainables.networks.freezing import TrainableTail
from tune_sketch.trainables.speed.devices import (
    autocast,
    free_cached_memory,
    is_out_of_memory,
    memory_format,
    move_to_device,
    send,
)

Channels = tuple[float, float, float]
# For new weights: paper stays 0 when it is dark, as the paper wanted it, and ink becomes 4, because it covers
# few pixels. The baseline without batch norm learns clearly worse from ImageNet's shift of the paper (25
# drawings of 20 Sketchy classes at 48 px, 20 epochs, 2 seeds: top-1 0.25, here 0.43, ink as 1: 0.43 but slower).
NEW_WEIGHTS_STD = 0.25


def to_unit(images: Tensor) -> Tensor:
    """uint8 [B, H, W] to float [B, 1, H, W] in [0, 1], where augmentation works; stored activations stay so."""
    return images.unsqueeze(1).float() / 255 if images.dtype == torch.uint8 else images


def input_statistics(architecture: Architecture | None, pretrained: bool) -> tuple[Channels, Channels]:
    """(mean, deviation) of red, green and blue, by which drawings in [0, 1] are normalised for a network."""
    normalisation = IMAGENET if architecture is None else architecture.normalisation
    if pretrained and normalisation is not None:
        return normalisation.mean, normalisation.std
    return (0.0, 0.0, 0.0), (NEW_WEIGHTS_STD, NEW_WEIGHTS_STD, NEW_WEIGHTS_STD)


def normalise(images: Tensor, model: nn.Module, pretrained: bool) -> Tensor:
    """Float [B, 1, H, W] in [0, 1] to the network's input [B, 3, H, W]: the grey channel three times.

    The same in training, validation and prediction: with the mean and deviation that the network's published
    weights were trained with for pretrained ones, ImageNet's for a network that is none of ours; divided by a
    constant for new weights, and for a network without published ones. Whether ink is bright or dark is kept.
    Stored activations come from normalised drawings and are given back as they are.
    """
    if isinstance(model, TrainableTail):
        return images
    mean, std = input_statistics(architecture_of(model), pretrained)
    layout = memory_format(images.device)
    if any(mean):
        shift, scale = (
            send(torch.tensor(values, dtype=images.dtype), images.device).view(1, 3, 1, 1) for values in (mean, std)
        )
        return ((images - shift) / scale).contiguous(memory_format=layout)  # one channel broadcasts to three
    return (images / NEW_WEIGHTS_STD).expand(-1, 3, -1, -1).contiguous(memory_format=layout)


def compute_logits(
    model: nn.Module, source: BatchSource, *, pretrained: bool, batch_size: int, fast: bool = True
) -> Tensor:
    """Float32 logits [N, classes] of a split in its order, in evaluation mode, on the source's device.

    fast: in the number format of training; else in float32.
    A batch that does not fit into the device's memory is halved; raises torch.OutOfMemoryError at one.
    """
    device = source.device
    num_images = len(source.split)
    model.eval()
    while True:
        try:
            logits = []
            with torch.inference_mode():
                for images, _ in source.iterate(ordered_batches(num_images, batch_size)):
                    inputs = normalise(to_unit(images), model, pretrained)
                    with autocast(model, device) if fast else contextlib.nullcontext():
                        logits.append(model(inputs).float())
            return torch.cat(logits)
        except RuntimeError as error:
            if not is_out_of_memory(error) or batch_size == 1:
                raise
        batch_size //= 2
        free_cached_memory(device)


def predict_probabilities(
    model: nn.Module,
    images: np.ndarray | Tensor,
    *,
    device: str | torch.device,
    invert: bool,
    pretrained: bool,
    temperature: float = 1.0,
    batch_size: int = 256,
) -> np.ndarray:
    """Float32 [N, classes], each row summing to 1, for uint8 images [N, H, W].

    `invert` and `pretrained` are those of the training. (`invert` says how the pixels are to be read; the
    network has learned its polarity, so nothing is changed here.) The logits are divided by the temperature.
    """
    logits = predict_logits(model, images, device=device, pretrained=pretrained, batch_size=batch_size)
    return (logits / temperature).softmax(dim=1).cpu().numpy()


def predict_logits(
    model: nn.Module,
    images: np.ndarray | Tensor,
    *,
    device: str | torch.device,
    pretrained: bool,
    batch_size: int = 256,
) -> Tensor:
    """Float32 [N, classes] on the device, for uint8 images [N, H, W].

    A CPU computes them in float32: the same on every processor, and what the exported network gives.
    """
    check_image_px(model, min(images.shape[1:]))
    device = torch.device(device)
    move_to_device(model, device)
    labels = np.zeros(len(images), dtype=np.int64)
    source = BatchSource(SplitArrays(images, labels), device)
    return compute_logits(model, source, pretrained=pretrained, batch_size=batch_size, fast=device.type != "cpu")


def count_hits(logits: Tensor, labels: Tensor) -> Tensor:
    """int64 [3, classes]: the drawings, the predictions and the hits of each class. The counts of parts add up."""
    predicted = logits.argmax(dim=1)
    counted = (labels, predicted, labels[predicted == labels])
    return torch.stack([values.bincount(minlength=logits.shape[1]) for values in counted])


def summarise_hits(counts: Tensor) -> tuple[float, float]:
    """(balanced accuracy, macro F1) of what `count_hits` counted, equal to those of `evaluate`."""
    drawings, predictions, hits = counts.cpu().double()
    recall = (hits / drawings)[drawings > 0]
    f1 = (2 * hits / (drawings + predictions))[drawings + predictions > 0]
    return recall.mean().item(), f1.mean().item()


def evaluate(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """The paper's metrics, top1, top5, loss, and macro precision, recall, f1; and balanced_accuracy.

    All but loss are in [0, 1]. probabilities: float [N, classes], rows sum to 1; labels: int [N]. loss is the mean
    cross-entropy in nats. With fewer than five classes top5 is 1. The macro means are scikit-learn's
    (zero_division=0), over all classes that occur among labels or predictions. balanced_accuracy is the mean recall of
    the classes that occur among labels, so that each of them counts alike, however many drawings it has.
    """
    from sklearn.metrics import precision_recall_fscore_support, recall_score  # a second that training need not wait

    probabilities = np.asarray(probabilities, dtype=np.float64)
    labels = np.asarray(labels)
    if probabilities.ndim != 2 or len(probabilities) != len(labels) or len(labels) == 0:
        raise ValueError(
            "probabilities must be [N, classes] and labels [N] with N > 0, "
            f"got {probabilities.shape} and {labels.shape}"
        )
    if not np.allclose(probabilities.sum(axis=1), 1, atol=1e-3):
        raise ValueError("probabilities must sum to 1 in every row; got logits?")
    best = np.argsort(-probabilities, axis=1, kind="stable")[:, :5]  # [N, 5], equal ones by class number
    of_label = probabilities[np.arange(len(labels)), labels]
    precision, recall, f1, _ = precision_recall_fscore_support(labels, best[:, 0], average="macro", zero_division=0)
    return {
        "top1": float((best[:, 0] == labels).mean()),
        "top5": float((best == labels[:, None]).any(axis=1).mean()),
        "loss": float(-np.log(np.maximum(of_label, np.finfo(np.float32).tiny)).mean()),
        "precision": float(precision),
        "recall": float(recall),
        "f1": float(f1),
        "balanced_accuracy": float(
            recall_score(labels, best[:, 0], labels=np.unique(labels), average="macro", zero_division=0)
        ),
    }

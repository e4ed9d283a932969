"""Builds a network by its name: new or given weights, its first layers frozen if asked."""

from collections.abc import Sequence

from torch import nn

from tune_sketch.trainables.networks.freezing import freeze_layers
from tune_sketch.trainables.networks.heads import change_head
from tune_sketch.trainables.networks.registry import known_architecture
from tune_sketch.trainables.networks.weights import load_weights


def build_model(
    name: str,
    num_classes: int,
    *,
    dropout: float = 0.0,
    freeze: str = "none",
    head: str = "plain",
    weights_path: str | None = None,
    image_px: int | None = None,
    class_names: Sequence[str] | None = None,
) -> nn.Module:
    """A network that maps float [B, 3, H, W] to logits [B, num_classes].

    New weights come from torch's global generator: call `torch.manual_seed` first to repeat them.
    `freeze` names one of the architecture's freeze points, `head` one of `HEADS`; `weights_path` is a file of
    `find_weights.resolve_weights`, read without running code. image_px: side of the drawings, for networks of timm
    that are built for one size. class_names: of the drawings; the head of a run's weights is loaded only for the same.
    """
    architecture = known_architecture(name, image_px)
    if num_classes < 2:
        raise ValueError(f"num_classes must be at least 2, got {num_classes}")
    if not 0.0 <= dropout < 1.0:
        raise ValueError(f"dropout must be in [0, 1), got {dropout}")
    model = architecture.build(num_classes, dropout)
    change_head(model, architecture, head)
    # fit and predict ask it for limits and for what is fast
    model.architecture = architecture  # type: ignore[assignment]
    if weights_path is not None:
        load_weights(model, weights_path, class_names)
    freeze_layers(model, architecture, freeze)
    return model

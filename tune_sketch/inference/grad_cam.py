"""Shows where a network looks: Grad-CAM over drawings, and the channels of its first layer."""

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib import colormaps
from PIL import Image
from torch import Tensor

from tune_sketch.inference.model import Classifier
from tune_sketch.trainables.evaluation import normalise, to_unit
from tune_sketch.trainables.networks.registry import known_architecture

BATCH_SIZE = 32


def map_activations(model: Classifier, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Float32 [N, H, W] in [0, 1]: the evidence for the classes `labels` [N] in uint8 images [N, H, W].

    Grad-CAM (Selvaraju et al. 2017, arXiv 1610.02391, equations 1 and 2) at the model's `cam_layer`, of a transformer
    with the tokens at their places on the paper; each map is divided by its own maximum. A map without a positive
    value is all 0.
    """
    to_maps = known_architecture(model.architecture, model.image_px).to_maps or (lambda layer, output: output)
    maps = []
    for start in range(0, len(images), BATCH_SIZE):
        rows = slice(start, start + BATCH_SIZE)
        logits, output = compute_with_layer(model, images[rows], model.cam_layer)
        targets = torch.as_tensor(np.asarray(labels[rows]), device=model.device)
        of_targets = logits.gather(1, targets[:, None]).sum()
        (gradients,) = torch.autograd.grad(of_targets, output)
        activations, slopes = to_maps(model.cam_layer, output.detach()), to_maps(model.cam_layer, gradients)
        coarse = (slopes.mean((2, 3), keepdim=True) * activations).sum(dim=1, keepdim=True).relu()
        fine = F.interpolate(coarse, tuple(images.shape[1:]), mode="bilinear")[:, 0]
        highest = fine.amax(dim=(1, 2), keepdim=True)
        maps.append((fine / highest.clamp_min(torch.finfo(fine.dtype).tiny)).cpu().numpy())
    return np.concatenate(maps) if maps else np.zeros(images.shape, np.float32)


def compute_with_layer(model: Classifier, images: np.ndarray, layer: str) -> tuple[Tensor, Tensor]:
    """(logits [N, classes], the output of a layer, of which they have gradients) of uint8 images [N, H, W]."""
    network = model.network.to(model.device).eval()
    kept: list[Tensor] = []

    def keep(module: torch.nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        kept.append(output if output.requires_grad else output.requires_grad_())  # frozen layers have none
        return output.clone()  # what follows may compute in place

    hook = network.get_submodule(layer).register_forward_hook(keep)
    try:
        logits: Tensor = network(
            normalise(to_unit(torch.from_numpy(np.array(images)).to(model.device)), network, model.pretrained)
        )
    finally:
        hook.remove()
    return logits, kept[0]


def first_layer_channels(model: Classifier, image: np.ndarray) -> np.ndarray:
    """Float32 [channels, h, w]: output of the first convolution, after ReLU, for one uint8 image [H, W]."""
    layer = known_architecture(model.architecture, model.image_px).first_layer
    _, channels = compute_with_layer(model, image[None], layer)
    first: np.ndarray = channels[0].detach().clamp_min(0).cpu().numpy()
    return first


def enlarge_map(activation: np.ndarray, side_px: int) -> np.ndarray:
    """Float32 [side_px, side_px] of an activation map float32 [H, W], for a drawing shown larger than the input."""
    large = Image.fromarray(np.asarray(activation, np.float32)).resize((side_px, side_px), Image.Resampling.BILINEAR)
    return np.asarray(large).clip(0, 1)


def overlay(image: np.ndarray, activation: np.ndarray, invert: bool) -> np.ndarray:
    """uint8 [H, W, 3]: dark ink on white paper, coloured where the activation map (in [0, 1]) is high."""
    ink = (image if invert else 255 - image)[..., None] / 255.0
    strength = 0.75 * activation[..., None]
    colors = colormaps["YlOrRd"](activation)[..., :3]
    paper = (1 - strength) + strength * colors
    rounded: np.ndarray = np.rint(255 * paper * (1 - 0.92 * ink)).astype(np.uint8)
    return rounded

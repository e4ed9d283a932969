"""Shows where a network looks: Grad-CAM over drawings (by captum), and the channels of its first layer."""

import numpy as np
import torch
from captum.attr import LayerActivation, LayerAttribution, LayerGradCam
from matplotlib import colormaps
from PIL import Image

from tune_sketch.inference.model import Classifier
from tune_sketch.trainables.evaluation import normalise, to_unit
from tune_sketch.trainables.networks.registry import known_architecture

BATCH_SIZE = 32


def map_activations(model: Classifier, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Float32 [N, H, W] in [0, 1]: the evidence for the classes `labels` [N] in uint8 images [N, H, W].

    Grad-CAM (Selvaraju et al. 2017, arXiv 1610.02391) at the model's `cam_layer`; each map is divided by its own
    maximum. A map without a positive value is all 0.
    """
    network = model.network.to(model.device).eval()
    explainer = LayerGradCam(network, network.get_submodule(model.cam_layer))
    maps = []
    for start in range(0, len(images), BATCH_SIZE):
        batch = torch.from_numpy(np.array(images[start : start + BATCH_SIZE])).to(model.device)
        inputs = normalise(to_unit(batch), network, model.pretrained)
        target = torch.as_tensor(np.asarray(labels[start : start + BATCH_SIZE]), device=model.device)
        coarse = explainer.attribute(inputs, target=target, relu_attributions=True)
        fine = LayerAttribution.interpolate(coarse, tuple(images.shape[1:]), "bilinear")[:, 0]
        highest = fine.amax(dim=(1, 2), keepdim=True)
        maps.append((fine / highest.clamp_min(torch.finfo(fine.dtype).tiny)).detach().cpu().numpy())
    return np.concatenate(maps) if maps else np.zeros(images.shape, np.float32)


def first_layer_channels(model: Classifier, image: np.ndarray) -> np.ndarray:
    """Float32 [channels, h, w]: output of the first convolution, after ReLU, for one uint8 image [H, W]."""
    network = model.network.to(model.device).eval()
    layer = network.get_submodule(known_architecture(model.architecture).first_layer)
    batch = torch.from_numpy(np.array(image)[None]).to(model.device)
    with torch.no_grad():
        inputs = normalise(to_unit(batch), network, model.pretrained)
        channels: torch.Tensor = LayerActivation(network, layer).attribute(inputs)
    first: np.ndarray = channels[0].clamp_min(0).cpu().numpy()
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

"""Random changes of a whole batch of drawings at once, each drawing with its own."""

import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tune_sketch.trainables.evaluation import to_unit
from tune_sketch.trainables.networks.freezing import TrainableTail
from tune_sketch.trainables.speed.devices import send

STRENGTHS = ("rotation_degrees", "width_shift", "height_shift", "shear_degrees", "zoom", "flip", "pen_width")


def augment(images: Tensor, config: Mapping[str, Any], generator: torch.Generator, invert: bool) -> Tensor:
    """Change every drawing at random; the same shape comes back.

    images: float [B, 1, H, W] in [0, 1], on any device; `invert`: ink is 1 on paper 0, else ink 0 on paper 1.
    config: the strengths, 0 (or False) each for none. The kinds and their distributions are those of
    Keras' ImageDataGenerator, which the paper used, all uniform in plus or minus the strength:
    rotation_degrees, shear_degrees in degrees; width_shift, height_shift in fractions of the side;
    zoom: each axis is scaled by 1 plus or minus zoom; flip: left to right for one drawing in two.
    pen_width (ours) in [0, 1]: how far lines are blended with lines thicker or thinner by a pen's touch.
    generator: a CPU generator; the draws are few numbers per drawing and so are the same on every device.
    """
    draws = torch.rand(len(images), 8, generator=generator)  # always eight: strengths do not shift each other
    warps = any(config[name] for name in STRENGTHS if name != "pen_width")
    if not warps and not config["pen_width"]:
        return images
    ink = images if invert else 1 - images  # from here on what is not drawn is 0, also outside the paper
    if warps:
        matrices = send(warp_matrices(draws, config).to(images.dtype), images.device)
        grid = sampling_grid(matrices, ink.shape[-2], ink.shape[-1])
        ink = F.grid_sample(ink, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    if config["pen_width"]:
        ink = change_pen_width(ink, (2 * draws[:, 7] - 1) * config["pen_width"])
    return ink if invert else 1 - ink


def warp_matrices(draws: Tensor, config: Mapping[str, Any]) -> Tensor:
    """One affine map per drawing, [B, 2, 3], from numbers uniform in [0, 1), [B, 8].

    It maps a point of the new picture to the point of the old one where its ink comes from, both in
    [-1, 1] from edge to edge. The product of all steps is sampled once, so the drawing is blurred once.
    """
    centred = 2 * draws - 1  # [B, 8] in [-1, 1)
    angle = centred[:, 0] * math.radians(config["rotation_degrees"])
    shear = centred[:, 1] * math.radians(config["shear_degrees"])
    scale_x = 1 + centred[:, 2] * config["zoom"]
    scale_y = 1 + centred[:, 3] * config["zoom"]
    if config["flip"]:
        scale_x = torch.where(draws[:, 4] < 0.5, -scale_x, scale_x)
    shift_x = centred[:, 5] * 2 * config["width_shift"]  # the side is 2 long in these coordinates
    shift_y = centred[:, 6] * 2 * config["height_shift"]
    # rotation @ shear @ scale, with Keras' shear [[1, -sin], [0, cos]]
    cos, sin = angle.cos(), angle.sin()
    upper = torch.stack([cos * scale_x, (-cos * shear.sin() - sin * shear.cos()) * scale_y, shift_x], dim=1)
    lower = torch.stack([sin * scale_x, (-sin * shear.sin() + cos * shear.cos()) * scale_y, shift_y], dim=1)
    return torch.stack([upper, lower], dim=1)


def sampling_grid(matrices: Tensor, height_px: int, width_px: int) -> Tensor:
    """The point that each new pixel's ink comes from, [B, H, W, 2] as (x, y), for affine maps [B, 2, 3].

    The same as `F.affine_grid(align_corners=False)`, ten times faster on a CPU: a point is a sum of one
    number per column and one per row.
    """
    x = (2 * torch.arange(width_px, device=matrices.device) + 1) / width_px - 1  # centres of the pixels
    y = (2 * torch.arange(height_px, device=matrices.device) + 1) / height_px - 1
    grid = matrices.new_empty(len(matrices), height_px, width_px, 2)
    for axis in (0, 1):
        by_column = matrices[:, axis, 0, None] * x  # [B, W]
        by_row = matrices[:, axis, 1, None] * y + matrices[:, axis, 2, None]  # [B, H]
        torch.add(by_column[:, None, :], by_row[:, :, None], out=grid[..., axis])
    return grid


def change_pen_width(ink: Tensor, amounts: Tensor) -> Tensor:
    """Blend each drawing with its thicker (amount > 0) or thinner (amount < 0) self.

    ink: float [B, 1, H, W], 0 where nothing is drawn; amounts: [B] in [-1, 1], on the CPU. Thicker is the largest value
    within `radius_px`, thinner the smallest, which is minus the largest of the negative: so one pass
    serves the batch. The radius grows with the picture: 1 px up to 143 px, 2 px up to 239 px.
    """
    radius_px = max(1, round(ink.shape[-1] / 96))
    amounts = send(amounts.to(ink.dtype), ink.device).view(-1, 1, 1, 1)
    signs = torch.where(amounts < 0, -1.0, 1.0).to(ink.dtype)
    return ink.lerp(largest_nearby(ink * signs, radius_px) * signs, amounts.abs())


def largest_nearby(images: Tensor, radius_px: int) -> Tensor:
    """For each pixel the largest value in the square that reaches `radius_px` to each side.

    The same as max pooling with stride 1, about ten times faster on a CPU: pixels and their neighbours
    are compared as whole pictures shifted by one.
    """
    for dim in (-2, -1) * radius_px:
        num_px = images.shape[dim]
        widened = images.clone()
        after, before = widened.narrow(dim, 1, num_px - 1), widened.narrow(dim, 0, num_px - 1)
        torch.maximum(after, images.narrow(dim, 0, num_px - 1), out=after)
        torch.maximum(before, images.narrow(dim, 1, num_px - 1), out=before)
        images = widened
    return images


def augment_batch(
    images: Tensor, model: nn.Module, config: Mapping[str, Any], generator: torch.Generator, invert: bool
) -> Tensor:
    """A batch as the network is trained on it: float [B, 1, H, W], augmented, or stored activations unchanged."""
    return images if isinstance(model, TrainableTail) else augment(to_unit(images), config, generator, invert)

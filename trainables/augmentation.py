"""Random changes of a whole batch of drawings at once, each drawing with its own."""

import math
from collections.abc import Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tune_sketch.trainables.networks.freezing import TrainableTail
from tune_sketch.trainables.speed.devices import send

STRENGTHS = ("rotation_degrees", "width_shift", "height_shift", "shear_degrees", "zoom", "flip", "pen_width")
BATCHES_AT_ONCE = 64  # whose changes are drawn together: enough for a GPU, and little memory with any set


@dataclass(frozen=True)
class Changes:
    """Random changes of N drawings, in their order, on the device that makes them. None: of a kind there is none."""

    matrices: Tensor | None  # [N, 2, 3]: see `warp_matrices`
    pen_widths: Tensor | None  # [2, N, 1, 1, 1]: 1 for thicker or -1 for thinner, and how far, in [0, 1]

    def split(self, sizes: Sequence[int]) -> list["Changes"]:
        """The changes of so many drawings after each other: of batches."""
        nothing = [None] * len(sizes)
        matrices = nothing if self.matrices is None else torch.split(self.matrices, list(sizes))
        pen_widths = nothing if self.pen_widths is None else torch.split(self.pen_widths, list(sizes), dim=1)
        return [Changes(*parts) for parts in zip(matrices, pen_widths, strict=True)]


def draw_changes(
    num_drawings: int, config: Mapping[str, Any], generator: torch.Generator, device: torch.device
) -> Changes:
    """Draw the changes of some drawings.

    config: the strengths, 0 (or False) each for none. The kinds and their distributions are those of
    Keras' ImageDataGenerator, which the paper used, all uniform in plus or minus the strength:
    rotation_degrees, shear_degrees in degrees; width_shift, height_shift in fractions of the side;
    zoom: each axis is scaled by 1 plus or minus zoom; flip: left to right for one drawing in two.
    pen_width (ours) in [0, 1]: how far lines are blended with lines thicker or thinner by a pen's touch.
    generator: a CPU generator; the draws are few numbers per drawing and so are the same on every device.
    """
    draws = torch.rand(num_drawings, 8, generator=generator)  # always eight: strengths do not shift each other
    matrices = pen_widths = None
    if any(config[name] for name in STRENGTHS if name != "pen_width"):
        matrices = send(warp_matrices(draws, config), device)
    if config["pen_width"]:
        amounts = (2 * draws[:, 7] - 1) * config["pen_width"]
        signs = torch.where(amounts < 0, -1.0, 1.0)
        pen_widths = send(torch.stack([signs, amounts.abs()]).view(2, -1, 1, 1, 1), device)
    return Changes(matrices, pen_widths)


def draw_for_batches(
    model: nn.Module,
    batches: Sequence[Sized],
    config: Mapping[str, Any],
    generator: torch.Generator,
    device: torch.device,
) -> Iterator[Changes]:
    """The changes of batches of drawings, for a model's training: the same draws as batch by batch.

    Those of many batches are drawn and sent at once, which takes less of a step than those of one. Stored activations
    are not changed, and nothing is drawn for them.
    """
    if isinstance(model, TrainableTail):
        yield from [Changes(None, None)] * len(batches)
        return
    for start in range(0, len(batches), BATCHES_AT_ONCE):
        sizes = [len(batch) for batch in batches[start : start + BATCHES_AT_ONCE]]
        yield from draw_changes(sum(sizes), config, generator, device).split(sizes)


def augment(images: Tensor, changes: Changes, invert: bool) -> Tensor:
    """Change every drawing; the same shape comes back.

    images: float [B, 1, H, W] in [0, 1], on any device; changes: of B drawings, drawn for that device. `invert`: ink is
    1 on paper 0, else ink 0 on paper 1.
    """
    if changes.matrices is None and changes.pen_widths is None:
        return images
    ink = images if invert else 1 - images  # from here on what is not drawn is 0, also outside the paper
    if changes.matrices is not None:
        grid = sampling_grid(changes.matrices, ink.shape[-2], ink.shape[-1])
        ink = F.grid_sample(ink, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    if changes.pen_widths is not None:
        signs, amounts = changes.pen_widths
        ink = change_pen_width(ink, signs, amounts)
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
    x, y = (centres(num_px, matrices.device) for num_px in (width_px, height_px))
    by_column = matrices[:, :, 0, None] * x  # [B, 2, W]
    by_row = matrices[:, :, 1, None] * y + matrices[:, :, 2, None]  # [B, 2, H]
    return (by_column[:, :, None, :] + by_row[:, :, :, None]).permute(0, 2, 3, 1)


@cache
def centres(num_px: int, device: torch.device) -> Tensor:
    """The centres of a row's or a column's pixels, in [-1, 1] from edge to edge."""
    return (2 * torch.arange(num_px, device=device) + 1) / num_px - 1


def change_pen_width(ink: Tensor, signs: Tensor, amounts: Tensor) -> Tensor:
    """Blend each drawing with its thicker (sign 1) or thinner (sign -1) self.

    ink: float [B, 1, H, W], 0 where nothing is drawn; signs, amounts in [0, 1]: [B, 1, 1, 1]. Thicker is the largest
    value within `radius_px`, thinner the smallest, which is minus the largest of the negative: so one pass
    serves the batch. The radius grows with the picture: 1 px up to 143 px, 2 px up to 239 px.
    """
    radius_px = max(1, round(ink.shape[-1] / 96))
    return ink.lerp(largest_nearby(ink * signs, radius_px) * signs, amounts)


def largest_nearby(images: Tensor, radius_px: int) -> Tensor:
    """For each pixel the largest value in the square that reaches `radius_px` to each side.

    The same as max pooling with stride 1, about ten times faster on a CPU: pixels and their neighbours
    are compared as whole pictures shifted by one. A GPU has one operation to launch instead of six or more.
    """
    if images.device.type != "cpu":
        return F.max_pool2d(images, 2 * radius_px + 1, stride=1, padding=radius_px)
    for dim in (-2, -1) * radius_px:
        num_px = images.shape[dim]
        widened = images.clone()
        after, before = widened.narrow(dim, 1, num_px - 1), widened.narrow(dim, 0, num_px - 1)
        torch.maximum(after, images.narrow(dim, 0, num_px - 1), out=after)
        torch.maximum(before, images.narrow(dim, 1, num_px - 1), out=before)
        images = widened
    return images

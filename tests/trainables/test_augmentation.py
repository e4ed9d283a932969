"""Augmentation: exact geometry, identity at strength zero, and paper where nothing is drawn."""

import math

import pytest
import torch
import torch.nn.functional as F

from tune_sketch.trainables import augmentation
from tune_sketch.trainables.augmentation import (
    STRENGTHS,
    Changes,
    augment,
    change_pen_width,
    draw_changes,
    draw_for_batches,
    largest_nearby,
    sampling_grid,
    warp_matrices,
)
from tune_sketch.trainables.networks.freezing import TrainableTail
from tune_sketch.trainables.networks.registry import ARCHITECTURES

NOTHING = {name: 0.0 for name in STRENGTHS} | {"flip": False}
STRONG = {
    "rotation_degrees": 30.0,
    "width_shift": 0.2,
    "height_shift": 0.2,
    "shear_degrees": 20.0,
    "zoom": 0.3,
    "flip": True,
    "pen_width": 0.5,
}


def drawings(num: int = 64, image_px: int = 33) -> torch.Tensor:
    """[num, 1, image_px, image_px] with a bar left of the middle; ink 1."""
    images = torch.zeros(num, 1, image_px, image_px)
    images[:, :, image_px // 4 : image_px // 2, image_px // 4 : image_px // 3] = 1
    return images


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def change(images: torch.Tensor, config: dict, generator: torch.Generator, invert: bool) -> torch.Tensor:
    """The drawings with changes drawn for them."""
    return augment(images, draw_changes(len(images), config, generator, images.device), invert)


@pytest.mark.parametrize("at_once", [1, 2, 64])
def test_changes_drawn_for_many_batches_are_those_drawn_batch_by_batch(
    at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(augmentation, "BATCHES_AT_ONCE", at_once)
    images, sizes = torch.rand(37, 1, 33, 33), [16, 16, 5]
    for config in (STRONG, NOTHING | {"pen_width": 0.5}, NOTHING | {"zoom": 0.1}, NOTHING):
        changes = draw_for_batches(torch.nn.Identity(), list(map(range, sizes)), config, seeded(), images.device)
        together = [augment(part, own, True) for part, own in zip(images.split(sizes), changes, strict=True)]
        generator = seeded()
        one_by_one = [change(part, config, generator, True) for part in images.split(sizes)]
        assert torch.equal(torch.cat(together), torch.cat(one_by_one))


def test_nothing_is_drawn_for_stored_activations() -> None:
    generator = seeded()
    tail = TrainableTail(ARCHITECTURES["baseline"], [])
    changes = list(draw_for_batches(tail, [range(4), range(2)], STRONG, generator, torch.device("cpu")))
    assert changes == [Changes(None, None)] * 2
    assert torch.equal(generator.get_state(), seeded().get_state())


def test_no_strength_is_the_identity() -> None:
    images = drawings()
    assert change(images, NOTHING, seeded(), True) is images


def test_a_warp_by_nothing_samples_the_same_pixels() -> None:
    theta = warp_matrices(torch.rand(5, 8), NOTHING)
    assert torch.equal(theta, torch.eye(2, 3).expand(5, 2, 3))


@pytest.mark.parametrize("name", STRENGTHS)
def test_each_strength_changes_each_drawing_differently(name: str) -> None:
    images = drawings()
    changed = change(images, NOTHING | {name: STRONG[name]}, seeded(), True)
    assert changed.shape == images.shape
    differs = (changed - images).abs().amax(dim=(1, 2, 3)) > 1e-3
    if name == "flip":
        assert 16 < differs.sum() < 48
        assert torch.allclose(changed[differs], images[differs].flip(-1), atol=1e-5)
        assert torch.allclose(changed[~differs], images[~differs], atol=1e-5)
    else:
        assert differs.sum() > 50
        assert (changed[1:] - changed[:1]).abs().amax(dim=(1, 2, 3)).gt(1e-3).sum() > 50


def test_the_same_generator_state_gives_the_same_drawings() -> None:
    first, second, other = (change(drawings(), STRONG, seeded(seed), True) for seed in (1, 1, 2))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_values_stay_in_range_and_the_rim_is_paper() -> None:
    blank = torch.zeros(8, 1, 32, 32)
    assert change(blank, STRONG, seeded(), True).abs().max() == 0
    assert torch.allclose(change(blank + 1, STRONG, seeded(), False), blank + 1)
    noisy = change(torch.rand(8, 1, 32, 32), STRONG, seeded(), True)
    assert noisy.min() >= 0
    assert noisy.max() <= 1 + 1e-6


def test_polarity_changes_nothing_but_polarity() -> None:
    inverted = change(drawings(), STRONG, seeded(), True)
    plain = change(1 - drawings(), STRONG, seeded(), False)
    assert torch.allclose(inverted, 1 - plain, atol=1e-6)


def test_shift_is_a_fraction_of_the_side() -> None:
    draws = torch.full((1, 8), 0.5)  # 0.5 is the middle: no change
    draws[0, 5] = 1.0  # the most to one side
    theta = warp_matrices(draws, NOTHING | {"width_shift": 0.25, "height_shift": 0.25})
    assert torch.allclose(theta[0], torch.tensor([[1.0, 0.0, 0.5], [0.0, 1.0, 0.0]]))  # 2 is the whole side


def test_rotation_shear_and_zoom_multiply_in_keras_order() -> None:
    draws = torch.tensor([[1.0, 1.0, 1.0, 0.0, 0.9, 0.5, 0.5, 0.5]])
    config = NOTHING | {"rotation_degrees": 30.0, "shear_degrees": 20.0, "zoom": 0.1}
    angle, shear = math.radians(30), math.radians(20)
    rotate = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    lean = torch.tensor([[1.0, -math.sin(shear)], [0.0, math.cos(shear)]])
    expected = rotate @ lean @ torch.diag(torch.tensor([1.1, 0.9]))
    assert torch.allclose(warp_matrices(draws, config)[0, :, :2], expected, atol=1e-6)


def test_pen_width_by_hand() -> None:
    ink = torch.zeros(3, 1, 7, 7)
    ink[:, :, :, 2:5] = 1  # a bar, three wide
    signs, amounts = torch.tensor([1.0, -1.0, 1.0]), torch.tensor([0.5, 0.25, 0.0])
    changed = change_pen_width(ink, signs.view(-1, 1, 1, 1), amounts.view(-1, 1, 1, 1))[:, 0, 3]
    expected = torch.tensor(
        [
            [0.0, 0.5, 1.0, 1.0, 1.0, 0.5, 0.0],  # half way to a bar of five
            [0.0, 0.0, 0.75, 1.0, 0.75, 0.0, 0.0],  # a quarter of the way to a bar of one
            [0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0],
        ]
    )
    assert torch.allclose(changed, expected)


@pytest.mark.parametrize("shape", [(33, 33), (8, 20)])
def test_the_fast_forms_equal_torchs(shape: tuple[int, int]) -> None:
    images = torch.randn(3, 1, *shape)
    matrices = torch.randn(3, 2, 3)
    expected = F.affine_grid(matrices, list(images.shape), align_corners=False)
    assert torch.allclose(sampling_grid(matrices, *shape), expected, atol=1e-5)
    for radius_px in (1, 2, 3):
        expected = F.max_pool2d(images, 2 * radius_px + 1, stride=1, padding=radius_px)
        assert torch.equal(largest_nearby(images, radius_px), expected)

"""Several looks at one drawing instead of one: overlapping sections, weighted sections, mirror images.

The study names the first two as its future work: vote over several sections of a drawing, and weight the votes by
class-activation intensity, so that empty paper does not count.
"""

from collections.abc import Callable

import numpy as np

from tune_sketch.inference.model import BestModel

SECTION_FRACTION = 0.75  # side of a section; three by three of them overlap by two thirds
NUM_SECTIONS_PER_SIDE = 3


def section_slices(image_px: int) -> list[tuple[slice, slice]]:
    """Nine overlapping squares (rows, columns) that together cover the drawing."""
    side = max(1, round(SECTION_FRACTION * image_px))
    starts = np.linspace(0, image_px - side, NUM_SECTIONS_PER_SIDE).round().astype(int)
    return [(slice(top, top + side), slice(left, left + side)) for top in starts for left in starts]


def enlarge(sections: np.ndarray, image_px: int) -> np.ndarray:
    """uint8 [N, side, side] resampled to uint8 [N, image_px, image_px]."""
    import torch

    enlarged = torch.nn.functional.interpolate(
        torch.from_numpy(np.ascontiguousarray(sections))[:, None].float(), size=image_px, mode="bilinear"
    )
    return enlarged[:, 0].round().clamp(0, 255).to(torch.uint8).numpy()


def predict_sections(model: BestModel, images: np.ndarray) -> np.ndarray:
    """Float32 [sections, N, num_classes]: each section, enlarged to the network's size, on its own."""
    slices = section_slices(model.image_px)
    return np.stack([model.predict(enlarge(images[:, rows, cols], model.image_px)) for rows, cols in slices])


def vote_by_majority(by_section: np.ndarray) -> np.ndarray:
    """Float [N, num_classes]: each section's best class has one vote; the mean probability is one vote more.

    The last vote decides between classes with equally many, and orders those without any.
    """
    num_sections, _, num_classes = by_section.shape
    votes = np.eye(num_classes)[by_section.argmax(axis=2)].sum(axis=0)
    return (votes + by_section.mean(axis=0)) / (num_sections + 1)


def vote_by_sections(model: BestModel, images: np.ndarray) -> np.ndarray:
    """Majority of nine overlapping sections."""
    return vote_by_majority(predict_sections(model, images))


def vote_by_activation(model: BestModel, images: np.ndarray, by_section: np.ndarray | None = None) -> np.ndarray:
    """Mean of the sections' probabilities, each weighted by its share of the whole drawing's activation map."""
    from tune_sketch.inference.grad_cam import map_activations

    by_section = predict_sections(model, images) if by_section is None else by_section
    maps = map_activations(model, images, model.predict(images).argmax(axis=1))
    weights = np.stack([maps[:, rows, cols].sum(axis=(1, 2)) for rows, cols in section_slices(model.image_px)])
    weights = np.where(weights.sum(axis=0) > 0, weights, 1.0)  # nothing speaks for the class: all alike
    return np.einsum("sn,snc->nc", weights / weights.sum(axis=0), by_section)


def vote_by_flips(model: BestModel, images: np.ndarray) -> np.ndarray:
    """Mean of the drawing's and its mirror image's probabilities."""
    return (model.predict(images) + model.predict(np.ascontiguousarray(images[:, :, ::-1]))) / 2


VOTES: dict[str, Callable[[BestModel, np.ndarray], np.ndarray]] = {
    "sections": vote_by_sections,
    "cam": vote_by_activation,
    "flips": vote_by_flips,
}

"""Combines several predictions for one drawing: of overlapping sections, weighted sections, mirror images.

The paper names the first two as its future work: a vote over several sections of a drawing, and a vote weighted by
class-activation intensity, so that empty paper does not count.
"""

from collections.abc import Callable

import numpy as np

from tune_sketch.inference.model import Classifier

SECTION_FRACTION = 0.75  # side of a section; three by three of them overlap by two thirds
NUM_SECTIONS_PER_SIDE = 3


def section_slices(image_px: int) -> list[tuple[slice, slice]]:
    """Nine overlapping squares (rows, columns) that together cover the drawing."""
    side_px = max(1, round(SECTION_FRACTION * image_px))
    starts = np.linspace(0, image_px - side_px, NUM_SECTIONS_PER_SIDE).round().astype(int)
    return [(slice(top, top + side_px), slice(left, left + side_px)) for top in starts for left in starts]


def enlarge(sections: np.ndarray, image_px: int) -> np.ndarray:
    """uint8 [N, side, side] resampled to uint8 [N, image_px, image_px]."""
    import torch  # takes two seconds; the predict command imports this module to check its flags

    enlarged = torch.nn.functional.interpolate(
        torch.from_numpy(np.ascontiguousarray(sections))[:, None].float(), size=image_px, mode="bilinear"
    )
    return enlarged[:, 0].round().clamp(0, 255).to(torch.uint8).numpy()


def predict_sections(model: Classifier, images: np.ndarray) -> np.ndarray:
    """Float32 [num_sections, N, num_classes] of images uint8 [N, H, W]; each section is enlarged to the input size."""
    return np.stack(
        [
            model.compute_probabilities(enlarge(images[:, rows, columns], model.image_px))
            for rows, columns in section_slices(model.image_px)
        ]
    )


def vote_by_majority(by_section: np.ndarray) -> np.ndarray:
    """Float [N, num_classes]: each section's best class has one vote; the mean probability is one vote more.

    The last vote decides between classes with equal votes, and orders those without any.
    """
    num_sections, _, num_classes = by_section.shape
    votes = np.eye(num_classes)[by_section.argmax(axis=2)].sum(axis=0)
    shares: np.ndarray = (votes + by_section.mean(axis=0)) / (num_sections + 1)
    return shares


def vote_by_sections(model: Classifier, images: np.ndarray) -> np.ndarray:
    """Majority of nine overlapping sections."""
    return vote_by_majority(predict_sections(model, images))


def vote_by_activation(model: Classifier, images: np.ndarray, by_section: np.ndarray | None = None) -> np.ndarray:
    """Mean of the sections' probabilities, each weighted by its share of the whole drawing's activation map."""
    from tune_sketch.inference.grad_cam import map_activations  # imports torch, see `enlarge`

    by_section = predict_sections(model, images) if by_section is None else by_section
    maps = map_activations(model, images, model.compute_probabilities(images).argmax(axis=1))
    weights = np.stack([maps[:, rows, columns].sum(axis=(1, 2)) for rows, columns in section_slices(model.image_px)])
    weights = np.where(weights.sum(axis=0) > 0, weights, 1.0)  # an empty map: equal weights
    mean: np.ndarray = np.einsum("sn,snc->nc", weights / weights.sum(axis=0), by_section)
    return mean


def vote_by_flips(model: Classifier, images: np.ndarray) -> np.ndarray:
    """Mean of the drawing's and its mirror image's probabilities."""
    mirrored = np.ascontiguousarray(images[:, :, ::-1])
    mean: np.ndarray = (model.compute_probabilities(images) + model.compute_probabilities(mirrored)) / 2
    return mean


VOTES: dict[str, Callable[[Classifier, np.ndarray], np.ndarray]] = {
    "sections": vote_by_sections,
    "cam": vote_by_activation,
    "flips": vote_by_flips,
}

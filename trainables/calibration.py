"""Calibrates probabilities: one temperature for a network, by which its logits are divided."""

import math
import statistics
from collections.abc import Sequence

import numpy as np

LOWEST, HIGHEST = 0.05, 20.0  # temperatures that are looked at


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature with the lowest cross-entropy (Guo et al. 2017, arXiv 1706.04599, section 4.2).

    logits: float [N, classes] of drawings that the network was not trained on; labels: int [N]. The order of the
    classes, and so top-1, stays what it is. Where every drawing is right, the cross-entropy falls without end as the
    temperature does, and these drawings cannot tell how certain is too certain: then 1. Raises ValueError for no
    drawings and for logits that are not finite.
    """
    from scipy.optimize import minimize_scalar  # half a second, which training need not wait for

    logits, labels = np.asarray(logits, np.float64), np.asarray(labels)
    if logits.ndim != 2 or len(logits) != len(labels) or not len(labels) or not np.isfinite(logits).all():
        raise ValueError(
            "a temperature needs finite logits [N, classes] and labels [N] with N > 0, "
            f"got {logits.shape} and {labels.shape}"
        )
    shifted = logits - logits.max(axis=1, keepdims=True)
    of_label = shifted[np.arange(len(labels)), labels]

    def cross_entropy(log_temperature: float) -> float:
        scale = math.exp(-log_temperature)
        return float(np.mean(np.log(np.exp(shifted * scale).sum(axis=1)) - of_label * scale))

    if (of_label == 0).all():
        return 1.0
    bounds = (math.log(LOWEST), math.log(HIGHEST))
    found = minimize_scalar(cross_entropy, bounds=bounds, method="bounded", options={"xatol": 1e-5})
    return math.exp(found.x)


def mean_temperature(temperatures: Sequence[float]) -> float:
    """The temperature of a network without drawings to fit it on, from those of its other seeds.

    For a last step, which has no drawings of its own for that. Raises ValueError for none.
    """
    if not temperatures:
        raise ValueError("a mean temperature needs at least one seed's")
    return statistics.fmean(temperatures)


def change_temperature(probabilities: np.ndarray, factor: float) -> np.ndarray:
    """Float64 [N, classes]: the probabilities, were the network's temperature `factor` times as high.

    With 1 over its own temperature they are the network's before calibration. Probabilities of 0 stay.
    """
    powers = np.asarray(probabilities, np.float64) ** (1 / factor)
    changed: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
    return changed

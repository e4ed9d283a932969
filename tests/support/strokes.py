"""Drawings as the drawing page sends them, of all sizes and kinds, without any data set."""

import numpy as np


def make_drawings(number: int) -> list[list[np.ndarray]]:
    """So many drawings, each strokes float [num_points, 2] from 0 to 1: among them a dot, a speck and long lines."""
    rng = np.random.default_rng(7)
    drawings = [
        [np.array([[0.5, 0.5]])],
        [np.array([[0.41, 0.3], [0.43, 0.32]])],
        [np.array([[0.0, 0.0], [1.0, 1.0]]), np.array([[0.0, 1.0], [1.0, 0.0]])],
        [np.array([[0.2, 0.5], [0.9, 0.5]])],
        [np.array([[0.1, 0.1], [0.1, 0.1], [0.6, 0.1]]), np.array([[0.5, 0.9]])],
    ]
    while len(drawings) < number:
        size, centre = rng.uniform(0.05, 0.5), rng.uniform(0.3, 0.7, 2)
        strokes = []
        for _ in range(rng.integers(1, 7)):
            steps = rng.normal(size=(rng.integers(2, 60), 2)).cumsum(axis=0)
            strokes.append(centre + size * steps / np.abs(steps).max())
        drawings.append([stroke.clip(0, 1) for stroke in strokes])
    return drawings[:number]

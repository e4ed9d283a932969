"""Finds exact copies of drawings, and keeps drawings together that share a photo, a group or their content."""

from collections.abc import Sequence

import numpy as np


def find_copies(digests: Sequence[bytes | None]) -> list[list[int]]:
    """[index, index of the first drawing with the same content] of every drawing that is a copy."""
    first: dict[bytes, int] = {}
    firsts = [index if digest is None else first.setdefault(digest, index) for index, digest in enumerate(digests)]
    return [[index, same] for index, same in enumerate(firsts) if same != index]


def join_groups(photos: Sequence[str | None], copies: Sequence[Sequence[int]]) -> np.ndarray:
    """int64 [N]: drawings of one photo share a group, and so do copies with all that their original shares one with."""
    first: dict[str, int] = {}
    parents = [index if photo is None else first.setdefault(photo, index) for index, photo in enumerate(photos)]

    def find(index: int) -> int:
        while parents[index] != index:
            index = parents[index]
        return index

    for copy, original in copies:
        a, b = find(copy), find(original)
        parents[max(a, b)] = min(a, b)
    roots = [find(index) for index in range(len(parents))]
    keys = [photos[root] or f"/{root}" for root in roots] if any(photos) else roots
    return np.unique(keys, return_inverse=True)[1].astype(np.int64)

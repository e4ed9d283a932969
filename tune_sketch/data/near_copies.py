"""Finds near copies of drawings, such as one that was resized or saved again, by perceptual hashes of their ink."""

from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image

from tune_sketch.data.pixels import find_extent

HASH_SIDE = 16  # a hash has 16 x 16 bits; with 8 x 8 the paper makes most sketches alike
NUM_BYTES = 2 * HASH_SIDE**2 // 8  # of the two hashes of a drawing
LEAST_IMAGE_PX = 28  # smaller pictures of different drawings have equal hashes
# Of 256 bits. Hardly any different drawings are as close, and all are found that were scaled or saved again
# (benchmarks/results/near_copies-cpu.md).
MOST_BITS_APART = 36
NUM_TABLES, MOST_KEY_BITS = 32, 16
MOST_NEIGHBOURS = 12  # that a drawing is compared with in each table: it bounds the time where thousands are alike


def hash_ink(ink: np.ndarray) -> np.ndarray:
    """uint8 [NUM_BYTES]: the hash of a drawing as it lies in its picture, then that of the drawing cut out.

    ink: uint8 [H, W], 255 on 0. The first survives other sizes best, the second a move within the picture.
    """
    import imagehash  # brings SciPy's transforms, for which nobody else need wait

    hashes = [imagehash.phash(Image.fromarray(picture), HASH_SIDE).hash for picture in (ink, cut_out(ink))]
    return np.packbits(np.concatenate(hashes))


def cut_out(ink: np.ndarray) -> np.ndarray:
    """The drawing in the middle of the smallest square that holds it; all of an empty picture."""
    extent = find_extent(ink)
    if extent is None:
        return ink
    cut = ink[extent]
    height, width = cut.shape
    side = max(height, width)
    square = np.zeros((side, side), np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = cut
    return square


def find_near_copies(hashes: np.ndarray, copies: Sequence[Sequence[int]]) -> list[list[int]]:
    """[index, index of an earlier drawing that looks alike, bits that they are apart], sorted.

    hashes: uint8 [N, NUM_BYTES] of `hash_ink`. copies: [index, index of the original] of exact copies, which are left
    out. Of many that look alike each is named with one, so that all of them hang together: where they lie in several
    splits, one of the pairs does.
    """
    rows = np.setdiff1d(np.arange(len(hashes)), [copy for copy, _ in copies])
    pairs, apart = np.zeros((0, 2), np.int64), np.zeros(0, np.int64)
    for half in np.split(hashes[rows], 2, axis=1):
        for more_pairs, more_apart in find_pairs(half):
            pairs, apart = span(np.concatenate([pairs, more_pairs]), np.concatenate([apart, more_apart]), len(rows))
    found = zip(rows[pairs[:, 1]].tolist(), rows[pairs[:, 0]].tolist(), apart.tolist(), strict=True)
    return sorted([later, earlier, bits] for later, earlier, bits in found)


def find_pairs(hashes: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields (int64 [M, 2] rows a < b of hashes that are close, int64 [M] bits apart); a pair may come again.

    hashes: uint8 [N, 32]. Only those that agree in some chosen bits are compared, for several choices of bits
    (locality-sensitive hashing: Indyk and Motwani 1998), in time proportional to N log N. It misses one in
    twenty of the pairs that are MOST_BITS_APART bits apart in 200,000 drawings, and hardly any that are closer.
    """
    words, bits = np.ascontiguousarray(hashes).view(np.uint64), np.unpackbits(hashes, axis=1)
    num_bits = int(np.clip(np.log2(max(2, len(hashes))), 8, MOST_KEY_BITS))
    random = np.random.default_rng(0)
    alike_first = np.lexsort(words.T)
    for _ in range(NUM_TABLES):
        chosen = random.choice(bits.shape[1], num_bits, replace=False)
        keys = bits[:, chosen] @ (1 << np.arange(num_bits))
        order = alike_first[np.argsort(keys[alike_first], kind="stable")]
        keys, found = keys[order], []
        for step in range(1, MOST_NEIGHBOURS + 1):
            same = np.flatnonzero(keys[step:] == keys[:-step])
            if not len(same):
                break
            pairs = np.sort(np.column_stack([order[same], order[same + step]]), axis=1)
            apart = np.bitwise_count(words[pairs[:, 0]] ^ words[pairs[:, 1]]).sum(axis=1, dtype=np.int64)
            near = apart <= MOST_BITS_APART
            found.append((pairs[near], apart[near]))
        if any(len(apart) for _, apart in found):
            yield np.concatenate([pairs for pairs, _ in found]), np.concatenate([apart for _, apart in found])


def span(pairs: np.ndarray, apart: np.ndarray, num_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """The fewest and closest of the pairs that hang together what all of them do: a minimum spanning forest."""
    from scipy.sparse import csr_array  # only these two functions need it
    from scipy.sparse.csgraph import minimum_spanning_tree

    order = np.lexsort((apart, *pairs.T))  # of a pair that comes twice the closer one is the first
    pairs, first = np.unique(pairs[order], axis=0, return_index=True)
    weights = apart[order][first] + 1  # 0 would be no edge
    forest = minimum_spanning_tree(csr_array((weights, pairs.T), shape=(num_rows, num_rows))).tocoo()
    return np.column_stack([forest.row, forest.col]).astype(np.int64), forest.data.astype(np.int64) - 1

"""Groups images that look the same, by a perceptual hash, so that a split cannot part them.

The hash is dHash (a bit per pair of neighbours: is the right one brighter?) on 17 × 16 grey
pixels: 256 bits. Aligned faces are alike, and the usual 64 bits do not tell them apart. Over all
pairs of UTKFace the distances have two humps, copies at 0 to 20 bits and different pictures from
26 on, with the fewest pairs at 21: hence the radius.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from edgekit.data.dataset import BROKEN, Decisions
from edgekit.data.stores import ImageStore
from edgekit.onboard.runner import decode

RADIUS = 22
"""Images this many bits apart, of 256, or fewer are taken for copies of one picture."""

BLOCK = 1024


def difference_hash(data: bytes) -> NDArray[np.bool_]:
    """Return an encoded image's dHash, 256 bits. Raises OSError or ValueError as `decode` does."""
    grey = decode(data, 16, 17, grey=True)[..., 0].astype(np.int16)
    bits: NDArray[np.bool_] = (grey[:, 1:] > grey[:, :-1]).reshape(-1)
    return bits


def group_near_duplicates(hashes: NDArray[np.bool_], radius: int = RADIUS) -> list[int]:
    """Return a group number per row of `hashes` (N, 256): the smallest row index it is linked to.

    Rows within `radius` bits are linked, and links chain. All pairs are compared, by matrix
    products in blocks: about 4 s for 21,000 images, quadratic in their number.
    """
    signs = np.where(hashes, np.float32(1), np.float32(-1))
    least = np.float32(signs.shape[1] - 2 * radius)  # dot product = bits - 2 × distance
    parent = list(range(len(signs)))
    for start in range(0, len(signs), BLOCK):
        products = signs[start : start + BLOCK] @ signs[start:].T
        for row, column in np.argwhere(products >= least).tolist():
            if column > row:
                _link(parent, start + row, start + column)
    return [_root(parent, index) for index in range(len(parent))]


def hash_images(
    store: ImageStore, names: Sequence[str], decisions: Decisions, threads: int = 4
) -> dict[str, NDArray[np.bool_]]:
    """Return the dHash of every image that decodes, by name; the others are noted as broken."""

    def one(name: str) -> NDArray[np.bool_] | str:
        try:
            return difference_hash(store.read(name))
        except (OSError, ValueError) as error:
            return str(error)

    hashes = {}
    with ThreadPoolExecutor(threads) as pool:
        for name, result in zip(names, pool.map(one, names), strict=True):
            if isinstance(result, str):
                decisions.note(BROKEN, name)
            else:
                hashes[name] = result
    return hashes


def stack(hashes: Iterable[NDArray[np.bool_]]) -> NDArray[np.bool_]:
    """Return hashes as the rows of one array."""
    return np.stack(list(hashes))


def _root(parent: list[int], index: int) -> int:
    while parent[index] != index:
        parent[index] = parent[parent[index]]
        index = parent[index]
    return index


def _link(parent: list[int], one: int, other: int) -> None:
    first, second = sorted((_root(parent, one), _root(parent, other)))
    parent[second] = first

"""Windows -> packs: first-fit-decreasing bin packing in whole blocks.

Each window is rounded up to whole blocks and to nothing else. The result is a pure function of the lengths, so a unit
gives the same packs wherever and whenever it runs. Sizes in blocks are few (64 for BigBird-base), and the first bin
with room for a size only moves on while that size lasts, so the cost is O(windows + sizes × packs), not their product.
"""

from collections.abc import Sequence

import numpy as np


def pack(lengths: Sequence[int], *, budget: int, block_size: int) -> list[list[int]]:
    """Puts windows, by their lengths in tokens, into packs, each a list of window indices.

    `budget`: tokens in a pack after rounding; a window larger than that gets a pack of its own.
    """
    blocks = -(-np.asarray(lengths, dtype=np.int64) // block_size)
    capacity = max(budget // block_size, 1)
    packs: list[list[int]] = []
    free: list[int] = []
    size, first = 0, 0
    for window in np.argsort(-blocks, kind="stable").tolist():
        if blocks[window] != size:
            size, first = int(blocks[window]), 0
        while first < len(packs) and free[first] < size:
            first += 1
        if first == len(packs):
            packs.append([])
            free.append(capacity)
        packs[first].append(window)
        free[first] -= size
    return packs

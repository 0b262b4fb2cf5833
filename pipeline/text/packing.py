"""Windows -> packs: first-fit-decreasing bin packing in whole blocks; and packs one by one, for who computes them.

Each window is rounded up to whole blocks and to nothing else. The result is a pure function of the lengths, so a unit
gives the same packs wherever and whenever it runs. Sizes in blocks are few (64 for BigBird-base), and the first bin
with room for a size only moves on while that size lasts, so the cost is O(windows + sizes × packs), not their product.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.schema import only_list


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


def split_packs(packs: pa.Table) -> Iterator[tuple[npt.NDArray[Any], npt.NDArray[np.int32]]]:
    """Gives a unit's packs one by one: token ids and window lengths."""
    tokens, lengths = only_list(packs, "tokens"), only_list(packs, "window_tokens")
    for n_windows in only_list(packs, "pack_windows").tolist():
        n_tokens = int(lengths[:n_windows].sum())
        yield tokens[:n_tokens], lengths[:n_windows]
        tokens, lengths = tokens[n_tokens:], lengths[n_windows:]

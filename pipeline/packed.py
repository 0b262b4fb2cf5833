"""Lists of many small objects in little memory: a million units with their files take 20 MB and not 700.

An object costs Python some hundred bytes, and what is one of a million has nearly all of them in common with its
neighbours. So a list is held in chunks that are pickled and compressed, and a chunk's items are made again where they
are read: a few microseconds each for whoever goes through the list, and a whole chunk for whoever asks for one item
here and there. A short list is held as it is.
"""

import pickle
from collections.abc import Iterable, Iterator
from itertools import compress
from typing import TypeVar, overload

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.value_sequence import ValueSequence

CHUNK_ITEMS = 256  # more compress no better
OPEN_ITEMS = 32 * CHUNK_ITEMS  # that are held as they are, at most: 6 MB of units
CODEC = "zstd"
Packable = TypeVar("Packable")


class PackedList(ValueSequence[Packable]):
    """A list that can be appended to and read; its items can be pickled, and are values: each reading makes others."""

    def __init__(self, items: Iterable[Packable] = ()) -> None:
        """Take some items."""
        self._chunks: list[tuple[int, bytes]] = []  # bytes when unpacked, and packed
        self._open: list[Packable] = []  # that follow the chunks
        self._unpacked: tuple[int, list[Packable]] = (-1, [])  # the chunk that was read last, by its number
        self.extend(items)

    def append(self, item: Packable) -> None:
        """Add one item."""
        self._open.append(item)
        if len(self._open) == OPEN_ITEMS:
            for start in range(0, OPEN_ITEMS, CHUNK_ITEMS):
                data = pickle.dumps(self._open[start : start + CHUNK_ITEMS], pickle.HIGHEST_PROTOCOL)
                self._chunks.append((len(data), pa.compress(data, CODEC, asbytes=True)))
            self._open = []

    def extend(self, items: Iterable[Packable]) -> None:
        """Add items."""
        for item in items:
            self.append(item)

    def __len__(self) -> int:
        return len(self._chunks) * CHUNK_ITEMS + len(self._open)

    def __iter__(self) -> Iterator[Packable]:
        for number in range(len(self._chunks)):
            yield from self._chunk(number)
        yield from self._open

    @overload
    def __getitem__(self, index: int) -> Packable: ...
    @overload
    def __getitem__(self, index: slice) -> list[Packable]: ...
    def __getitem__(self, index: int | slice) -> Packable | list[Packable]:
        if isinstance(index, slice):
            return [self[n] for n in range(*index.indices(len(self)))]
        place = range(len(self))[index]  # raises IndexError
        packed = len(self._chunks) * CHUNK_ITEMS
        if place >= packed:
            return self._open[place - packed]
        number, inside = divmod(place, CHUNK_ITEMS)
        held, items = self._unpacked
        if held != number:
            items = self._chunk(number)
            self._unpacked = number, items
        return items[inside]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self):,} items)"

    def compressed(self, is_chosen: npt.NDArray[np.bool_]) -> Iterator[Packable]:
        """Yield the items that are chosen, as `itertools.compress` does; chunks without one are left as they are."""
        for number in range(len(self._chunks)):
            chosen = is_chosen[number * CHUNK_ITEMS : (number + 1) * CHUNK_ITEMS]
            if chosen.any():
                yield from compress(self._chunk(number), chosen)
        yield from compress(self._open, is_chosen[len(self._chunks) * CHUNK_ITEMS :])

    def _chunk(self, number: int) -> list[Packable]:
        size, packed = self._chunks[number]
        items: list[Packable] = pickle.loads(pa.decompress(packed, size, CODEC))
        return items
